"""What users name, as objects: scenarios, and the codecs to run on each."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from harness.results.result import ANCHOR, FLOOR
from harness.running import thinning
from harness.running.ladder import calibrated
from harness.running.responses import has_response
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS, make_codecs, names_saved_codec, parse_codec_spec, spec_of
from lamofcbench.errors import CodecError, LaMoFCBenchError
from lamofcbench.scenarios.base import SCENARIOS, Scenario

LOGGER = logging.getLogger("lamofcbench")

EDITIONS: tuple[Literal["mini", "small", "full"], ...] = ("mini", "small", "full")
ALL_CODECS = "all"

CodecLike: TypeAlias = "str | type[Codec] | Codec"


def select_scenarios(names: Iterable[str]) -> list[Scenario]:
    """The scenarios of ids, ``file.py:NAME`` and editions, each once, in the order named.

    An edition stands for its tracks; a variant of a track runs only where its own id is named.

    Args:
        names: each may hold several, separated by commas.

    Raises:
        UnknownNameError: with the near matches of a wrong name.
    """
    selected: dict[str, Scenario] = {}
    for name in (part.strip() for text in names for part in text.split(",")):
        if not name:
            continue
        if name in EDITIONS:
            found = [scenario for scenario in SCENARIOS if scenario.edition == name and scenario.variant_of is None]
        else:
            found = [SCENARIOS.get(name)]
        for scenario in found:
            if selected.setdefault(scenario.id, scenario).digest != scenario.digest:
                raise LaMoFCBenchError(f"two scenarios named have the id {scenario.id!r}; results would mix")
    if not selected:
        raise LaMoFCBenchError(
            "no scenario is named; name ids, mini, small or full (`lamofcbench scenarios` lists them)"
        )
    return list(selected.values())


def select_codecs(
    codecs: Iterable[CodecLike],
    scenario: Scenario,
    *,
    trust_code: bool = False,
    points: int | None = None,
    ladders: Path | None = None,
) -> list[Codec]:
    """The codecs of SPECs, classes (their ladder) and objects, for one scenario; see `select_named`."""
    chosen = select_named(codecs, scenario, trust_code=trust_code, points=points, ladders=ladders)
    return [codec for _, codec in chosen]


def select_named(
    codecs: Iterable[CodecLike],
    scenario: Scenario,
    *,
    trust_code: bool = False,
    points: int | None = None,
    ladders: Path | None = None,
) -> list[tuple[str, Codec]]:
    """The codecs that were named, for one scenario, and what to call each on the command line; each configuration once.

    Args:
        codecs: SPECs, classes, which stand for their ladder, and objects; ``all`` stands for every registered codec
            that this machine can run, on a tail that shows what they ask for.
        scenario: for whose tensors.
        trust_code: allow a saved codec to run the Python source that came with it.
        points: how many rate points of each ladder to keep, see `harness.running.thinning`; None for all.
        ladders: a folder of `lamofcbench ladder`; codecs that have one for this scenario run its points in place of
            their own. None for their own.

    Raises:
        LaMoFCBenchError: for a wrong name or parameter, or a codec made for other tensors.
    """
    if points is not None and points < 1:
        raise LaMoFCBenchError(f"points is {points}; at least 1 rate point is needed")
    found: dict[bytes, tuple[str, Codec]] = {}
    for like in _expanded(codecs, scenario):
        for codec in _thinned(_codecs_of(like, scenario, trust_code, ladders), points, scenario, ladders):
            found.setdefault(codec.fingerprint, (_named(like, codec), codec))
    return list(found.values())


def _named(like: CodecLike, codec: Codec) -> str:
    """A codec as the command line takes it; what was not named there goes by its name."""
    if not isinstance(like, str):
        return spec_of(codec)
    spec = parse_codec_spec(like)
    return like if names_saved_codec(spec) else spec_of(codec, spec.id)  # what is saved takes no parameters


def _expanded(codecs: Iterable[CodecLike], scenario: Scenario) -> Iterator[CodecLike]:
    for like in codecs:
        if like == ALL_CODECS:
            for name in _runnable_codecs():
                if CODECS.get(name).needs_sensitivity and not has_response(scenario):
                    LOGGER.warning("%s is left out: the split model of %s shows no responses", name, scenario.id)
                else:
                    yield name
        else:
            yield like


@functools.cache  # a run selects once a scenario, and is to say once what it leaves out
def _runnable_codecs() -> tuple[str, ...]:
    names = [name for name in CODECS.names() if name not in (ANCHOR, FLOOR)]  # every run makes those two
    reasons = {name: CODECS.get(name).unavailable() for name in names}
    for name, reason in reasons.items():
        if reason is not None:
            LOGGER.warning("%s is left out: %s", name, reason)
    return tuple(name for name in names if reasons[name] is None)


def _thinned(codecs: Sequence[Codec], points: int | None, scenario: Scenario, ladders: Path | None) -> list[Codec]:
    """So many rate points of a codec; those of its calibrated ladder where it has one that they are of."""
    if points is None or points >= len(codecs):
        return list(codecs)
    codec_class = type(codecs[0])
    known = None if ladders is None else calibrated(ladders, scenario, codec_class)
    if known is None or [codec_class.make_params(point.params) for point in known] != [c.params for c in codecs]:
        return [codecs[at] for at in thinning.by_order(len(codecs), points)]
    kept = thinning.by_retention([point.ebpfp for point in known], [point.retention for point in known], points)
    return [codecs[at] for at in kept]


def _codecs_of(like: CodecLike, scenario: Scenario, trust_code: bool, ladders: Path | None) -> Sequence[Codec]:
    if isinstance(like, str):
        codecs = make_codecs(like, scenario.specs, scenario=scenario.ref, trust_code=trust_code)
        spec = parse_codec_spec(like)
        if ladders is not None and spec.params is None and not names_saved_codec(spec):
            return _on_ladder(type(codecs[0]), scenario, ladders) or codecs
        return codecs
    if isinstance(like, type) and issubclass(like, Codec):
        found = None if ladders is None else _on_ladder(like, scenario, ladders)
        return found or [like(scenario.specs, like.make_params(point)) for point in like.rate_points]
    if isinstance(like, Codec):
        if like.specs.as_stored() != scenario.specs.as_stored():
            raise CodecError(f"codec {like!r} was made for other tensors than those of {scenario.id}")
        return [like]
    raise CodecError(f"{like!r} is no codec: give a SPEC, a Codec class or a Codec")


def _on_ladder(codec_class: type[Codec], scenario: Scenario, ladders: Path) -> list[Codec] | None:
    """The codec at the points of its ladder file; None where it has none on this scenario."""
    points = calibrated(ladders, scenario, codec_class)
    if points is None:
        return None
    return [codec_class(scenario.specs, codec_class.make_params(point.params)) for point in points]


def anchor_and_floor(scenario: Scenario) -> tuple[Codec, Codec]:
    """The two codecs that run before any other."""
    anchor, floor = (CODECS.get(name)(scenario.specs) for name in (ANCHOR, FLOOR))
    return anchor, floor
