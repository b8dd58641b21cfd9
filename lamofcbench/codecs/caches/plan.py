"""A plan of groups of components at work: coefficients to codes and scales, and back."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.caches import floats
from lamofcbench.codecs.caches.allocation import FLOAT_BITS, INTEGER_BITS, Part
from lamofcbench.codecs.groups.scales import GroupedCodes, dequantise, quantise
from lamofcbench.errors import CodecError

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class CodedRows:
    """The rows of one sample.

    Attributes:
        steps: float16 ``[rows, integer groups]``.
        lows: likewise.
        codes: by component, uint8 ``[rows, K]``, each below two to the bits of its group.
    """

    steps: NDArray[np.float16]
    lows: NDArray[np.float16]
    codes: NDArray[np.uint8]


@dataclass(frozen=True)
class Plan:
    """Groups of components, from the first component on, as `lamofcbench.codecs.caches.allocation` chose them."""

    parts: tuple[Part, ...]

    @property
    def components(self) -> int:
        """K, how many components are coded."""
        return self.parts[-1].stop if self.parts else 0

    @functools.cached_property
    def spans(self) -> list[tuple[slice, Part]]:
        """The components of each group."""
        stops = [0, *(part.stop for part in self.parts)]
        return [(slice(a, b), part) for a, b, part in zip(stops, stops[1:], self.parts, strict=False)]

    @functools.cached_property
    def integer_groups(self) -> int:
        """How many groups have a step and a low end in each row."""
        return sum(part.bits in INTEGER_BITS for part in self.parts)

    @functools.cached_property
    def bits(self) -> NDArray[np.int64]:
        """Of each component, ``[K]``."""
        return np.repeat([part.bits for part in self.parts], [s.stop - s.start for s, _ in self.spans]).astype(np.int64)

    def encode(self, coefficients: Matrix) -> CodedRows:
        """The codes of coefficients ``[rows, K]``."""
        rows = len(coefficients)
        codes = np.zeros((rows, self.components), np.uint8)
        steps, lows = (np.zeros((rows, self.integer_groups), np.float16) for _ in range(2))
        group = itertools.count()
        for span, part in self.spans:
            values = np.ascontiguousarray(coefficients[:, span])
            if part.bits == FLOAT_BITS:
                codes[:, span] = floats.to_codes(values, part.exponent)
                continue
            quantised, at = quantise(values, np.zeros(1, np.intp), part.bits), next(group)
            codes[:, span], steps[:, at], lows[:, at] = quantised.codes, quantised.steps[:, 0], quantised.lows[:, 0]
        return CodedRows(steps, lows, codes)

    def decode(self, coded: CodedRows) -> Matrix:
        """The coefficients, ``[rows, K]``.

        Raises:
            BitstreamError: if scales or floats are what no encoder writes.
        """
        coefficients = np.zeros(coded.codes.shape, np.float32)
        group = itertools.count()
        for span, part in self.spans:
            codes = np.ascontiguousarray(coded.codes[:, span])
            if part.bits == FLOAT_BITS:
                coefficients[:, span] = floats.from_codes(codes, part.exponent)
                continue
            at = next(group)
            grouped = GroupedCodes(codes, coded.steps[:, at, None], coded.lows[:, at, None])
            coefficients[:, span] = dequantise(grouped, np.zeros(1, np.intp), part.bits)
        return coefficients

    def state(self) -> Tensor:
        """The plan as a tensor, int32 ``[groups, 3]``."""
        fields = [(part.stop, part.bits, part.exponent) for part in self.parts]
        return torch.tensor(fields, dtype=torch.int32).reshape(-1, 3)

    @classmethod
    def from_state(cls, tensor: Tensor) -> Plan:
        """The plan of a codec's state.

        Raises:
            CodecError: if it is none.
        """
        if tensor.dtype != torch.int32 or tensor.dim() != 2 or tensor.shape[1] != 3:
            raise CodecError("a plan of groups is no int32 tensor of three columns")
        parts = tuple(Part(*fields) for fields in tensor.tolist())
        stops = [0, *(part.stop for part in parts)]
        known = all(part.bits in (*INTEGER_BITS, FLOAT_BITS) and part.exponent in floats.EXPONENTS for part in parts)
        if not known or any(b <= a for a, b in itertools.pairwise(stops)):
            raise CodecError(
                "a plan of groups has a type that there is none of, or groups that do not follow each other"
            )
        return cls(parts)
