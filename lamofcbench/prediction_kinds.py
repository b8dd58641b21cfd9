"""Prediction types of a user's own, from the file of their scenario: boxes, tags, anything that JSON can say.

A scenario names one as it names a metric of its own::

    class Boxes(PredictionKind):
        name = "boxes"

        def check(self, value):            # what the tail returned, or what a file holds
            if any(len(box) != 4 for box in value):
                raise ValueError("a box has four numbers")
            return value

    DETECTION = Scenario(..., prediction=":Boxes", metric=":MeanPrecision", ...)

Predictions and references are stored as JSON, in a column of text. Reading one runs no code but that of `check`.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NoReturn

from lamofcbench.errors import DataError, PluginError, first_line, shown
from lamofcbench.registry import Registry

MAX_JSON_BYTES = 2**20
"""What a prediction or a reference may take as JSON."""
_MISFITS = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)


class PredictionKind(ABC):
    """A prediction type of a user's own.

    Class attributes:
        name: what messages call it, and what a metric may `accept`.
        revision: raised when the same value would be stored, or read, otherwise.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1

    @abstractmethod
    def check(self, value: Any) -> Any:
        """A prediction as metrics get it.

        Args:
            value: of what JSON has: dicts with texts as keys, lists, texts, numbers, booleans and None. Tuples, arrays
                and tensors of a tail have become lists.

        Raises:
            ValueError, TypeError: saying what is wrong with it.
        """

    def check_reference(self, value: Any) -> Any:
        """A reference as metrics get it; here as a prediction."""
        return self.check(value)

    def stored_prediction(self, prediction: Any) -> str:
        """The JSON of what a tail returned.

        Raises:
            PluginError: if it is no prediction of this kind.
        """
        try:
            text = _to_json(prediction)
            self.check(json.loads(text))
        except _MISFITS as error:
            raise PluginError(
                f"the tail returned {shown(prediction)}, which is no {self.name} prediction: {first_line(error)}"
            ) from error
        return text

    def stored_reference(self, reference: Any) -> str:
        """The JSON of a sample's reference.

        Raises:
            DataError: if predictions of this kind cannot be compared with it.
        """
        try:
            text = _to_json(reference)
            self.check_reference(json.loads(text))
        except _MISFITS as error:
            raise DataError(f"the reference {shown(reference)} is no {self.name}: {first_line(error)}") from error
        return text

    def prediction_of(self, cell: Any) -> Any:
        """The prediction that a cell stores.

        Raises:
            DataError: if it is damaged, or holds something else.
        """
        try:
            return self.check(_from_json(cell))
        except _MISFITS as error:
            raise DataError(f"a stored prediction is no {self.name}: {first_line(error)}") from error

    def reference_of(self, cell: Any) -> Any:
        """The reference that a cell stores.

        Raises:
            DataError: if it is damaged, or holds something else.
        """
        try:
            return self.check_reference(_from_json(cell))
        except _MISFITS as error:
            raise DataError(f"the reference is no {self.name}: {first_line(error)}") from error


PREDICTION_KINDS: Registry[type[PredictionKind]] = Registry("prediction type", PredictionKind, package=None, group=None)
"""Of files alone: a scenario's digest covers its file, and so the kind that it names."""


def _to_json(value: Any) -> str:
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"), default=_listed)
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(f"it takes {len(text)} bytes as JSON; at most {MAX_JSON_BYTES} are stored")
    return text


def _listed(value: Any) -> Any:
    """Arrays and tensors as lists, scalars as numbers."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"JSON has no {type(value).__name__}")
    return value.tolist()


def _from_json(cell: Any) -> Any:
    if not isinstance(cell, str):
        raise TypeError(f"it is stored as {type(cell).__name__}, not as text")
    if len(cell) > MAX_JSON_BYTES:
        raise ValueError(f"it takes {len(cell)} bytes; at most {MAX_JSON_BYTES} are read")
    return json.loads(cell, parse_constant=_refuse, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999, say
        raise ValueError(f"{shown(text)} is beyond what a number holds")
    return number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
