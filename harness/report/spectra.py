"""Spectra of a scenario's calibration features, which the Gaussian bounds are made of, kept in the results folder."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.results.result import Result
from harness.statistics.gaussian_bound import FOLDS, Spectrum, spectra
from lamofcbench.atomic import write_json
from lamofcbench.builders import BUILDERS
from lamofcbench.codecs.transform.rows import RowGroup, row_groups
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import Scenario

CACHE_FILE = "gaussian_bound.json"
MAX_CACHE_BYTES = 2**26
MEASURES = ("mse", "nmse")


@dataclass(frozen=True)
class Spectra:
    """What both bounds are made of.

    Attributes:
        tensors: of each tensor on its own.
        weights: for each measure of error, what each tensor's squared error is multiplied by; no ``nmse`` where the
            error of the calibration mean is not known of every tensor.
        groups: the names of the tensors of each group whose rows are joined, by the name of the first; those that
            stand alone are left out.
        joint: for each measure, the spectrum of each group in units of weighted squared errors.
    """

    tensors: Mapping[str, Spectrum]
    weights: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, tuple[str, ...]]
    joint: Mapping[str, Mapping[str, Spectrum]]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Kept(_Strict):
    basis: Literal["covariance", "variances"]
    channels: int = Field(ge=0)
    observations: int = Field(ge=0)
    variances: list[float]
    shares: list[float]

    @classmethod
    def of(cls, found: Spectrum) -> _Kept:
        return cls(
            basis=found.basis,  # type: ignore[arg-type]  # one of the two by construction
            channels=found.channels,
            observations=found.observations,
            variances=found.variances.tolist(),
            shares=found.shares.tolist(),
        )

    def spectrum(self) -> Spectrum:
        return Spectrum(np.array(self.variances), np.array(self.shares), self.basis, self.channels, self.observations)

    @property
    def sound(self) -> bool:
        numbers = (*self.variances, *self.shares)
        return len(self.variances) == len(self.shares) and all(n > 0 for n in numbers) and sum(self.shares) <= 1 + 1e-6


class _Cached(_Strict):
    """What ``gaussian_bound.json`` holds: spectra, and what they were computed from."""

    schema_version: Literal[2] = 2
    scenario: str
    scenario_digest: str
    data_revision: str
    builder_identity: str = ""
    folds: int
    weights: dict[str, dict[str, float]]
    tensors: dict[str, _Kept]
    joint: dict[str, dict[str, _Kept]]


def read_spectra(
    results_dir: Path, scenario: Scenario, result: Result, floor: Result | None, data: str | Path | None = None
) -> Spectra:
    """The spectra over the calibration split that the results' data revision has.

    They are kept in ``<results>/<scenario>@<version>/gaussian_bound.json`` and computed where they are not there yet.

    Args:
        results_dir: the results folder.
        scenario: what the results are of.
        result: one of them.
        floor: the calibration mean's result, which scales the normalised error; None where there is none.
        data: a dataset folder; None for the cache of mini data.

    Raises:
        DataError: if the data are not here, or are of another revision than the results.
    """
    elements = {name: record.elements for name, record in result.tensors.items()}
    if elements.keys() != {spec.name for spec in scenario.tensors} or sum(elements.values()) != result.rate.elements:
        raise DataError("the results state other tensors than the scenario has")
    path = results_dir / scenario.ref / CACHE_FILE
    weights = _weights(result, floor)
    joined = [group for group in row_groups(scenario.specs) if len(group.specs) > 1]
    groups = {group.specs[0].name: tuple(spec.name for spec in group.specs) for group in joined}
    key: dict[str, Any] = {
        "scenario": scenario.id,
        "scenario_digest": result.scenario_digest,
        "data_revision": result.data_revision,
        "builder_identity": result.builder_identity,
        "folds": FOLDS,
        "weights": weights,
    }
    kept = _read_cache(path)
    sound = (
        kept is not None
        and kept.model_dump(include=set(key)) == key
        and kept.tensors.keys() == result.tensors.keys()
        and kept.joint.keys() == weights.keys()
        and all(part.keys() == groups.keys() for part in kept.joint.values())
    )
    if kept is None or not sound:
        kept = _Cached(**key, **_compute(scenario, result, data, joined, weights))
        with contextlib.suppress(OSError):  # a results folder that cannot be written still gets its bound
            write_json(path, kept.model_dump(mode="json"))
    return Spectra(
        {name: part.spectrum() for name, part in kept.tensors.items()},
        weights,
        groups,
        {measure: {name: part.spectrum() for name, part in parts.items()} for measure, parts in kept.joint.items()},
    )


def _weights(result: Result, floor: Result | None) -> dict[str, dict[str, float]]:
    weights = {"mse": dict.fromkeys(result.tensors, 1.0)}
    records = floor.tensors if floor is not None else {}
    # A tensor without elements weighs nothing, so any error of the floor's does.
    floors = {name: record.mse if record.elements else 1.0 for name, record in records.items()}
    nmse = {name: 1 / mse for name, mse in floors.items() if mse and math.isfinite(1 / mse)}
    if result.tensors.keys() <= nmse.keys():
        weights["nmse"] = {name: nmse[name] for name in result.tensors}
    return weights


def _read_cache(path: Path) -> _Cached | None:
    """What an earlier report kept; None where there is nothing usable."""
    try:
        if path.stat().st_size > MAX_CACHE_BYTES:
            return None
        cached = _Cached.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    parts = [*cached.tensors.values(), *(part for joint in cached.joint.values() for part in joint.values())]
    return cached if all(part.sound for part in parts) else None


def _compute(
    scenario: Scenario,
    result: Result,
    data: str | Path | None,
    joined: list[RowGroup],
    weights: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    from lamofcbench.storage.calibration import Calibration  # loads torch

    if result.scenario_digest != scenario.digest:
        raise DataError("the results were made when the scenario was declared otherwise")
    if data is None and scenario.builder is not None and scenario.edition != "full":
        # Asked before the data are opened, which would build them.
        _require_revision(BUILDERS.get(scenario.builder, relative_to=scenario.origin)().revision(), result)
    calibration = Calibration(scenario, data)
    _require_revision(calibration.data_revision, result)
    if calibration.builder_identity != result.builder_identity:
        raise DataError(
            f"the results are of data built by {result.builder_identity or 'unknown code'}, the data here by "
            f"{calibration.builder_identity or 'unknown code'}"
        )
    alone, joint = spectra(calibration, scenario.tensors, joined, list(weights.values()))
    return {
        "tensors": {name: _Kept.of(part) for name, part in alone.items()},
        "joint": {
            measure: {name: _Kept.of(part) for name, part in parts.items()}
            for measure, parts in zip(weights, joint, strict=True)
        },
    }


def _require_revision(here: str, result: Result) -> None:
    if here != result.data_revision:
        raise DataError(f"the results are of data revision {result.data_revision[:16]}, the data here of {here[:16]}")
