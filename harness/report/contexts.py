"""Which results may stand in one table: only those that were measured under the same conditions, by the same code."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from harness.report.collect import Evidence
from harness.report.origins import newest_code, origin_of, role_of
from harness.results.result import PROTOCOL_VERSION

SUBJECT_FIELDS = (
    "scenario",
    "scenario_version",
    "scenario_digest",
    "data_revision",
    "protocol_version",
    "schema_version",
    "metric",
    "direction",
    "metric_identity",
    "adapter_identity",
    "builder_identity",
)
"""What is measured, and by what code. Of several the newest counts."""

CONTEXT_FIELDS = (*SUBJECT_FIELDS, "dtype", "device_type", "batch_size", "samples", "test_samples", "seed")
"""Results that differ in any of these are not comparable."""


def comparable(evidence: Iterable[Evidence]) -> tuple[dict[str, list[Evidence]], list[str]]:
    """For each scenario the results of one context and of the newest code, and a warning for everything left out.

    Of several contexts of a scenario the best is kept: one with anchor and floor before one without, one of this
    version's protocol before others, then the higher scenario version, then the newer code and data, then more samples,
    then the newer.
    """
    contexts: dict[str, dict[tuple, list[Evidence]]] = defaultdict(lambda: defaultdict(list))
    for item in evidence:
        contexts[item.result.scenario][_values(item, CONTEXT_FIELDS)].append(item)
    chosen: dict[str, list[Evidence]] = {}
    warnings: list[str] = []
    for scenario in sorted(contexts):
        chosen[scenario], *others = _ranked(list(contexts[scenario].values()))
        warnings += [f"{scenario}: {line}" for line in _left_out(chosen[scenario][0], others)]
    chosen, superseded = newest_code(chosen)
    warnings += superseded
    kept: dict[str, list[Evidence]] = {}
    for scenario, items in chosen.items():
        newest, replaced = _newest(items)
        kept[scenario], strangers = _paired(newest)
        warnings += [f"{scenario}: {line}" for line in (*replaced, *strangers, *_of_two_fits(kept[scenario]))]
    return kept, warnings


def _values(item: Evidence, fields: Iterable[str]) -> tuple:
    return tuple(getattr(item.result, field) for field in fields)


def _ranked(contexts: Sequence[list[Evidence]]) -> list[list[Evidence]]:
    """The contexts of a scenario, the best first."""
    newest: dict[tuple, float] = defaultdict(float)
    for items in contexts:
        subject = _values(items[0], SUBJECT_FIELDS)
        newest[subject] = max(newest[subject], *(item.written for item in items))

    def merit(items: list[Evidence]) -> tuple:
        first = items[0].result
        return (
            {"anchor", "floor"} <= {role_of(item) for item in items},
            first.is_current,
            first.scenario_version,
            newest[_values(items[0], SUBJECT_FIELDS)],
            first.samples,
            max(item.written for item in items),
        )

    return sorted(contexts, key=merit, reverse=True)


def _left_out(chosen: Evidence, others: Iterable[list[Evidence]]) -> list[str]:
    """A warning for each context that is left out, one for all of other protocols, and one for the chosen itself."""
    lines, foreign = [], list[Evidence]()
    for items in others:
        if items[0].result.is_current or not chosen.result.is_current:
            lines.append(f"left out {_count(items)}, not comparable: {_difference(items[0], chosen)}")
        else:
            foreign += items
    if foreign:
        lines.append(f"left out {_count(foreign)} of {_protocol(foreign)}; run again what is missing, then remove them")
    if not chosen.result.is_current:
        lines.append(f"the results shown are of {_protocol([chosen])}; run them again to compare them with newer ones")
    return lines


def _protocol(items: Iterable[Evidence]) -> str:
    versions = ", ".join(map(str, sorted({item.result.protocol_version for item in items})))
    return f"another protocol ({versions}; this version has {PROTOCOL_VERSION})"


def _count(items: Sequence[Evidence]) -> str:
    names = ", ".join(sorted({item.result.codec.name for item in items}))
    return f"{len(items)} result{'s' if len(items) > 1 else ''} ({names})"


def _difference(other: Evidence, chosen: Evidence) -> str:
    pairs = ((field, getattr(other.result, field), getattr(chosen.result, field)) for field in CONTEXT_FIELDS)
    return ", ".join(
        f"{field} {short(mine)} instead of {short(theirs)}" for field, mine, theirs in pairs if mine != theirs
    )


def short(value: object) -> str:
    """A value in few letters: the ends of a name with a hash, the beginning of a hash alone."""
    text = str(value) or "none"
    if len(text) <= 24:
        return text
    return f"{text[:24]}…{text[-8:]}" if "#" in text else f"{text[:12]}…"


def _newest(items: list[Evidence]) -> tuple[list[Evidence], list[str]]:
    """One result for each codec and parameters: one that was fitted otherwise and run again replaces itself."""
    groups: dict[tuple, list[Evidence]] = defaultdict(list)
    for item in items:
        groups[origin_of(item), json.dumps(item.result.codec.params, sort_keys=True)].append(item)
    kept, warnings = [], []
    for group in groups.values():
        *older, newest = sorted(group, key=lambda item: (item.written, item.result.config_hash))
        kept.append(newest)
        for item in older:
            hashes = f"{item.result.config_hash} by {newest.result.config_hash}"
            warnings.append(f"{item.result.codec.name}: replaced {hashes}, the same parameters of a newer state")
    return kept, warnings


def _of_two_fits(items: Iterable[Evidence]) -> list[str]:
    """A warning for each codec some of whose points were fitted here, and others elsewhere on nobody knows what."""
    fits: dict[tuple, list[bool]] = defaultdict(list)
    for item in items:
        if item.fitted_elsewhere is not None:
            fits[origin_of(item)].append(item.fitted_elsewhere)
    return [
        f"{name}: {sum(found)} of {len(found)} fitted points bring a state that was fitted elsewhere, the others were "
        "fitted on this scenario's calibration samples; their curve joins both"
        for (name, _), found in fits.items()
        if len(set(found)) > 1
    ]


def _paired(items: list[Evidence]) -> tuple[list[Evidence], list[str]]:
    """Those that cover the same samples in the same order as the anchor (or the first result)."""
    base = next((item for item in items if role_of(item) == "anchor"), items[0])
    kept, warnings = [], []
    for item in items:
        same = np.array_equal(item.index, base.index) and np.array_equal(item.raw_bits, base.raw_bits)
        if same:
            kept.append(item)
        else:
            warnings.append(f"left out {item.result.codec.name} {item.result.config_hash}: it covers other samples")
    return kept, warnings
