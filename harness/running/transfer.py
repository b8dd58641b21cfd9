"""Fitting on some scenarios and coding another: what a codec knows of tasks, on a task that it does not know.

All of them must have the same backbone, split at the same place: the same weights, and tensors that differ in
nothing but how long they may be.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.running import fitting
from lamofcbench.codecs.base import Codec
from lamofcbench.errors import CodecError, LaMoFCBenchError
from lamofcbench.models.loading import weights_directory
from lamofcbench.scenarios.base import SCENARIOS, Axis, FeatureSpecs, Scenario, TensorSpec
from lamofcbench.storage.calibration import CalibrationSplit


def require_same_backbone(source: Scenario, scenario: Scenario) -> None:
    """Refuses to fit on a scenario whose features another backbone has made.

    Raises:
        LaMoFCBenchError: saying what differs, and which scenarios would do.
    """
    reason = _reason(source, scenario)
    if reason:
        refused = f"a codec for {scenario.id} cannot be fitted on {source.id}: {reason}"
        raise LaMoFCBenchError(f"{refused}; {_instead(scenario)}")


def _reason(source: Scenario, scenario: Scenario) -> str:
    """Why a codec for a scenario cannot be fitted on another; empty where it can."""
    difference = _difference(source.specs, scenario.specs)
    if difference:
        return f"their tensors differ, {difference}"
    if source.splits != scenario.splits:
        return f"their backbones are split after block {_listed(source.splits)} and {_listed(scenario.splits)}"
    return "" if _weights(source) == _weights(scenario) else "their backbones have other weights"


def _instead(scenario: Scenario) -> str:
    """Which scenarios of the registry have the same backbone."""
    own = [other for other in SCENARIOS if other.edition == scenario.edition and other.id != scenario.id]
    served = [other.id for other in own if _serves(other, scenario)]
    return f"of its backbone are {_listed(served, most=8)}" if served else "no other scenario has its backbone"


def _serves(source: Scenario, scenario: Scenario) -> bool:
    try:
        return not _reason(source, scenario)
    except LaMoFCBenchError:  # one that cannot be had here, such as weights that are not pinned
        return False


def fit_elsewhere(
    codec: Codec,
    sources: Sequence[Scenario],
    calibration: CalibrationSplit,
    seed: int,
    tail: fitting.AnySensitivity | None,
    at_home: Path | None = None,
) -> Codec:
    """The codec with what one of its class and parameters has learned on other scenarios.

    Args:
        codec: for the scenario that is coded.
        sources: what it is fitted on.
        calibration: samples of these.
        seed: of the run.
        tail: computes the sensitivity of its tail; None for codecs that need none.
        at_home: where results of this codec on its only source stand, if any may serve: what was learned for them is
            not learned again.

    Raises:
        CodecError: if fitting fails, or its outcome does not serve the tensors of the scenario that is coded.
    """
    own = type(codec)(widest(sources), codec.params)
    learned = None
    if at_home is not None:
        learned = fitting.find_fitted(at_home, own, fitting.fit_record(own, sources, calibration, seed, tail))
    if learned is None:
        learned = fitting.fit(own, calibration, seed, tail)
    try:
        # Fitting replaces the path of published tables or weights by their hash.
        return type(codec)(codec.specs, learned.params, learned.state)
    except CodecError as error:
        learned_on = _listed(source.id for source in sources)
        raise CodecError(f"what was learned on {learned_on} does not serve these tensors: {error}") from error


def widest(scenarios: Sequence[Scenario]) -> FeatureSpecs:
    """The tensors of scenarios that differ in nothing but how long they may be, as long as the longest."""
    first = scenarios[0].specs
    if len(scenarios) == 1:
        return first
    limits: dict[str, int] = {}
    for axis in (axis for each in scenarios for spec in each.specs.tensors for axis in spec.shape):
        if isinstance(axis, Axis):
            limits[axis.name] = max(axis.limit, limits.get(axis.name, 0))
    return FeatureSpecs(tensors=tuple(_as_long(spec, limits) for spec in first.tensors), side=first.side)


def _as_long(spec: TensorSpec, limits: Mapping[str, int]) -> TensorSpec:
    shape = tuple(Axis(name=n.name, limit=limits[n.name]) if isinstance(n, Axis) else n for n in spec.shape)
    return spec.model_copy(update={"shape": shape})


def _difference(source: FeatureSpecs, specs: FeatureSpecs) -> str:
    """The first thing but the limits of ragged axes in which specs differ, in words; empty where there is none."""
    if source.side != specs.side:
        return f"in side information: {_listed(source.side)} there, {_listed(specs.side)} here"
    theirs, ours = ([spec.name for spec in part.tensors] for part in (source, specs))
    if theirs != ours:
        only = [f"{_listed(n for n in a if n not in b)} only {where}" for a, b, where in
                ((theirs, ours, "there"), (ours, theirs, "here")) if set(a) - set(b)]  # fmt: skip
        return " and ".join(only) or "in their order"
    for there, here in zip(source.tensors, specs.tensors, strict=True):
        for name in ("role", "dtype", "rotary_base"):
            if getattr(there, name) != getattr(here, name):
                return f"{name} of {here.name}: {getattr(there, name)} there, {getattr(here, name)} here"
        if _shape(there) != _shape(here):
            return f"shape of {here.name}: {_shape(there)} there, {_shape(here)} here"
    return ""


def _listed(values: Iterable[Any], most: int = 3) -> str:
    names = [str(value) for value in values]
    return (", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")) or "none"


def _shape(spec: TensorSpec) -> str:
    """The sizes of a tensor, and the names of ragged axes without their limits."""
    return f"[{', '.join(n.name if isinstance(n, Axis) else str(n) for n in spec.shape)}]"


def _weights(scenario: Scenario) -> tuple[Any, ...]:
    directory = weights_directory(scenario)
    if directory is None:
        return scenario.backbone.source, scenario.backbone.revision
    return _digest(directory.resolve()), None


@functools.cache
def _digest(directory: Path) -> str:
    """Of the weights in a folder."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*.safetensors")):
        digest.update(path.relative_to(directory).as_posix().encode())
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()
