"""Prediction types: how each kind of prediction is stored in a table cell, and read back safely.

========  ==================================  =============================================
type      in memory                           in the cell
========  ==================================  =============================================
text      str                                 string, at most `MAX_TEXT_BYTES` of UTF-8
label     int                                 int64
scores    float32 ``[n]``                     list of float32
logprobs  float32 ``[n]``, in nats            list of float32
mask      uint8 or uint16 ``[h, w]``          PNG bytes
map       float16 ``[...]``                   compressed fp16 bytes, see `rasters.encode_map`
image     uint8 ``[h, w, 3]``                 PNG bytes
========  ==================================  =============================================

One of a user's own is stored as JSON, in a string (`lamofcbench.prediction_kinds`).

Cells come from files that others may have made, so reading one never runs code, checks what it finds, and allocates no
more than the limits of `lamofcbench.rasters`. Metrics see what was stored, never the tail's own object, so scoring a
folder again gives the same figures. A longer text that a tail gives is stored and judged up to that length; one that a
file holds is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from lamofcbench.errors import DataError, PluginError
from lamofcbench.prediction_kinds import PredictionKind
from lamofcbench.rasters import decode_image, decode_map, decode_mask, encode_image, encode_map, encode_mask
from lamofcbench.references import MAX_TEXT_BYTES, fits_int64, plain, shown
from lamofcbench.references import decode_reference as decode_reference  # its counterpart for references, from here too
from lamofcbench.scenarios.base import PredictionType

ROUNDING = 1e-4
"""How far above 0 float32 may put the logarithm of a probability of 1."""

Cell = str | int | list[float] | bytes

CELL_TYPES: dict[PredictionType, pa.DataType] = {
    "text": pa.string(),
    "label": pa.int64(),
    "scores": pa.list_(pa.float32()),
    "logprobs": pa.list_(pa.float32()),
    "mask": pa.binary(),
    "map": pa.binary(),
    "image": pa.binary(),
}


def cell_type(kind: PredictionType | PredictionKind) -> pa.DataType:
    """The type of the column that stores predictions."""
    return pa.string() if isinstance(kind, PredictionKind) else CELL_TYPES[kind]


def encode_prediction(kind: PredictionType | PredictionKind, prediction: Any) -> Cell:
    """The cell that stores a tail's prediction.

    Raises:
        PluginError: if the tail returned something else than its scenario declares.
    """
    if isinstance(kind, PredictionKind):
        return kind.stored_prediction(prediction)
    try:
        if kind == "text":
            if not isinstance(prediction, str):
                raise TypeError("it is not a str")
            stored = prediction[:MAX_TEXT_BYTES].encode("utf-8", "replace")  # lone surrogates cannot be stored
            return stored[:MAX_TEXT_BYTES].decode("utf-8", "ignore")  # nor is a character cut in two
        if kind == "label":
            return _label(prediction)
        if kind == "scores":
            return _scores(prediction)
        if kind == "logprobs":
            return _log_probabilities(prediction)
        if kind == "mask":
            return encode_mask(_array(prediction, axes=2))
        if kind == "map":
            return encode_map(_array(prediction))
        return encode_image(_array(prediction, axes=3))
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises the last for a tensor that is no scalar
        raise PluginError(f"the tail returned {shown(prediction)}, which is no {kind} prediction: {error}") from error


def decode_prediction(kind: PredictionType | PredictionKind, cell: Any) -> Any:
    """What a metric compares.

    Raises:
        DataError: if the cell is damaged or holds something else, or a text that is too long.
    """
    if isinstance(kind, PredictionKind):
        return kind.prediction_of(cell)
    if kind == "text" and isinstance(cell, str):
        size = len(cell.encode("utf-8", "surrogatepass"))
        if size > MAX_TEXT_BYTES:
            raise DataError(f"the prediction takes {size} bytes as UTF-8; at most {MAX_TEXT_BYTES} are judged")
        return cell
    if kind == "label" and isinstance(cell, int):
        return cell
    if kind in ("scores", "logprobs") and isinstance(cell, (list, np.ndarray)):
        return np.asarray(cell, dtype=np.float32)
    if isinstance(cell, bytes):
        if kind == "map":
            return decode_map(cell)
        if kind == "mask":
            return decode_mask(cell)
        if kind == "image":
            return decode_image(cell)
    raise DataError(f"a stored {kind} prediction cannot be a {type(cell).__name__}")


def _label(prediction: Any) -> int:
    value = plain(prediction.item() if hasattr(prediction, "item") else prediction)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("it is not a whole number")
    if not fits_int64(value):
        raise ValueError("it does not fit 64 bits")
    return value


def _scores(prediction: Any) -> list[float]:
    scores = _array(prediction, axes=1)
    if scores.dtype.kind not in "fiub":
        raise TypeError(f"it holds {scores.dtype}, not real numbers")
    if not scores.size:
        raise ValueError("it holds no score")
    with np.errstate(over="ignore"):
        stored = scores.astype(np.float32)
    # The best of NaN, or of several that all became infinite, would be the first one.
    for wrong, what in ((np.isnan(scores), "is NaN"), (np.isinf(stored) & ~np.isinf(scores), "does not fit float32")):
        if wrong.any():
            raise ValueError(f"score {int(np.argmax(wrong))} {what}")
    return [float(score) for score in stored]


def _log_probabilities(prediction: Any) -> list[float]:
    """Scores that can be logarithms of probabilities; what rounding leaves above 0 is 0."""
    scores = _scores(prediction)
    for number, score in enumerate(scores):
        if math.isinf(score) or score > ROUNDING:
            raise ValueError(f"{score} at position {number} is no logarithm of a probability that was counted with")
    return [min(score, 0.0) for score in scores]


def _array(value: Any, axes: int | None = None) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor; bfloat16 has no numpy counterpart
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    array = np.asarray(value)
    if axes is not None and array.ndim != axes:
        raise TypeError(f"it has {array.ndim} axes, not {axes}")
    return array
