"""``eval.yaml``: what makes a dataset repository a benchmark for the Hub.

The Hub lists results that models hand in under ``.eval_results/`` by the task ids of this file
(https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from lamofcbench.errors import DataError, first_line
from lamofcbench.storage.layout import EVAL_FILE, Manifest

FRAMEWORK = "lamofcbench"
MAX_BYTES = 2**20
OVERALL = "overall"
"""The task of the headline over all scenarios; it has no configuration of its own."""


def eval_yaml(manifests: Iterable[Manifest]) -> str:
    """The text of the file: a task a scenario with a test split, in the order of their ids, and the overall one."""
    scenarios = sorted(manifest.scenario for manifest in manifests if "test" in manifest.splits)
    tasks = [{"id": name, "config": name, "split": "test"} for name in scenarios]
    content = {
        "name": "LaMoFCBench",
        "description": "Coding the intermediate features of large models in split execution. The value of a task is "
        "EBPFP@95 or @99, the lowest rate at which so much of the score is kept: lower is better, 32 is uncoded.",
        "evaluation_framework": FRAMEWORK,
        "tasks": [*tasks, {"id": OVERALL}],
    }
    return yaml.safe_dump(content, sort_keys=False, width=120)


def read_tasks(path: Path) -> tuple[str, ...]:
    """The scenarios that a benchmark file has tasks for.

    Raises:
        DataError: if it is damaged.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        ids = tuple(task["id"] for task in yaml.safe_load(text)["tasks"])
        if not all(isinstance(name, str) for name in ids):
            raise ValueError("a task is not named by text")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{EVAL_FILE} of the dataset cannot be read ({first_line(error)})") from error
    return tuple(name for name in ids if name != OVERALL)
