"""Which results are of one codec: one name, from one place, by one version of its code.

Points of different code are never one curve. Of a codec that was edited, upgraded or revised the newest code counts,
in all scenarios alike, and what older code has measured is left out with a warning. Codecs of one name that come from
different places, such as a user's ``UniformCodec`` beside the ``uniform`` of this project, stand apart under different
labels.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from harness.report.collect import Evidence
from harness.results.result import ANCHOR, FLOOR
from lamofcbench.identity import family_of

SHIPPED = "lamofcbench"
"""The family of this project's codecs."""

Role = Literal["codec", "anchor", "floor"]
_ROLES: dict[str, Role] = {ANCHOR: "anchor", FLOOR: "floor"}

Origin = tuple[str, str]
"""A codec's name and where it comes from: what editing the codec leaves as it is."""

MAX_NAMED = 4


def origin_of(item: Evidence) -> Origin:
    """Name and family of a result's codec. Results of another protocol are a family of their own."""
    result = item.result
    family = family_of(result.codec.identity) if result.is_current else f"protocol {result.protocol_version}"
    return result.codec.name, family


def role_of(item: Evidence) -> Role:
    """Whether a result is the anchor, the floor or a codec's; a user's codec of such a name is a codec."""
    origin = origin_of(item)
    return _ROLES.get(origin[0], "codec") if is_ours(origin) else "codec"


def is_ours(origin: Origin) -> bool:
    """Whether a codec is this project's; of another protocol's results, which may not say, it is assumed."""
    return origin[1] == SHIPPED or origin[1].startswith("protocol ")


# ------------------------------------------------------------------------------------------------- the newest code


def newest_code(groups: Mapping[str, Sequence[Evidence]]) -> tuple[dict[str, list[Evidence]], list[str]]:
    """The results, without those of older code; a warning for each codec that has such.

    Code is newest by its newest result. One code counts on all scenarios, because means over scenarios are of one
    codec; anchor and floor, which have none, are each scenario's own.

    Args:
        groups: comparable results by scenario.
    """
    members: dict[tuple[str, Origin], list[tuple[str, Evidence]]] = defaultdict(list)
    for scenario, items in groups.items():
        for item in items:
            place = "" if role_of(item) == "codec" else scenario
            members[place, origin_of(item)].append((scenario, item))
    left_out: set[int] = set()
    warnings = []
    for (_, (name, _)), found in sorted(members.items()):
        newest = max((item for _, item in found), key=lambda item: (item.written, item.result.config_hash)).code
        older = [(scenario, item) for scenario, item in found if item.code != newest]
        if older:
            left_out |= {id(item) for _, item in older}
            warnings.append(_superseded(name, older, newest))
    kept = {scenario: [item for item in items if id(item) not in left_out] for scenario, items in groups.items()}
    return kept, warnings


def _superseded(name: str, older: Sequence[tuple[str, Evidence]], newest: str) -> str:
    scenarios = sorted({scenario for scenario, _ in older})
    where = ", ".join(scenarios[:MAX_NAMED]) if len(scenarios) <= MAX_NAMED else f"{len(scenarios)} scenarios"
    codes = sorted({item.result.codec.identity for _, item in older} - {""})
    code = ", ".join(codes[:MAX_NAMED]) + (f" and {len(codes) - MAX_NAMED} more" if len(codes) > MAX_NAMED else "")
    points = f"{len(older)} point{'s' if len(older) > 1 else ''}"
    return (
        f"{name}: left out {points} of older code on {where} ({code}; the newest is {newest.partition('~')[0]}); run "
        "the ladder again to measure them with the newest, or the older code to have it count again"
    )


# ---------------------------------------------------------------------------------------------------------- labels


def labels_of(origins: Iterable[Origin]) -> dict[Origin, str]:
    """What to call each codec: its name, and where several of one name would be taken for one, its place beside it.

    Example:
        >>> labels_of([("uniform", "lamofcbench"), ("uniform", "file:mine.py"), ("fast", "dist:fast-codecs")]).values()
        dict_values(['fast', 'uniform (mine.py)', 'uniform'])
    """
    families: dict[str, list[str]] = defaultdict(list)
    for name, family in sorted(set(origins)):
        families[name].append(family)
    labels: dict[Origin, str] = {}
    bare = {name for name, found in families.items() if len(found) == 1 or SHIPPED in found or name in _ROLES}
    for name, found in families.items():
        for family in found:
            # The names of anchor and floor are theirs, whatever else there is.
            keeps = is_ours((name, family)) if name in _ROLES else len(found) == 1 or family == SHIPPED
            if keeps:
                labels[name, family] = name
            else:
                labels[name, family] = _apart(f"{name} ({_place(family)})", bare.union(labels.values()))
    return labels


def _place(family: str) -> str:
    return family.partition(":")[2] or family


def _apart(label: str, taken: Collection[str]) -> str:
    """The label, which somebody may have given to another codec as a name."""
    found, number = label, 1
    while found in taken:
        number += 1
        found = f"{label} {number}"
    return found


def labelled(groups: Mapping[str, Sequence[Evidence]], labels: Mapping[Origin, str]) -> dict[str, list[Evidence]]:
    """The results, each with its codec's label."""
    return {
        scenario: [dataclasses.replace(item, label=labels[origin_of(item)]) for item in items]
        for scenario, items in groups.items()
    }
