"""Transfers: codecs that were fitted on one scenario and code another, beside what they reach at home.

Their results are no points of the codec's curve: what it knows is another thing. They are told in a matrix of their
own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby

from harness.report.analysis import analyse_scenario
from harness.report.collect import Evidence
from harness.report.contexts import comparable
from harness.report.origins import labelled, labels_of, origin_of, role_of
from harness.report.summary import RETAINED_PERCENTS, ScenarioSummary, Transfer
from harness.results.fitted_on import parted
from lamofcbench.scenarios.base import Scenario

PERCENT = RETAINED_PERCENTS[0]
"""One for all scenarios, so that the rates of a matrix compare."""


def at_home(evidence: Iterable[Evidence]) -> tuple[list[Evidence], list[Evidence]]:
    """The results of codecs that were fitted on what they code, if on anything; and those of others."""
    own: list[Evidence] = []
    elsewhere: list[Evidence] = []
    for item in evidence:
        (own if item.result.codec.fitted_on is None else elsewhere).append(item)
    return own, elsewhere


def transfers(
    scenarios: Sequence[ScenarioSummary],
    evidence: Sequence[Evidence],
    elsewhere: Sequence[Evidence],
    resamples: int,
    seed: int,
    declared: Mapping[str, Scenario],
) -> list[Transfer]:
    """What each codec reaches on each scenario, fitted on each that there are results of.

    Args:
        scenarios: what was found of codecs at home.
        evidence: their results, anchor and floor among them.
        elsewhere: results of codecs that were fitted on other scenarios.
        resamples: bootstrap draws; 0 leaves the intervals out.
        seed: of the draws.
        declared: scenarios from users' own files.
    """
    ends = [item for item in evidence if role_of(item) != "codec"]
    found = []

    def fitted_on(item: Evidence) -> str:
        return item.result.codec.fitted_on or ""

    for source, items in groupby(sorted(elsewhere, key=fitted_on), fitted_on):
        own = list(items)
        coded = {item.result.scenario for item in own}
        groups, _ = comparable([*(item for item in ends if item.result.scenario in coded), *own])
        labels = labels_of(origin_of(item) for group in groups.values() for item in group)
        for group in labelled(groups, labels).values():
            summary = analyse_scenario(group, reference=None, resamples=resamples, seed=seed, declared=declared).summary
            found += _of(summary, source)
    codecs = {transfer.codec for transfer in found}
    met = set().union(*map(_ends, found))
    for summary in scenarios:
        if summary.scenario in met:
            found += [transfer for transfer in _of(summary, summary.scenario) if transfer.codec in codecs]
    return sorted(found, key=lambda transfer: (transfer.codec, transfer.fitted_on, transfer.coded))


def _of(summary: ScenarioSummary, source: str) -> list[Transfer]:
    return [
        Transfer(
            codec=codec.codec,
            fitted_on=source,
            coded=summary.scenario,
            retained=codec.retained_at(PERCENT),
        )
        for codec in summary.codecs
        if codec.role == "codec"
    ]


SAME, ALL_OTHERS, ALL = "the same", "all others", "all together"


def source_of(transfer: Transfer, tasks: Collection[str]) -> str:
    """What a codec was fitted on, in view of the tasks of its backbone that are coded.

    Returns:
        `SAME`, `ALL_OTHERS`, `ALL`, or else the scenario's id, or several.
    """
    sources = set(parted(transfer.fitted_on))
    if sources == {transfer.coded}:
        return SAME
    if len(sources) == 1:
        return transfer.fitted_on
    if sources == set(tasks) - {transfer.coded}:
        return ALL_OTHERS
    return ALL if sources == set(tasks) else transfer.fitted_on


def _ends(transfer: Transfer) -> set[str]:
    """The scenarios that a codec was fitted on, and the one that it codes."""
    return {*parted(transfer.fitted_on), transfer.coded}


def matrices(found: Iterable[Transfer]) -> list[list[Transfer]]:
    """The transfers codec by codec, and of each codec those together that are linked: tasks of one backbone.

    Example:
        >>> from harness.report.summary import RetainedRate
        >>> made = [("klt", "a", "b"), ("klt", "x", "y"), ("klt", "b", "b")]
        >>> rate = RetainedRate(percent=95, ebpfp={"value": 1.0}, bound="exact", compression=32.0)
        >>> parts = [Transfer(codec=codec, fitted_on=on, coded=of, retained=rate) for codec, on, of in made]
        >>> [[(part.fitted_on, part.coded) for part in matrix] for matrix in matrices(parts)]
        [[('a', 'b'), ('b', 'b')], [('x', 'y')]]
    """
    made: list[list[Transfer]] = []
    for transfer in sorted(found, key=lambda transfer: (transfer.codec, transfer.fitted_on, transfer.coded)):
        ends = _ends(transfer)
        linked = [m for m in made if m[0].codec == transfer.codec and any(ends & _ends(t) for t in m)]
        made = [m for m in made if not any(m is one for one in linked)]
        made.append([*(one for matrix in linked for one in matrix), transfer])
    return sorted(made, key=lambda m: (m[0].codec, min(min(t.fitted_on, t.coded) for t in m)))
