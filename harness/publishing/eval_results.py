"""``.eval_results/lamofcbench.yaml``: what a codec reached, as the Hub's model pages and benchmarks read it.

An entry a scenario and one for the headline, each for the dataset at a commit
(https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from dataset_builders.publishing.eval_yaml import OVERALL
from harness.report import text
from harness.report.summary import OverallRow, RetainedRate, ScenarioSummary
from lamofcbench.errors import LaMoFCBenchError, shown

EVAL_RESULTS_FILE = ".eval_results/lamofcbench.yaml"
_DATASET = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")


@dataclass(frozen=True)
class DatasetCommit:
    """A dataset repository at a commit."""

    repo: str
    commit: str

    @classmethod
    def parse(cls, reference: str) -> DatasetCommit:
        """From ``org/name@commit``.

        Raises:
            LaMoFCBenchError: if it is something else.
        """
        match = _DATASET.fullmatch(reference)
        if match is None:
            raise LaMoFCBenchError(f"{shown(reference)} names no dataset at a commit; write org/name@<40 hex digits>")
        return cls(match["repo"], match["commit"])


def eval_results(
    scenarios: Sequence[ScenarioSummary], overall: OverallRow | None, codec: str, percent: int, dataset: DatasetCommit
) -> str:
    """The text of the file.

    Args:
        scenarios: on whose whole test splits the codec has results.
        overall: its row over all scenarios of their edition; None where there is none.
        codec: as the report calls it.
        percent: by which EBPFP@p the edition ranks.
        dataset: whose features these are of.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(dataset.repo, scenario.scenario, rate.ebpfp.value, dataset.commit, notes=_notes(rate))
        for scenario in scenarios
        for rate in _retained(scenario, codec)
        if rate.percent == scenario.ranking_percent and rate.ebpfp.value is not None
    ]
    if overall is not None and overall.ebpfp[str(percent)].value is not None:
        count = f"EBPFP@{percent}, geometric mean over {len(scenarios)} scenarios; lower is better"
        entries.append(
            EvalResultEntry(dataset.repo, OVERALL, overall.ebpfp[str(percent)].value, dataset.commit, notes=count)
        )
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, width=120)


def _retained(scenario: ScenarioSummary, codec: str) -> Iterator[RetainedRate]:
    for found in scenario.codecs:
        if found.codec == codec:
            yield from found.retained


def _notes(rate: RetainedRate) -> str:
    bounds = {"at most": ", at most: even the lowest rate point keeps so much", "never": ", never kept: counted as 32"}
    return f"EBPFP@{rate.percent}, lower is better{bounds.get(str(rate.bound), '')}; {text.number(rate.ebpfp.value)}"
