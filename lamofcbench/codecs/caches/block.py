"""Blocks: one role's tensors with their fitted components and plan, as `kvtc` keeps them in its state."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.caches import components
from lamofcbench.codecs.caches.components import LARGEST_UNIT
from lamofcbench.codecs.caches.plan import CodedRows, Plan
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.errors import CodecError

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Codes the rows of one group of tensors.

    Attributes:
        group: the tensors, and where their first row stands in its sequence.
        plan: how components are quantised.
        means: of the first rows, and last of all others, float32 ``[sinks + 1, C]``.
        units: by which columns are divided, float32 ``[C]``.
        basis: float16 ``[K, C]``, the components that the plan codes.
    """

    group: RowGroup
    plan: Plan
    means: Tensor
    units: Tensor
    basis: Tensor

    def state(self, index: int) -> dict[str, Tensor]:
        """The block as named tensors of a codec's state."""
        named = {"plan": self.plan.state(), "means": self.means, "units": self.units, "basis": self.basis}
        return {f"{index}.{name}": tensor for name, tensor in named.items()}

    @classmethod
    def from_state(cls, group: RowGroup, index: int, sinks: int, state: Mapping[str, Tensor]) -> Block:
        """The block of a codec's state.

        Raises:
            CodecError: if its tensors are missing or do not fit the group, the parameters or each other.
        """
        try:
            plan, means, units, basis = (state[f"{index}.{name}"] for name in ("plan", "means", "units", "basis"))
        except KeyError as error:
            raise CodecError(f"the state of group {index} lacks {error}") from error
        block = cls(group, Plan.from_state(plan), means, units, basis)
        floats = (means, units, basis)
        fitting = (
            means.shape == (sinks + 1, group.width)
            and units.shape == (group.width,)
            and basis.shape == (block.plan.components, group.width)
            and all(t.is_floating_point() and bool(torch.isfinite(t).all()) for t in floats)
            and bool(((units >= 1 / LARGEST_UNIT) & (units <= LARGEST_UNIT)).all())
        )
        if not fitting:
            raise CodecError(f"the state of group {index} does not fit its tensors")
        return block

    @functools.cached_property
    def _fitted(self) -> tuple[Matrix, Matrix, Matrix]:
        return self.means.float().numpy(), self.units.float().numpy(), self.basis.float().numpy()

    def continuing(self, first_position: int) -> Block:
        """This block for rows the first of which stands at this position."""
        _ = self._fitted  # once, not for each chunk
        block = copy.copy(self)
        object.__setattr__(block, "group", replace(self.group, first_position=first_position))
        return block

    def encode(self, rows: Matrix, kept: slice) -> CodedRows:
        """The codes of a sample's rows ``[rows, C]``, of those in the slice alone."""
        return self.plan.encode(components.project(rows, *self._fitted, self.group.first_position)[kept])

    def decode(self, coded: CodedRows, rows: int, kept: slice) -> Matrix:
        """A sample's rows, ``[rows, C]``; means alone outside the slice."""
        coefficients = np.zeros((rows, self.plan.components), np.float32)
        coefficients[kept] = self.plan.decode(coded)
        return components.reconstruct(coefficients, *self._fitted, self.group.first_position)
