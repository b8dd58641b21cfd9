"""Crops of index planes: which ones a training step sees, and which ones a validation does.

A codec puts the planes of a sample on canvases of any size, so networks are trained on crops of several: a hyper-latent
of a crop of 64 is a single position, and a network that has seen nothing larger wastes bits on it elsewhere. The crops
of one step have one size; the next step has the next, and smaller crops come in larger numbers.

Most canvases of small models are smaller than a crop. A crop is then a mosaic: what a canvas leaves free is filled by
others, as a codec's folding stacks the planes of a sample. Scenarios differ in size by orders of magnitude, and so do a
scenario's kinds of tensors. Every kind of every scenario (its hidden states, its keys, its values, ...) gets about the
same area, so that a large one does not shape the network alone; within a kind every canvas's share is its number of
elements. Columns of a canvas mostly are channels and canvases are 64 wide or a multiple of it, so parts start at
multiples of 64 from the left, but anywhere from the top.
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
    """Draws crops at random.

    Args:
        store: the planes.
        size: height and width of the largest crops; smaller ones are 64 times a divisor of ``size / 64``.
        batch_size: crops of the largest size a draw; of smaller ones as many as fill the same area.
        seed: of the draws.
        held_out: False for the planes that are trained on, True for the others.

    Raises:
        DataError: if there are no such planes.
    """

    def __init__(self, store: PlaneStore, size: int, batch_size: int, seed: int, *, held_out: bool = False) -> None:
        self._store, self._batch_size, self._seed = store, batch_size, seed
        self._phase = _VALIDATION_DRAWS if held_out else _TRAINING_DRAWS
        self._sizes = [size // ratio for ratio in range(size // STRIDE, 0, -1) if size // STRIDE % ratio == 0]
        kinds: dict[tuple[str, str], list[StoredPlane]] = {}
        for plane in store.index:
            if plane.held_out == held_out:
                kinds.setdefault((plane.scenario, plane.role), []).append(plane)
        if not kinds:
            raise DataError("the calibration samples are too few to train on nine tenths and validate on one")
        self._kinds = list(kinds.values())
        self._plane_shares = [_shares([plane.elements for plane in planes]) for planes in self._kinds]
        self._kind_shares = {
            size: _shares([1 / _mean_area(planes, size) for planes in self._kinds]) for size in self._sizes
        }

    def draw(self, step: int) -> Crops:
        """The crops of a step, which depend on nothing but the seed and its number."""
        generator = np.random.default_rng([self._seed, self._phase, step])
        size = self._sizes[step % len(self._sizes)]
        count = self._batch_size * (self._sizes[-1] // size) ** 2
        crops = Crops(np.empty((count, size, size), np.uint8), np.empty((count, size, size), np.bool_))
        for planes, valid in zip(crops.planes, crops.valid, strict=True):
            self._fill(planes, valid, self._kind_shares[size], generator)
        return crops

    def draws(self, elements: int) -> list[Crops]:
        """The first draws, until every size of crop has got this many elements."""
        each = -(-elements // (self._batch_size * self._sizes[-1] ** 2))
        return [self.draw(step) for step in range(each * len(self._sizes))]

    def _fill(
        self,
        planes: NDArray[np.uint8],
        valid: NDArray[np.bool_],
        kind_shares: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> None:
        """Fills one crop: a part of a canvas in its corner, then what is free below and beside it in the same way."""
        free = [(planes, valid)]
        while free:
            planes, valid = free.pop()
            height, width = planes.shape
            kind = _draw(kind_shares, generator)
            plane = self._kinds[kind][_draw(self._plane_shares[kind], generator)]
            top = int(generator.random() * (max(0, plane.height - height) + 1))
            left = int(generator.random() * (max(0, plane.width - width) // STRIDE + 1)) * STRIDE
            indices, filled = self._store.read(plane)
            part = indices[top : top + height, left : left + width]
            down, right = part.shape
            planes[:down, :right], valid[:down, :right] = part, filled[top : top + height, left : left + width]
            if down < height:
                free.append((planes[down:], valid[down:]))
            if right < width:
                free.append((planes[:down, right:], valid[:down, right:]))


def _mean_area(planes: Sequence[StoredPlane], size: int) -> float:
    """How much of a crop's area a canvas that is drawn by its number of elements covers on average."""
    areas = [min(plane.height, size) * min(plane.width, size) for plane in planes]
    return float(np.average(areas, weights=[plane.elements for plane in planes]))


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    """Cumulated shares, of which the last is 1."""
    sums = np.cumsum(np.asarray(weights, np.float64))
    shares: NDArray[np.float64] = sums / sums[-1]
    return shares


def _draw(shares: NDArray[np.float64], generator: np.random.Generator) -> int:
    return int(np.searchsorted(shares, generator.random(), side="right"))
