"""The Gaussian bound in a report: spectra kept in the results folder, the curve, and codecs' distances to it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.report.scored import Draws, Scored, estimate
from harness.report.summary import (
    GAP_NMSES,
    BoundGap,
    BoundRecord,
    BoundTensor,
    CodecSummary,
    Estimate,
    RatePoint,
)
from harness.results.result import Result
from harness.statistics import curves
from harness.statistics.gaussian_bound import FOLDS, GaussianBound, Spectrum, spectrum
from lamofcbench.atomic import write_json
from lamofcbench.builders import BUILDERS
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import Scenario

CACHE_FILE = "gaussian_bound.json"
MAX_CACHE_BYTES = 2**26
CURVE_POINTS = 97
GAP_DRAWS = 200
CURVE_OCTAVES = 1
"""How far the curve goes on beyond the smallest error of a codec."""

NO_SCENARIO = "the scenario's declaration is not known here; name its file with --scenarios FILE.py:NAME"


# ---------------------------------------------------------------------------------------------- spectra, kept as JSON


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _TensorSpectrum(_Strict):
    basis: Literal["covariance", "variances"]
    channels: int = Field(ge=0)
    observations: int = Field(ge=0)
    variances: list[float]
    shares: list[float]


class _Cached(_Strict):
    """What ``gaussian_bound.json`` holds: the spectrum of each tensor, and what it was computed from."""

    schema_version: Literal[1] = 1
    scenario: str
    scenario_digest: str
    data_revision: str
    builder_identity: str = ""
    folds: int
    tensors: dict[str, _TensorSpectrum]


def read_spectra(
    results_dir: Path, scenario: Scenario, result: Result, data: Path | None = None
) -> dict[str, Spectrum]:
    """The spectrum of each tensor over the calibration split that the results' data revision has.

    They are kept in ``<results>/<scenario>@<version>/gaussian_bound.json`` and computed where they are not there yet.

    Args:
        results_dir: the results folder.
        scenario: what the results are of.
        result: one of them.
        data: a dataset folder; None for the cache of mini data.

    Raises:
        DataError: if the data are not here, or are of another revision than the results.
    """
    elements = {name: record.elements for name, record in result.tensors.items()}
    if elements.keys() != {spec.name for spec in scenario.tensors} or sum(elements.values()) != result.rate.elements:
        raise DataError("the results state other tensors than the scenario has")
    path = results_dir / scenario.ref / CACHE_FILE
    key: dict[str, Any] = {
        "scenario": scenario.id,
        "scenario_digest": result.scenario_digest,
        "data_revision": result.data_revision,
        "builder_identity": result.builder_identity,
        "folds": FOLDS,
    }
    kept = _read_cache(path)
    if kept is not None and kept.model_dump(include=set(key)) == key and kept.tensors.keys() == result.tensors.keys():
        return {name: _spectrum(part) for name, part in kept.tensors.items()}
    spectra = _compute(scenario, result, data)
    tensors = {
        name: _TensorSpectrum(
            basis=part.basis,  # type: ignore[arg-type]  # one of the two by construction
            channels=part.channels,
            observations=part.observations,
            variances=part.variances.tolist(),
            shares=part.shares.tolist(),
        )
        for name, part in spectra.items()
    }
    with contextlib.suppress(OSError):  # a results folder that cannot be written still gets its bound
        write_json(path, _Cached(**key, tensors=tensors).model_dump(mode="json"))
    return spectra


def _read_cache(path: Path) -> _Cached | None:
    """What an earlier report kept; None where there is nothing usable."""
    try:
        if path.stat().st_size > MAX_CACHE_BYTES:
            return None
        cached = _Cached.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    for part in cached.tensors.values():
        sound = len(part.variances) == len(part.shares) and all(value > 0 for value in (*part.variances, *part.shares))
        if not sound or sum(part.shares) > 1 + 1e-6:
            return None
    return cached


def _spectrum(part: _TensorSpectrum) -> Spectrum:
    return Spectrum(np.array(part.variances), np.array(part.shares), part.basis, part.channels, part.observations)


def _compute(scenario: Scenario, result: Result, data: Path | None) -> dict[str, Spectrum]:
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
    return {spec.name: spectrum(calibration, spec) for spec in scenario.tensors}


def _require_revision(here: str, result: Result) -> None:
    if here != result.data_revision:
        raise DataError(f"the results are of data revision {result.data_revision[:16]}, the data here of {here[:16]}")


# ------------------------------------------------------------------------------------------------- what a report shows


class ScenarioBound:
    """The bound along both error axes, over exactly the elements and raw bits of a scenario's results.

    Args:
        spectra: of each tensor.
        result: any of the scenario's.
        floor: the calibration mean's result, which scales the normalised error; None where there is none.
    """

    def __init__(self, spectra: Mapping[str, Spectrum], result: Result, floor: Result | None) -> None:
        self._spectra = spectra
        elements = {name: record.elements for name, record in result.tensors.items()}
        self._ebpfp_per_bit = 32 * sum(elements.values()) / result.rate.raw_bits
        self._mse = GaussianBound(spectra, elements)
        self._nmse: GaussianBound | None = None
        records = floor.tensors if floor is not None else {}
        # A tensor without elements weighs nothing, so any error of the floor's does.
        floors = {name: record.mse if record.elements else 1.0 for name, record in records.items()}
        weights = {name: 1 / mse for name, mse in floors.items() if mse and math.isfinite(1 / mse)}
        if spectra.keys() <= weights.keys():
            self._nmse = GaussianBound(spectra, elements, weights)

    def record(self, points: Sequence[RatePoint]) -> BoundRecord:
        """The curves, as far as the points reach."""
        columns: dict[str, list[float]] = {"nmse": [], "nmse_ebpfp": [], "mse": [], "mse_ebpfp": []}
        for measure, bound in (("mse", self._mse), ("nmse", self._nmse)):
            errors = [error for error in (getattr(point, measure) for point in points) if error]
            if bound is None or not errors or not bound.largest_distortion > 0:
                continue
            lowest = min(*errors, bound.largest_distortion) / 2**CURVE_OCTAVES
            axis = np.geomspace(bound.largest_distortion, lowest, CURVE_POINTS)
            columns[measure] = axis.tolist()
            columns[f"{measure}_ebpfp"] = (self._ebpfp_per_bit * bound.bits(axis)).tolist()
        tensors = [
            BoundTensor(name=name, basis=s.basis, channels=s.channels, observations=s.observations)  # type: ignore[arg-type]
            for name, s in self._spectra.items()
        ]
        return BoundRecord(tensors=tensors, **columns)

    def with_gaps(self, codec: CodecSummary, entries: Sequence[Scored]) -> tuple[CodecSummary, dict[float, Draws]]:
        """The codec with its distances in bits per feature point, and the draws of those at fixed errors."""
        points = [
            point.model_copy(
                update={
                    "gap_mse": _gap(self._mse, point.bpfp, point.mse),
                    "gap_nmse": _gap(self._nmse, point.bpfp, point.nmse),
                }
            )
            for point in codec.points
        ]
        gaps, draws = [], {}
        for nmse in GAP_NMSES if codec.role == "codec" else ():
            gap, draws[nmse] = self._gap_at(nmse, points, entries)
            gaps.append(gap)
        return codec.model_copy(update={"points": points, "bound_gaps": gaps}), draws

    def _gap_at(self, nmse: float, points: Sequence[RatePoint], entries: Sequence[Scored]) -> tuple[BoundGap, Draws]:
        none = np.zeros(0)
        if self._nmse is None:
            return BoundGap(nmse=nmse, bits=Estimate(value=None), reason="no result of the calibration mean"), none
        errors = [math.nan if point.nmse is None else point.nmse for point in points]
        bpfps = [math.nan if point.bpfp is None else point.bpfp for point in points]
        rate = curves.rate_at_error(bpfps, errors, nmse)
        if math.isnan(rate):
            return BoundGap(nmse=nmse, bits=Estimate(value=None), reason=f"its errors do not span {nmse:g}"), none
        bound, draws = self._nmse.bits(nmse), none
        error_draws = [entry.nmse_draws for entry in entries if entry.nmse_draws is not None]
        if len(error_draws) == len(entries):
            rates = np.stack([entry.rate_draws for entry in entries], axis=-1)[:GAP_DRAWS] / self._ebpfp_per_bit
            errors_drawn = np.stack(error_draws, axis=-1)[:GAP_DRAWS]
            draws = np.array(
                [curves.rate_at_error(r, e, nmse) - bound for r, e in zip(rates, errors_drawn, strict=True)]
            )
        return BoundGap(nmse=nmse, bits=estimate(rate - bound, draws), reason=""), draws


def _gap(bound: GaussianBound | None, bpfp: float | None, error: float | None) -> float | None:
    """Bits above the bound; None where the error is unknown, zero, or as large as with no bits at all."""
    if bound is None or bpfp is None or not error or error >= bound.largest_distortion:
        return None
    return bpfp - float(bound.bits(error))
