"""Fitting on one scenario and coding another: what a codec knows of a task, on a task that it does not know.

Both scenarios must have the same backbone, split at the same place: the same weights, and tensors that differ in
nothing but how long they may be.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from harness.running import fitting
from harness.running.sensitivity import TailSensitivity
from lamofcbench.codecs.base import Codec
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.models.loading import weights_directory
from lamofcbench.scenarios.base import Axis, FeatureSpecs, Scenario
from lamofcbench.storage.calibration import Calibration


def require_same_backbone(source: Scenario, scenario: Scenario) -> None:
    """Refuses to fit on a scenario whose features another backbone has made.

    Raises:
        LaMoFCBenchError: saying what differs.
    """
    refused = f"a codec for {scenario.id} cannot be fitted on {source.id}"
    if _shapes(source.specs) != _shapes(scenario.specs):
        raise LaMoFCBenchError(f"{refused}: their tensors differ in name, role, dtype or width")
    if _weights(source) != _weights(scenario):
        raise LaMoFCBenchError(f"{refused}: their backbones have other weights")


def fit_elsewhere(
    codec: Codec, source: Scenario, calibration: Calibration, seed: int, tail: TailSensitivity | None
) -> Codec:
    """The codec with what one of its class and parameters has learned on another scenario."""
    learned = fitting.fit(type(codec)(source.specs, codec.params), calibration, seed, tail)
    return type(codec)(codec.specs, codec.params, learned.state)


def _shapes(specs: FeatureSpecs) -> tuple[Any, ...]:
    tensors = [
        (spec.name, spec.role, spec.dtype, tuple(n.name if isinstance(n, Axis) else n for n in spec.shape))
        for spec in specs.tensors
    ]
    return tuple(tensors), specs.side


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
