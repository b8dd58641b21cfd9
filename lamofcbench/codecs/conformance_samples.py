"""The feature sets that the conformance suite codes: every role and dtype, ragged, empty, heavy-tailed and extreme."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from lamofcbench.codecs.sensitivity import HALVES, Sensitivity, SensitivitySums, sensitivity_of
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

TOKENS, FRAMES = Axis(name="tokens", limit=4096), Axis(name="frames", limit=256)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="hidden", role="hidden", shape=(TOKENS, 24), dtype="float32"),
        TensorSpec(name="key.0", role="key", shape=(2, TOKENS, 8), dtype="bfloat16"),
        TensorSpec(name="value.0", role="value", shape=(2, TOKENS, 8), dtype="float16"),
        TensorSpec(name="ssm_state.0", role="ssm_state", shape=(6, 4), dtype="float16"),
        TensorSpec(name="crops", role="hidden", shape=(FRAMES, 5, 3), dtype="float32"),
        TensorSpec(name="pooled", role="pooled", shape=(5,), dtype="float16"),
        TensorSpec(name="latent", role="latent", shape=(4, 3, 5), dtype="float32"),
        TensorSpec(name="scalar", role="other", shape=(), dtype="float32"),
        TensorSpec(name="single", role="other", shape=(1,), dtype="bfloat16"),
        TensorSpec(name="nothing", role="hidden", shape=(3, 0), dtype="float32"),
    ),
    side=("height", "seed"),
)
"""All roles and dtypes, two ragged axes, scalar, one-element and empty tensors, and side information."""

ROLES = ("hidden", "embedding", "key", "value", "ssm_state", "conv_state", "pooled", "latent", "other")
FEW = Axis(name="few", limit=16)


def odd_specs() -> Iterator[tuple[str, FeatureSpecs]]:
    """Sets of odd tensors with a description: every role of up to three axes, one empty or ragged; single tensors."""
    tensors = []
    for role in ROLES:
        tensors.append(TensorSpec(name=f"{role}.scalar", role=role, shape=(), dtype="float32"))
        for rank, odd in ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)):
            for what, size in (("empty", 0), ("ragged", FEW)):
                shape = tuple(size if axis == odd else 2 for axis in range(rank))
                name = f"{role}.{rank}.{odd}.{what}"
                tensors.append(TensorSpec(name=name, role=role, shape=shape, dtype="float16"))
    yield "tensors of every role and few axes", FeatureSpecs(tensors=tuple(tensors))
    for what, shape in (("no element", (0,)), ("a ragged axis", (FEW,)), ("no axis", ())):
        alone = TensorSpec(name="alone", role="hidden", shape=shape, dtype="bfloat16")
        yield f"a single tensor of {what}", FeatureSpecs(tensors=(alone,))


KINDS = ("typical", "heavy", "extreme", "constant")
LENGTHS = ((0, 0), (1, 0), (0, 1), (1, 1), (17, 2), (33, 0))
"""Tokens and frames of the samples that are coded."""


def make_sample(kind: str, tokens: int, frames: int, seed: int = 0, specs: FeatureSpecs = SPECS) -> FeatureSet:
    """A feature set, the same on every machine.

    Args:
        kind: ``typical``: channels that differ by orders of magnitude; ``heavy``: the same with values a thousand times
            the quartiles in two channels; ``extreme``: the largest and smallest finite values and both zeros mixed in;
            ``constant``: every tensor a constant.
        tokens: size of the axis ``tokens``, and of ``few`` of the odd ones.
        frames: size of the axis ``frames``.
        seed: of the values.
        specs: the tensors.
    """
    made = _made(kind, tokens, frames, seed, specs)
    return FeatureSet({name: tensor.clone() for name, tensor in made.tensors.items()}, made.side)


@functools.lru_cache(maxsize=256)
def _made(kind: str, tokens: int, frames: int, seed: int, specs: FeatureSpecs) -> FeatureSet:
    """What `make_sample` hands out copies of: a codec that changes its input must not change that of the next check."""
    generator = np.random.default_rng([seed, tokens, frames, KINDS.index(kind)])
    sizes = {"tokens": tokens, "frames": frames, "few": tokens}
    tensors = {}
    for row, spec in enumerate(specs.tensors):
        shape, dtype = spec.sized(sizes), TORCH_DTYPES[spec.dtype]
        width = shape[-1] if shape else 1
        scales = np.exp(np.random.default_rng(row).normal(0.0, 1.0, width))
        values = (generator.normal(0.0, 1.0, shape) * scales).reshape(shape)
        if kind == "heavy" and width > 1:
            values[..., :2] *= 1000.0
        if kind == "constant":
            values = np.full(shape, 0.0 if row % 2 else 3.25)
        tensor = torch.from_numpy(values).to(dtype)
        if kind == "extreme" and tensor.numel():
            limits = torch.finfo(dtype)
            odd = [limits.max, limits.min, limits.tiny, limits.smallest_normal / 4, 0.0, -0.0]
            flat = tensor.reshape(-1)
            places = generator.permutation(flat.numel())[: len(odd)]
            flat[torch.from_numpy(places)] = torch.tensor(odd[: len(places)], dtype=torch.float64).to(dtype)
        tensors[spec.name] = tensor
    side = {name: int(generator.integers(-(2**20), 2**20)) for name in specs.side}
    return FeatureSet(tensors, side)


def calibration_samples(specs: FeatureSpecs = SPECS) -> list[FeatureSet]:
    """What codecs are fitted on: ragged, one of them empty."""
    lengths = [(12, 2), (0, 0), (5, 1), (30, 3), (1, 0), (20, 1)]
    return [make_sample("typical", *length, seed=100 + i, specs=specs) for i, length in enumerate(lengths)]


def test_samples() -> Iterator[tuple[str, FeatureSet]]:
    """Every kind at several lengths, with a description."""
    for kind in KINDS:
        for tokens, frames in LENGTHS:
            yield f"{kind} features of {tokens} tokens and {frames} frames", make_sample(kind, tokens, frames)


test_samples.__test__ = False  # type: ignore[attr-defined]  # it is no test, whatever its name suggests to pytest


def sensitivity(specs: FeatureSpecs, samples: Sequence[FeatureSet]) -> Sensitivity:
    """What a tail might tell of these samples, for codecs that ask; the same on every machine."""
    groups = row_groups(specs)
    ragged = [any(isinstance(axis, Axis) for axis in group.row_axes) for group in groups]
    rows = [math.prod(n for n in group.row_axes if isinstance(n, int)) for group in groups]
    places = [0 if is_ragged else count for is_ragged, count in zip(ragged, rows, strict=True)]
    units = [np.ones(group.width, np.float32) for group in groups]
    halves = [SensitivitySums(specs, places, units) for _ in range(HALVES)]
    for number, features in enumerate(samples):
        draw = np.random.default_rng([7, number])
        gradients = {
            name: draw.normal() * torch.cos(torch.arange(t.numel())).reshape(t.shape)
            for name, t in features.tensors.items()
        }
        halves[number % HALVES].add(FeatureSet(gradients), 1.0, (number,))
    return sensitivity_of(halves)
