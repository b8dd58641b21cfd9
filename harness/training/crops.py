"""Crops of index planes: which ones a training step sees, and which ones a validation does.

Scenarios differ in size by orders of magnitude, and so do a scenario's kinds of tensors. Every kind of every scenario
(its hidden states, its keys, its values, ...) gets the same share of crops, so that a large one does not shape the
network alone; within a kind every canvas's share is its number of elements. Columns of a canvas mostly are channels and
canvases are 64 wide or a multiple of it, so crops start at multiples of 64 from the left, but anywhere from the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.training.planes import PlaneStore, StoredPlane
from lamofcbench.codecs.learned.network import STRIDE
from lamofcbench.codecs.learned.planes import LEVELS
from lamofcbench.errors import DataError

_TRAINING_DRAWS, _VALIDATION_DRAWS = 0, 1  # keep the generators of both apart


@dataclass(frozen=True)
class Crops:
    """Crops of one size.

    Attributes:
        planes: indices, uint8 ``[B, H, W]``.
        valid: bool of the same shape; False in the padding.
    """

    planes: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.planes)

    def part(self, rank: int, size: int) -> Crops:
        """One process's share."""
        return Crops(self.planes[rank::size], self.valid[rank::size])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Planes in [0, 1), float32 ``[B, 1, H, W]``, and what is valid in them, bool of the same shape."""
        planes = torch.from_numpy(np.ascontiguousarray(self.planes)).unsqueeze(1)
        return planes / LEVELS, torch.from_numpy(np.ascontiguousarray(self.valid)).unsqueeze(1)


class CropSource:
    """Draws crops at random positions.

    Args:
        store: the planes.
        size: height and width of a crop.
        batch_size: crops a draw.
        seed: of the draws.
        held_out: False for the planes that are trained on, True for the others.

    Raises:
        DataError: if there are no such planes.
    """

    def __init__(self, store: PlaneStore, size: int, batch_size: int, seed: int, *, held_out: bool = False) -> None:
        self._store, self._size, self._batch_size, self._seed = store, size, batch_size, seed
        self._phase = _VALIDATION_DRAWS if held_out else _TRAINING_DRAWS
        kinds: dict[tuple[str, str], list[StoredPlane]] = {}
        for plane in store.index:
            if plane.held_out == held_out:
                kinds.setdefault((plane.scenario, plane.role), []).append(plane)
        if not kinds:
            raise DataError("the calibration samples are too few to train on nine tenths and validate on one")
        self._kinds = list(kinds.values())
        self._shares = [_shares(planes) for planes in self._kinds]

    def draw(self, step: int) -> Crops:
        """The crops of a step, which depend on nothing but the seed and its number."""
        generator = np.random.default_rng([self._seed, self._phase, step])
        planes = []
        for kind in generator.integers(len(self._kinds), size=self._batch_size):
            chosen = np.searchsorted(self._shares[kind], generator.random(), side="right")
            planes.append(self._kinds[kind][chosen])
        return self._cut([(plane, generator.random(), generator.random()) for plane in planes])

    def spread(self, count: int, batch_size: int) -> list[Crops]:
        """About so many crops that do not change: of every kind the same number, evenly over its planes.

        Args:
            count: rounded up to a multiple of the number of kinds.
            batch_size: crops a batch.
        """
        generator = np.random.default_rng([self._seed, self._phase, 0])
        chosen = []
        each = -(-count // len(self._kinds))
        for planes, shares in zip(self._kinds, self._shares, strict=True):
            for position in (np.arange(each) + 0.5) / each:
                plane = planes[int(np.searchsorted(shares, position, side="right"))]
                chosen.append((plane, generator.random(), generator.random()))
        return [self._cut(chosen[start : start + batch_size]) for start in range(0, len(chosen), batch_size)]

    def _cut(self, chosen: Sequence[tuple[StoredPlane, float, float]]) -> Crops:
        """Crops at positions given as shares of what is possible."""
        size = self._size
        planes = np.full((len(chosen), size, size), LEVELS // 2, np.uint8)  # where a canvas is smaller than a crop
        valid = np.zeros(planes.shape, np.bool_)
        for at, (plane, down, right) in enumerate(chosen):
            indices, filled = self._store.read(plane)
            top = int(down * (max(0, plane.height - size) + 1))
            left = int(right * (max(0, plane.width - size) // STRIDE + 1)) * STRIDE
            part = np.s_[top : top + size, left : left + size]
            height, width = indices[part].shape
            planes[at, :height, :width], valid[at, :height, :width] = indices[part], filled[part]
        return Crops(planes, valid)


def _shares(planes: Sequence[StoredPlane]) -> NDArray[np.float64]:
    sums = np.cumsum([float(plane.elements) for plane in planes])
    shares: NDArray[np.float64] = sums / sums[-1]
    return shares
