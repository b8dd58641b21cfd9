"""Blocks: a group of tensors with its fitted transform, as codecs keep it in their state."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.transform.classes import UNCODED
from lamofcbench.codecs.transform.estimate import profile_means, transform_rows
from lamofcbench.codecs.transform.outliers import Outliers
from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.errors import CodecError

Matrix = NDArray[np.float32]
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Block:
    """Codes the rows of one group: from rows to coefficients with table numbers, and back.

    Attributes:
        group: the tensors.
        profiles: of their rows.
        scale: what a column is divided by before the transform, ``[C]``.
        mean: of rows by profile, float32 ``[P or 1, C]``.
        analysis: float16 ``[K, C]``, orthonormal rows.
        rows: float16 ``[R, R]``, the transform over the places of a sample; None where there is none.
        tables: of coefficients, int16 ``[P, K]``; `UNCODED` where they are taken for zero.
        residual_tables: of what the transform leaves of a column, int16 ``[C]``.
        limits: a value further than this from its mean is sent as it is, float32 ``[C]``.
    """

    group: RowGroup
    profiles: Profiles
    scale: Tensor
    mean: Tensor
    analysis: Tensor
    rows: Tensor | None
    tables: Tensor
    residual_tables: Tensor
    limits: Tensor

    _FIELDS = ("scale", "mean", "analysis", "rows", "tables", "residual_tables", "limits")

    def state(self, index: int) -> dict[str, Tensor]:
        """The block as named tensors of a codec's state."""
        named = {field: getattr(self, field) for field in self._FIELDS}
        named["places"] = torch.tensor([self.profiles.places], dtype=torch.int32)
        return {f"{index}.{name}": tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def from_state(cls, group: RowGroup, index: int, state: Mapping[str, Tensor]) -> Block:
        """The block of a codec's state.

        Raises:
            CodecError: if its tensors are missing or do not fit the group or each other.
        """
        try:
            places = int(state[f"{index}.places"])
            fields = {field: state.get(f"{index}.{field}") for field in cls._FIELDS}
            block = cls(group, Profiles(places), **fields)  # type: ignore[arg-type]
            fitting = block._fits()
        except (KeyError, AttributeError, RuntimeError, ValueError, TypeError) as error:
            raise CodecError(f"the state of group {index} is incomplete: {error!r}") from error
        if not fitting:
            raise CodecError(f"the state of group {index} does not fit its tensors")
        return block

    def _fits(self) -> bool:
        width, count = self.group.width, self.profiles.count
        kept = len(self.analysis)
        floats = [self.scale, self.mean, self.analysis, self.limits, *([] if self.rows is None else [self.rows])]
        return (
            self.profiles.places >= 0
            and self.scale.shape == self.limits.shape == self.residual_tables.shape == (width,)
            and self.mean.shape in ((count, width), (1, width))
            and self.analysis.shape == (kept, width)
            and self.tables.shape == (count, kept)
            and (self.rows is None or self.rows.shape == (self.profiles.places,) * 2)
            and self.tables.dtype == self.residual_tables.dtype == torch.int16
            and all(t.is_floating_point() and bool(torch.isfinite(t).all()) for t in floats)
            and bool((self.scale > 0).all())
            and bool((self.limits >= 0).all())
        )

    @property
    def highest_table(self) -> int:
        """The largest table number."""
        numbers = [int(t.max()) for t in (self.tables, self.residual_tables) if t.numel()]
        return max(numbers, default=UNCODED)

    @property
    def lowest_table(self) -> int:
        """The smallest table number."""
        numbers = [int(t.min()) for t in (self.tables, self.residual_tables) if t.numel()]
        return min(numbers, default=UNCODED)

    @functools.cached_property
    def _analysis(self) -> Matrix:
        return self.analysis.float().numpy()

    @functools.cached_property
    def _rows(self) -> Matrix | None:
        return None if self.rows is None else self.rows.float().numpy()

    @functools.cached_property
    def _mean(self) -> Matrix:
        return self.mean.numpy()

    @functools.cached_property
    def residual_columns(self) -> NDArray[np.intp]:
        """Columns of which the transform leaves something that is coded."""
        return np.flatnonzero(self.residual_tables.numpy() != UNCODED)

    def table_numbers(self, rows: int) -> NDArray[np.int16]:
        """The tables of the coefficients of a sample of so many rows, ``[rows, K]``."""
        numbers: NDArray[np.int16] = self.tables.numpy()[self.profiles.of(rows)]
        return numbers

    def residual_table_numbers(self, rows: int) -> NDArray[np.int16]:
        """The tables of what the transform leaves of a sample of so many rows, ``[rows, residual columns]``."""
        return np.broadcast_to(self.residual_tables.numpy()[self.residual_columns], (rows, len(self.residual_columns)))

    def centred(self, rows: Matrix) -> tuple[Matrix, Outliers]:
        """Rows ``[rows, C]`` about the means of their profiles and scaled, zero in place of the outliers."""
        with np.errstate(over="ignore"):  # what overflows is an outlier
            centred = rows - profile_means(self._mean, self.profiles, len(rows))
        beyond = Outliers.find(rows, np.abs(centred) > self.limits.numpy())
        beyond.blank(centred)
        centred /= self.scale.numpy()
        return centred, beyond

    def analyse(self, centred: Matrix) -> Matrix:
        """Coefficients ``[rows, K]`` of centred rows ``[rows, C]``."""
        values = (torch.from_numpy(centred) @ torch.from_numpy(self._analysis).T).numpy()
        return transform_rows(values, self._rows, self.profiles)

    def synthesise(self, coefficients: Matrix) -> Matrix:
        """Centred rows ``[rows, C]`` of coefficients ``[rows, K]``."""
        across = None if self._rows is None else np.ascontiguousarray(self._rows.T)
        values = transform_rows(coefficients, across, self.profiles)
        return (torch.from_numpy(np.ascontiguousarray(values)) @ torch.from_numpy(self._analysis)).numpy()

    def restored(self, centred: Matrix, beyond: Outliers) -> Matrix:
        """The rows whose centred ones and outliers these are; writes over them."""
        with np.errstate(over="ignore"):
            centred *= self.scale.numpy()
            centred += profile_means(self._mean, self.profiles, len(centred))
        np.clip(centred, -_LARGEST, _LARGEST, out=centred)
        beyond.put_back(centred)
        return centred
