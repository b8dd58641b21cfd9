"""Which results may stand in one table: only those that were measured under the same conditions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from harness.report.collect import Evidence
from harness.results.result import ANCHOR, FLOOR

CONTEXT_FIELDS = (
    "scenario",
    "scenario_version",
    "scenario_digest",
    "data_revision",
    "protocol_version",
    "metric",
    "direction",
    "dtype",
    "device_type",
    "batch_size",
    "samples",
    "test_samples",
    "seed",
)
"""Results that differ in any of these are not comparable."""


def comparable(evidence: Iterable[Evidence]) -> tuple[dict[str, list[Evidence]], list[str]]:
    """For each scenario the results of one context, and a warning for everything left out.

    Of several contexts of a scenario the best is kept: one with anchor and floor before one without, then the higher
    scenario version, then more samples, then the newer.
    """
    contexts: dict[str, dict[tuple, list[Evidence]]] = defaultdict(lambda: defaultdict(list))
    for item in evidence:
        key = tuple(getattr(item.result, field) for field in CONTEXT_FIELDS)
        contexts[item.result.scenario][key].append(item)
    kept: dict[str, list[Evidence]] = {}
    warnings: list[str] = []
    for scenario in sorted(contexts):
        ranked = sorted(contexts[scenario].values(), key=_merit, reverse=True)
        for other in ranked[1:]:
            warnings.append(
                f"{scenario}: left out {_count(other)}, not comparable: {_difference(other[0], ranked[0][0])}"
            )
        newest, replaced = _newest(ranked[0])
        warnings += [f"{scenario}: {line}" for line in replaced]
        kept[scenario], strangers = _paired(newest)
        warnings += [f"{scenario}: {line}" for line in strangers]
    return kept, warnings


def _merit(items: list[Evidence]) -> tuple:
    names = {item.result.codec.name for item in items}
    first = items[0].result
    return ({ANCHOR, FLOOR} <= names, first.scenario_version, first.samples, max(item.written for item in items))


def _count(items: list[Evidence]) -> str:
    names = ", ".join(sorted({item.result.codec.name for item in items}))
    return f"{len(items)} result{'s' if len(items) > 1 else ''} ({names})"


def _difference(other: Evidence, chosen: Evidence) -> str:
    pairs = ((field, getattr(other.result, field), getattr(chosen.result, field)) for field in CONTEXT_FIELDS)
    return ", ".join(
        f"{field} {_short(mine)} instead of {_short(theirs)}" for field, mine, theirs in pairs if mine != theirs
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def _newest(items: list[Evidence]) -> tuple[list[Evidence], list[str]]:
    """One result for each codec and parameters: a codec that was changed and run again replaces itself."""
    groups: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for item in items:
        groups[item.result.codec.name, json.dumps(item.result.codec.params, sort_keys=True)].append(item)
    kept, warnings = [], []
    for group in groups.values():
        *older, newest = sorted(group, key=lambda item: (item.written, item.result.config_hash))
        kept.append(newest)
        for item in older:
            hashes = f"{item.result.config_hash} by {newest.result.config_hash}"
            warnings.append(f"{item.result.codec.name}: replaced {hashes}, the same parameters of a newer build")
    return kept, warnings


def _paired(items: list[Evidence]) -> tuple[list[Evidence], list[str]]:
    """Those that cover the same samples in the same order as the anchor (or the first result)."""
    base = next((item for item in items if item.result.codec.name == ANCHOR), items[0])
    kept, warnings = [], []
    for item in items:
        same = np.array_equal(item.index, base.index) and np.array_equal(item.raw_bits, base.raw_bits)
        if same:
            kept.append(item)
        else:
            warnings.append(f"left out {item.result.codec.name} {item.result.config_hash}: it covers other samples")
    return kept, warnings
