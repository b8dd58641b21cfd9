"""``.eval_results/lamofcbench.yaml``: what a codec reached, as the Hub's model pages and benchmarks read it.

An entry a scenario and one for the headline, each for the dataset at a commit
(https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from dataset_builders.publishing.eval_yaml import OVERALL, read_tasks
from harness.report import text
from harness.report.summary import OverallRow, RetainedRate, ScenarioSummary
from lamofcbench.errors import LaMoFCBenchError, one_line, shown
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.layout import EVAL_FILE, MANIFEST_FILE, read_manifest
from lamofcbench.storage.sources import Source

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

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}"

    @property
    def _source(self) -> Source:
        return Source(f"hf://datasets/{self}")

    def tasks(self) -> tuple[str, ...]:
        """The scenarios that the dataset has tasks for.

        Raises:
            DataError: if it is no benchmark, or cannot be had.
        """
        return read_tasks(self._source.path_of(EVAL_FILE))

    def check_revision(self, scenario: ScenarioSummary) -> None:
        """Raises LaMoFCBenchError unless the results of a scenario are of the data that are there."""
        manifest = read_manifest(self._source.path_of(f"{scenario.scenario}/{MANIFEST_FILE}"))
        there = (manifest.scenario_version, manifest.data_revision)
        if there != (scenario.version, scenario.data_revision):
            raise LaMoFCBenchError(
                f"the results of {scenario.scenario}@{scenario.version} are of data revision "
                f"{scenario.data_revision[:16]}; {self} holds version {there[0]} and {one_line(there[1][:16])}: run on "
                f"its data (--data hf://datasets/{self}), or name the commit that has those"
            )


def eval_results(
    scenarios: Sequence[ScenarioSummary], overall: OverallRow | None, codec: str, percent: int, dataset: DatasetCommit
) -> str:
    """The text of the file.

    Args:
        scenarios: on whose whole test splits the codec has results; those that the dataset has no task for are passed
            over.
        overall: its row over those of them that count in the mean; None where there is none.
        codec: as the report calls it.
        percent: by which EBPFP@p the edition ranks.
        dataset: whose features these are of. It is asked which tasks it has, and of which revision its data are.

    Raises:
        LaMoFCBenchError: if the dataset has a task for none of the scenarios, or other data than they were run on.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    tasks = dataset.tasks()
    told = [scenario for scenario in scenarios if scenario.scenario in tasks]
    if not told:
        raise LaMoFCBenchError(f"{dataset} has no task for any scenario of the results; it has {_some(tasks)}")
    for scenario in told:
        dataset.check_revision(scenario)
    entries = [
        EvalResultEntry(dataset.repo, scenario.scenario, rate.ebpfp.value, dataset.commit, notes=_notes(rate))
        for scenario in told
        for found in scenario.codecs
        if found.codec == codec and (rate := found.retained_at(scenario.ranking_percent)).ebpfp.value is not None
    ]
    averaged = {scenario.scenario for scenario in scenarios if scenario.variant_of is None}
    mean = None if overall is None else overall.ebpfp[str(percent)].value
    if mean is not None and averaged == {task for task in tasks if not _is_variant(task)}:
        rates = [
            found.retained_at(percent)
            for scenario in scenarios
            for found in scenario.codecs
            if found.codec == codec and scenario.variant_of is None
        ]
        entries.append(EvalResultEntry(dataset.repo, OVERALL, mean, dataset.commit, notes=_overall_notes(rates)))
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, width=120)


def _is_variant(task: str) -> bool:
    return task in SCENARIOS.names() and SCENARIOS.get(task).variant_of is not None


def _some(names: Sequence[str]) -> str:
    return one_line(", ".join(names[:5]) or "none") + (", ..." if len(names) > 5 else "")


_BOUNDS = {"at most": "at most: even the lowest rate point keeps so much", "never": "never kept: counted as 32"}


def _notes(rate: RetainedRate) -> str:
    bound = f", {_BOUNDS[rate.bound]}" if rate.bound in _BOUNDS else ""
    return f"EBPFP@{rate.percent}, lower is better{bound}; {text.number(rate.ebpfp.value)}"


def _overall_notes(rates: Sequence[RetainedRate]) -> str:
    """Of the mean over these; those that are bounds are counted."""
    told = f"EBPFP@{rates[0].percent}, geometric mean over {text.count(len(rates), 'scenario')}; lower is better"
    for bound, meaning in _BOUNDS.items():
        number = sum(rate.bound == bound for rate in rates)
        told += f"; on {number} of them {meaning}" if number else ""
    return told
