"""When two computations of one thing agree: exactly where it is discrete, up to rounding where it is not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.metrics.predictions import decode_prediction
from harness.results.record import DIVERGENCE, POSITIONS, RESPONSE_ENERGY, RESPONSE_ERROR
from lamofcbench.errors import DataError
from lamofcbench.features import FeatureSet
from lamofcbench.prediction_kinds import PredictionKind
from lamofcbench.scenarios.base import PredictionType

RELATIVE = 1e-3
"""Of numbers that a tail puts out, to the largest of them."""
PIXELS = 1e-3
"""The share of a mask's pixels that may have another label."""
LEVELS = 0.5
"""How far the pixels of an image may be off, in levels of 256 and on average."""
ERROR, ENERGY = 1e-6, 1e-9
"""How far a squared error may be off, relative to itself and to the energy of the tensor: stored features of a mini
scenario may differ in their last bits between machines."""
GAIN = 1e-3
"""By which part of its metric's range a submitted score may be better than that of the tail's predictions."""
RESPONSES = (DIVERGENCE, RESPONSE_ERROR, RESPONSE_ENERGY, POSITIONS)


def same_cell(kind: PredictionType | PredictionKind, first: Any, second: Any) -> bool:
    """Whether two stored predictions, or references, say the same.

    Example:
        >>> same_cell("label", 3, 3), same_cell("label", 3, 4), same_cell("logprobs", [-1.0], [-1.0000001])
        (True, False, True)
    """
    if type(first) is type(second) and first == second:
        return True
    if (
        isinstance(first, str)
        or isinstance(second, str)
        or kind in ("text", "label")
        or isinstance(kind, PredictionKind)
    ):
        return False
    try:
        one, other = (np.asarray(decode_prediction(kind, cell)) for cell in (first, second))
    except DataError:
        return False
    if one.shape != other.shape:
        return False
    if kind == "mask":
        return bool(np.mean(one != other) <= PIXELS)
    one, other = one.astype(np.float64), other.astype(np.float64)
    if kind == "image":
        return bool(np.mean(np.abs(one - other)) <= LEVELS)
    largest = float(np.max(np.abs(other[np.isfinite(other)]), initial=0.0))
    return bool(np.allclose(one, other, rtol=0, atol=RELATIVE * largest, equal_nan=True))


def gains(gain: float, flipped: int, samples: int) -> bool:
    """Whether a score is better by more than rounding makes it, which has no direction.

    Args:
        gain: of the submitted score over that of the tail's predictions, in parts of the metric's range.
        flipped: predictions that came out otherwise; of so many, about as many are for the better as for the worse.
        samples: that both scores are of.

    Example:
        >>> gains(0.0005, 0, 100), gains(0.002, 0, 100), gains(0.02, 1, 100), gains(0.05, 4, 100)
        (False, True, False, True)
    """
    return gain > GAIN + 2.0 * math.sqrt(flipped) / max(samples, 1)


def same_error(found: float, recorded: Any, energy: float) -> bool:
    """Whether a squared error is the recorded one.

    Args:
        found: computed anew.
        recorded: by the run.
        energy: sum of the squares of the tensor.
    """
    if not isinstance(recorded, float):
        return False
    if not (math.isfinite(found) and math.isfinite(recorded)):
        return math.isfinite(found) == math.isfinite(recorded)
    allowed = ERROR * recorded + (ENERGY * energy if math.isfinite(energy) else 0.0)
    return abs(found - recorded) <= allowed


def energy_of(features: FeatureSet, name: str) -> float:
    """The sum of the squares of a tensor, which its squared errors are small beside."""
    return float(features[name].double().square().sum())


def same_response(name: str, found: Any, recorded: Any) -> bool:
    """Whether a figure of the responses is the recorded one; positions are counted, the rest is summed."""
    if name == POSITIONS:
        return bool(found == recorded)
    if not (isinstance(found, float) and isinstance(recorded, float)):
        return False
    if math.isnan(found) or math.isnan(recorded):
        return math.isnan(found) == math.isnan(recorded)
    return math.isclose(found, recorded, rel_tol=RELATIVE, abs_tol=1e-6)
