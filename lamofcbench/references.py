"""What a sample's id and its reference may be: one rule for building, writing and scoring.

===========  =========================================================================
predictions  references
===========  =========================================================================
text         str, at most `MAX_TEXT_BYTES` of UTF-8; may be empty
label        int of 64 bits
scores       int of 64 bits, the label that should score best; or a finite float
logprobs     str, the text whose tokens are scored; at most `MAX_TEXT_BYTES` of UTF-8
mask         bytes: a grey PNG, as `rasters.encode_mask` makes it
map          bytes, as `rasters.encode_map` makes them
image        bytes: a PNG in colour, as `rasters.encode_image` makes it; or str, a caption
===========  =========================================================================

Where predictions are of a user's own kind, references are what JSON can say (`lamofcbench.prediction_kinds`).

Scalars of numpy and torch count as the number or text that they hold. ``True`` is no number here. A metric may ask for
more, see `harness.metrics.base.Metric.check_reference`.

An id is text of at most `MAX_ID_BYTES` of UTF-8 that is not blank and holds neither control characters nor line breaks.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any

from lamofcbench.errors import DataError
from lamofcbench.prediction_kinds import PredictionKind
from lamofcbench.rasters import decode_image, decode_map, decode_mask
from lamofcbench.scenarios.base import PredictionType

MAX_ID_BYTES = 255
MAX_TEXT_BYTES = 2**16

Reference = str | int | float | bytes

REFERENCE_TYPES: dict[PredictionType, tuple[type, ...]] = {
    "text": (str,),
    "label": (int,),
    "scores": (int, float),
    "logprobs": (str,),
    "mask": (bytes,),
    "map": (bytes,),
    "image": (bytes, str),
}
_NAMES = {str: "str", int: "int64", float: "float64", bytes: "bytes"}
_DECODERS = {"mask": decode_mask, "map": decode_map, "image": decode_image}
_NOT_IN_IDS = {"Cc": "a control character", "Zl": "a line break", "Zp": "a line break"}


def check_sample(
    kind: PredictionType | PredictionKind, sample_id: Any, reference: Any, where: str
) -> tuple[str, Reference]:
    """A sample's id and reference as plain Python values.

    Args:
        kind: the type of the predictions that the reference is compared with.
        sample_id: the id.
        reference: the reference, as a builder brings it; encoded bytes are decoded to see whether they can be.
        where: which sample this is, by its position; begins the message.

    Raises:
        DataError: naming the sample and which of the two is wrong.
    """
    checked_id = check_id(sample_id, where)
    try:
        if isinstance(kind, PredictionKind):
            return checked_id, kind.stored_reference(reference)
        value = check_reference(kind, reference)
        decode_reference(kind, value)
    except DataError as error:
        raise DataError(f"{where} ({checked_id!r}): {error}") from error
    return checked_id, value


def check_id(sample_id: Any, where: str) -> str:
    """A sample's id as a plain str.

    Raises:
        DataError: if it is something else, blank, too long, not valid Unicode or not one line.
    """
    value = plain(sample_id)
    if not isinstance(value, str):
        raise DataError(f"{where}: the id is {shown(value)}; ids are str")
    try:
        _check_text(value, MAX_ID_BYTES)
        if not value.strip():
            raise ValueError("is blank")
        for at, character in enumerate(value):
            if unicodedata.category(character) in _NOT_IN_IDS:
                what = _NOT_IN_IDS[unicodedata.category(character)]
                raise ValueError(f"holds {what}, U+{ord(character):04X}, at position {at}")
    except ValueError as error:
        raise DataError(f"{where}: the id {shown(value)} {error}") from error
    return value


def check_reference(kind: PredictionType | PredictionKind, reference: Any) -> Reference:
    """A stored reference as a plain Python value; bytes are not decoded.

    Raises:
        DataError: if predictions of this kind cannot be compared with it.
    """
    value = plain(reference)
    if isinstance(kind, PredictionKind):
        kind.reference_of(value)
        return str(value)
    allowed = REFERENCE_TYPES[kind]
    if type(value) not in allowed:
        names = " or ".join(_NAMES[one] for one in allowed)
        raise DataError(
            f"the reference is of type {type(value).__name__}; references are all {names} where predictions are {kind}"
        )
    try:
        if isinstance(value, str):
            _check_text(value, MAX_TEXT_BYTES)
        elif isinstance(value, int) and not fits_int64(value):
            raise ValueError("does not fit 64 bits")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("is not finite")
    except ValueError as error:
        raise DataError(f"the reference {shown(value)} {error}") from error
    return value


def decode_reference(kind: PredictionType | PredictionKind, reference: Any) -> Any:
    """What a metric compares predictions with: encoded bytes become arrays, all else is as `check_reference` gives it.

    Raises:
        DataError: if predictions of this kind cannot be compared with it.
    """
    if isinstance(kind, PredictionKind):
        return kind.reference_of(plain(reference))
    value = check_reference(kind, reference)
    if not isinstance(value, bytes):
        return value
    try:
        return _DECODERS[kind](value)
    except DataError as error:
        raise DataError(f"the reference is no {kind}: {error}") from error


def fits_int64(value: int) -> bool:
    """Whether an integer can be stored as one of 64 bits."""
    return -(2**63) <= value < 2**63


def plain(value: Any) -> Any:
    """Scalars of numpy and torch, and values of subclasses such as enumerations, as str, int, float or bytes."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
    return bytes(value) if isinstance(value, (bytes, bytearray)) else value


def shown(value: Any) -> str:
    """A value for a message: one short line, whatever it is."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else f"{value[:40]!r}..."
    if isinstance(value, (bytes, bytearray)):
        return f"{type(value).__name__} of length {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:  # its digits may be more than Python agrees to print
        return f"int of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} {list(shape)}" if isinstance(shape, tuple) else type(value).__name__


def _check_text(text: str, limit: int) -> None:
    """Raises ValueError, whose message follows on the text, unless it is valid Unicode within the limit."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        found = ord(text[error.start])
        raise ValueError(f"holds half a surrogate pair, U+{found:04X}, at position {error.start}") from None
    if size > limit:
        raise ValueError(f"takes {size} bytes as UTF-8; at most {limit} are stored")
