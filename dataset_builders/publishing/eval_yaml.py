"""``eval.yaml``: what makes a dataset repository a benchmark for the Hub.

The Hub lists results that models hand in under ``.eval_results/`` by the task ids of this file
(https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from lamofcbench.storage.layout import Manifest

FRAMEWORK = "lamofcbench"
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
