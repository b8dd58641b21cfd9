"""The schema of ``lamofcbench compare --json``, and what makes a change one that counts.

``Comparison.model_json_schema()`` is the published schema.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from harness.report.summary import Estimate, Text
from harness.statistics import bootstrap
from harness.statistics.curves import Bound

Draws = NDArray[np.float64]

Verdict = Literal["better", "worse", "same"]
Measure = Literal["rate", "score", "retention", "encode speed", "decode speed", "EBPFP@95", "EBPFP@99"]


RETAINED: tuple[Measure, Measure] = ("EBPFP@95", "EBPFP@99")
"""Of curves, in the order of `harness.report.summary.RETAINED_PERCENTS`."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Change(_Strict):
    """One figure in both runs."""

    measure: Measure
    a: float = Field(description="of the first run; on the common samples where runs are paired")
    b: float = Field(description="of the second run")
    unit: Literal["", "%"] = Field(description="of the difference: '%' of the first run's figure, or the figure's own")
    difference: Estimate = Field(description="second minus first, with its interval")
    bound_a: Bound | None = Field(default=None, description="of EBPFP@p in the first run; null for other figures")
    bound_b: Bound | None = Field(default=None, description="of EBPFP@p in the second run")
    verdict: Verdict = Field(description="'same' covers every difference that may be noise, or that bounds leave open")

    def with_bounds(self, bound_a: Bound, bound_b: Bound) -> Change:
        """The change of a rate that may be but an upper bound: what lies below one contradicts no other figure."""
        open_end = {"better": bound_a, "worse": bound_b}.get(self.verdict)
        verdict = "same" if open_end == "at most" else self.verdict
        return self.model_copy(update={"bound_a": bound_a, "bound_b": bound_b, "verdict": verdict})


class Pair(_Strict):
    """A rate point that both runs have, or the curve of a codec that both have."""

    scenario: str
    codec: str
    label: str = Field(description="the rate point; empty for the whole curve")
    changes: list[Change]


class ScenarioPairing(_Strict):
    """How a scenario's results are compared."""

    scenario: str
    paired: bool = Field(description="the same samples of the same data in both runs")
    samples: int = Field(description="samples in common, or the smaller number where unpaired")
    notes: list[str]


class Comparison(_Strict):
    """Everything that `lamofcbench compare` finds."""

    comparison_schema_version: Literal[1] = 1
    run_a: Text
    run_b: Text
    confidence: float
    resamples: int
    rate_margin: float = Field(description="rates within a factor of 1 + this are equal")
    speed_margin: float = Field(description="speeds within a factor of 1 + this are equal")
    scenarios: list[ScenarioPairing]
    pairs: list[Pair]
    only_a: list[str] = Field(description="results that the second run lacks: scenario, codec and rate point")
    only_b: list[str] = Field(description="results that the first run lacks")
    warnings: list[Text]

    def changes(self, verdict: Verdict) -> list[tuple[Pair, Change]]:
        """The figures of one verdict."""
        return [(pair, change) for pair in self.pairs for change in pair.changes if change.verdict == verdict]


def absolute_change(
    measure: Measure,
    a: float,
    b: float,
    draws_a: Draws,
    draws_b: Draws,
    sign: int,
    confidence: float,
) -> Change:
    """A change in the figure's own unit; ``sign`` is 1 where more is better."""
    difference = _estimate(b - a, draws_b - draws_a, confidence)
    return Change(
        measure=measure, a=a, b=b, unit="", difference=difference, verdict=_verdict(difference, sign, 0.0, 0.0)
    )


def relative_change(
    measure: Measure,
    a: float,
    b: float,
    draws_a: Draws,
    draws_b: Draws,
    sign: int,
    margin: float,
    confidence: float,
) -> Change:
    """A change in per cent of the first run's figure; up to a factor of ``1 + margin`` either way, it is none."""
    difference = _estimate(100 * (b / a - 1), 100 * (draws_b / draws_a - 1), confidence)
    verdict = _verdict(difference, sign, 100 * margin, 100 * (1 / (1 + margin) - 1))
    return Change(measure=measure, a=a, b=b, unit="%", difference=difference, verdict=verdict)


def _estimate(value: float, draws: Draws, confidence: float) -> Estimate:
    bounds = bootstrap.interval(draws, confidence)
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])


def _verdict(difference: Estimate, sign: int, rise: float, fall: float) -> Verdict:
    """Changed where the whole interval lies above ``rise`` or below ``fall``; ``sign`` is 1 where more is better."""
    if difference.low is None or difference.high is None:
        return "same"
    direction = 1 if difference.low > rise else -1 if difference.high < fall else 0
    return "same" if not direction else "better" if sign * direction > 0 else "worse"
