"""Padded batches of ragged features, for code that wants one tensor for many samples, and back.

Feature sets are single samples without padding. Training and batched models want ``[B, ...]`` tensors::

    batch = collate(feature_sets, specs)           # also as collate_fn=functools.partial(collate, specs=specs)
    batch.tensors["hidden"], batch.lengths["tokens"]
    feature_sets = separate(batch, specs)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.scenarios.base import Axis, FeatureSpecs

Padding = Literal["left", "right"]


@dataclass(frozen=True)
class Batch:
    """Features of several samples.

    Attributes:
        tensors: name to ``[B, ...]``, ragged axes as long as the longest sample's, zeros where a sample has nothing.
        lengths: name of a ragged axis to its size in each sample, int64 ``[B]``.
        side: name of side information to its value in each sample, int64 ``[B]``.
        padding: on which side of ragged axes the zeros are.
    """

    tensors: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    side: Mapping[str, Tensor]
    padding: Padding = "right"

    def mask(self, axis: str) -> Tensor:
        """Where the samples have something along a ragged axis, bool ``[B, longest]``."""
        lengths = self.lengths[axis]
        places = torch.arange(int(lengths.max()), device=lengths.device)[None]
        if self.padding == "left":
            return places >= lengths.max() - lengths[:, None]
        return places < lengths[:, None]


def collate(samples: Sequence[FeatureSet], specs: FeatureSpecs, *, padding: Padding = "right") -> Batch:
    """Feature sets as one batch.

    Args:
        samples: at least one, which fit the specs.
        specs: tell which axes are ragged.
        padding: on which side of ragged axes zeros go.

    Raises:
        ScenarioError: if there is none, or naming what does not fit.

    Example:
        >>> from lamofcbench.scenarios.base import TensorSpec
        >>> shape = (Axis(name="tokens", limit=8), 2)
        >>> specs = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=shape, dtype="float32"),))
        >>> batch = collate([FeatureSet({"hidden": torch.ones(n, 2)}) for n in (1, 3)], specs, padding="left")
        >>> batch.tensors["hidden"][..., 0].tolist(), batch.lengths["tokens"].tolist()
        ([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]], [1, 3])
    """
    if not samples:
        raise ScenarioError("a batch holds one feature set at least")
    sizes = [check_features(sample, specs) for sample in samples]
    longest = {axis.name: max(of[axis.name] for of in sizes) for axis in specs.axes}
    tensors = {}
    for spec in specs.tensors:
        first = samples[0][spec.name]
        padded = first.new_zeros((len(samples), *spec.sized(longest)))
        for row, (sample, of) in enumerate(zip(samples, sizes, strict=True)):
            padded[row][_inside(spec.shape, of, longest, padding)] = sample[spec.name]
        tensors[spec.name] = padded
    lengths = {axis.name: torch.tensor([of[axis.name] for of in sizes]) for axis in specs.axes}
    side = {name: torch.tensor([sample.side[name] for sample in samples]) for name in specs.side}
    return Batch(tensors, lengths, side, padding)


def separate(batch: Batch, specs: FeatureSpecs) -> list[FeatureSet]:
    """The feature sets of a batch, in memory of their own.

    Raises:
        ScenarioError: naming what does not fit the specs.
    """
    count = len(batch.tensors[specs.tensors[0].name])
    samples = []
    for row in range(count):
        size = {axis.name: int(batch.lengths[axis.name][row]) for axis in specs.axes}
        longest = {axis.name: int(batch.lengths[axis.name].max()) for axis in specs.axes}
        sample = FeatureSet(
            {
                spec.name: batch.tensors[spec.name][row][_inside(spec.shape, size, longest, batch.padding)].clone()
                for spec in specs.tensors
            },
            {name: int(batch.side[name][row]) for name in specs.side},
        )
        check_features(sample, specs)
        samples.append(sample)
    return samples


def _inside(
    shape: Sequence[int | Axis], sizes: Mapping[str, int], longest: Mapping[str, int], padding: Padding
) -> tuple[slice, ...]:
    """Where a sample is in its padded tensor."""
    slices = []
    for axis in shape:
        if not isinstance(axis, Axis):
            slices.append(slice(None))
            continue
        start = longest[axis.name] - sizes[axis.name] if padding == "left" else 0
        slices.append(slice(start, start + sizes[axis.name]))
    return tuple(slices)
