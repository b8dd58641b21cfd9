"""The Gaussian bound in a report: the curves, and codecs' distances to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness.report.scored import Draws, Scored, estimate
from harness.report.spectra import MEASURES, Spectra
from harness.report.summary import (
    GAP_NMSES,
    BoundGap,
    BoundGroup,
    BoundRecord,
    BoundTensor,
    CodecSummary,
    Estimate,
    JointBoundRecord,
    RatePoint,
)
from harness.results.result import Result
from harness.statistics import curves
from harness.statistics.gaussian_bound import GaussianBound

CURVE_POINTS = 97
GAP_DRAWS = 200
CURVE_OCTAVES = 1
"""How far the curve goes on beyond the smallest error of a codec."""

NO_SCENARIO = "the scenario's declaration is not known here; name its file with --scenarios FILE.py:NAME"


class ScenarioBound:
    """The bounds along both error axes, over exactly the elements and raw bits of a scenario's results.

    One takes each tensor on its own; the other takes tensors that share their rows as one source, where there are any
    and their calibration samples tell their common covariance.

    Args:
        spectra: of the tensors, alone and joined.
        result: any of the scenario's.
    """

    def __init__(self, spectra: Spectra, result: Result) -> None:
        self._spectra = spectra
        elements = {name: record.elements for name, record in result.tensors.items()}
        self._ebpfp_per_bit = 32 * sum(elements.values()) / result.rate.raw_bits
        self._alone = {m: GaussianBound(spectra.tensors, elements, w) for m, w in spectra.weights.items()}
        # Where rows are too few for a common covariance, tensors stay alone.
        self._joined = {
            name: members
            for name, members in spectra.groups.items()
            if all(parts[name].basis == "covariance" for parts in spectra.joint.values())
        }
        self._joint = {m: self._joint_bound(m, elements) for m in spectra.weights} if self._joined else {}

    def _joint_bound(self, measure: str, elements: Mapping[str, int]) -> GaussianBound:
        inside = {member for members in self._joined.values() for member in members}
        parts = {name: part for name, part in self._spectra.tensors.items() if name not in inside}
        sizes = {name: elements[name] for name in parts}
        weights = {name: self._spectra.weights[measure][name] for name in parts}
        for name, members in self._joined.items():
            parts[name] = self._spectra.joint[measure][name]
            sizes[name], weights[name] = (
                sum(elements[member] for member in members),
                1.0,
            )  # weighted before it is joined
        return GaussianBound(parts, sizes, weights)

    def record(self, points: Sequence[RatePoint]) -> BoundRecord:
        """The curves, as far as the points reach."""
        tensors = [
            BoundTensor(name=name, basis=s.basis, channels=s.channels, observations=s.observations)  # type: ignore[arg-type]
            for name, s in self._spectra.tensors.items()
        ]
        groups = [
            BoundGroup(
                tensors=list(members),
                channels=self._spectra.joint["mse"][name].channels,
                observations=self._spectra.joint["mse"][name].observations,
            )
            for name, members in self._joined.items()
        ]
        joint = JointBoundRecord(groups=groups, **self._curves(self._joint, points)) if self._joint else None
        return BoundRecord(tensors=tensors, joint=joint, **self._curves(self._alone, points))

    def _curves(self, bounds: Mapping[str, GaussianBound], points: Sequence[RatePoint]) -> dict[str, list[float]]:
        columns: dict[str, list[float]] = {}
        for measure in MEASURES:
            columns[measure], columns[f"{measure}_ebpfp"] = [], []
            bound = bounds.get(measure)
            errors = [error for error in (getattr(point, measure) for point in points) if error]
            if bound is None or not errors or not bound.largest_distortion > 0:
                continue
            lowest = min(*errors, bound.largest_distortion) / 2**CURVE_OCTAVES
            axis = np.geomspace(bound.largest_distortion, lowest, CURVE_POINTS)
            columns[measure] = axis.tolist()
            columns[f"{measure}_ebpfp"] = (self._ebpfp_per_bit * bound.bits(axis)).tolist()
        return columns

    def with_gaps(self, codec: CodecSummary, entries: Sequence[Scored]) -> tuple[CodecSummary, dict[float, Draws]]:
        """The codec with its distances in bits per feature point, and the draws of those at fixed errors."""
        points = [
            point.model_copy(
                update={
                    "gap_mse": _gap(self._alone.get("mse"), point.bpfp, point.mse),
                    "gap_nmse": _gap(self._alone.get("nmse"), point.bpfp, point.nmse),
                    "joint_gap_nmse": _gap(self._joint.get("nmse"), point.bpfp, point.nmse),
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
        if "nmse" not in self._alone:
            return BoundGap(nmse=nmse, bits=Estimate(value=None), reason="no result of the calibration mean"), none
        errors = [math.nan if point.nmse is None else point.nmse for point in points]
        bpfps = [math.nan if point.bpfp is None else point.bpfp for point in points]
        rate = curves.rate_at_error(bpfps, errors, nmse)
        if math.isnan(rate):
            return BoundGap(nmse=nmse, bits=Estimate(value=None), reason=f"its errors do not span {nmse:g}"), none
        drawn = none
        error_draws = [entry.nmse_draws for entry in entries if entry.nmse_draws is not None]
        if len(error_draws) == len(entries):
            rates = np.stack([entry.rate_draws for entry in entries], axis=-1)[:GAP_DRAWS] / self._ebpfp_per_bit
            errors_drawn = np.stack(error_draws, axis=-1)[:GAP_DRAWS]
            drawn = np.array([curves.rate_at_error(r, e, nmse) for r, e in zip(rates, errors_drawn, strict=True)])
        joint_bits = Estimate(value=None)
        if self._joint:
            joint = float(self._joint["nmse"].bits(nmse))
            joint_bits = estimate(rate - joint, drawn - joint)
        alone = float(self._alone["nmse"].bits(nmse))
        draws = drawn - alone
        return BoundGap(nmse=nmse, bits=estimate(rate - alone, draws), joint_bits=joint_bits, reason=""), draws


def _gap(bound: GaussianBound | None, bpfp: float | None, error: float | None) -> float | None:
    """Bits above the bound; None where the error is unknown, zero, or as large as with no bits at all."""
    if bound is None or bpfp is None or not error or error >= bound.largest_distortion:
        return None
    return bpfp - float(bound.bits(error))
