"""Honest input: codecs fitted on made-up features of several layouts, and streams that they wrote."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lamofcbench.codecs import conformance, conformance_samples
from lamofcbench.codecs.base import CODECS, Codec
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.scenarios.base import SCENARIOS, FeatureSpecs

STARTING_PROCESSES = ("sz3", "vvc")
COSTLY = ("elic", "hyperprior", *STARTING_PROCESSES)
"""Codecs that start a process or run a network: some ten to a thousand times slower than the others."""


@dataclass(frozen=True)
class Layout:
    """Tensors, and the sizes of the samples that honest streams hold.

    Attributes:
        specs: the tensors.
        sizes: of the ragged axes, in their order, for each sample.
    """

    specs: FeatureSpecs
    sizes: tuple[tuple[int, ...], ...]


@functools.cache
def layouts() -> dict[str, Layout]:
    """All roles, dtypes and odd shapes; and the tensors of a decoder, of sliding windows and of text to image."""
    return {
        "odd": Layout(conformance_samples.SPECS, ((0, 0), (1, 1), (17, 2), (33, 0))),
        "caches": Layout(SCENARIOS.get("mini-clu-arithmetic").specs, ((20,), (46,))),
        "windows": Layout(SCENARIOS.get("mini-cvu-scenes").specs, ((1, 69), (3, 69))),
        "embeddings": Layout(SCENARIOS.get("mini-ctti-shapes").specs, ((),)),
    }


@dataclass(frozen=True)
class Stream:
    """An honest bitstream, whole and in its parts."""

    sizes: tuple[int, ...]
    sections: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Source:
    """A fitted codec and honest streams of it."""

    label: str
    codec: Codec
    streams: tuple[Stream, ...]


def made_up_features(specs: FeatureSpecs, sizes: Sequence[int], seed: int) -> FeatureSet:
    """Values with channel scales that differ by orders of magnitude, and two massive channels in hidden states."""
    generator = np.random.default_rng([seed, *sizes])
    named = {axis.name: size for axis, size in zip(specs.axes, sizes, strict=True)}
    tensors = {}
    for row, spec in enumerate(specs.tensors):
        shape = spec.sized(named)
        width = shape[-1] if shape else 1
        scales = np.exp(np.random.default_rng(row).normal(0.0, 1.0, width))
        values = (generator.standard_normal(shape, np.float32) * scales.astype(np.float32)).reshape(shape)
        if spec.role == "hidden" and width > 8:
            values[..., [3, width // 2]] *= 1000.0
        tensors[spec.name] = torch.from_numpy(values).to(TORCH_DTYPES[spec.dtype])
    side = {name: int(generator.integers(0, 2**10)) for name in specs.side}
    return FeatureSet(tensors, side)


def sources_of(name: str) -> list[Source]:
    """A codec on every layout at the middle of its ladder, and at both ends of it on the first layout.

    A codec of `COSTLY` stands at the middle of its ladder on the first two layouts alone.
    """
    codec_class = CODECS.get(name)
    points = list(codec_class.rate_points)
    middle = points[len(points) // 2]
    chosen = [(layout, middle) for layout in layouts()]
    if name in COSTLY:
        chosen = chosen[:2]
    else:
        chosen += [("odd", point) for point in (points[0], points[-1]) if point != middle]
    return [_source(codec_class, layout, point) for layout, point in chosen]


def odd_source(name: str) -> Source:
    """A codec at the middle of its ladder on the first layout, which has every role and dtype."""
    points = list(CODECS.get(name).rate_points)
    return _source(CODECS.get(name), "odd", points[len(points) // 2])


def _source(codec_class: type[Codec], layout_name: str, point: Mapping[str, object]) -> Source:
    layout = layouts()[layout_name]
    calibration = [made_up_features(layout.specs, sizes, 100) for sizes in layout.sizes]
    codec = conformance.fit(codec_class(layout.specs, codec_class.make_params(point)), calibration)
    features = [made_up_features(layout.specs, sizes, 1) for sizes in layout.sizes]
    if layout_name == "odd":
        features.append(conformance_samples.make_sample("extreme", 9, 1))
    return Source(f"{layout_name} {codec!r}", codec, tuple(stream_of(codec, sample) for sample in features))


def stream_of(codec: Codec, features: FeatureSet) -> Stream:
    """What a codec writes for features, and the sections that it has."""
    data = codec.encode(features)
    sections, shapes, _ = codec._open(data)
    return Stream(sizes_of(codec.specs, shapes), tuple(sections), data)


def sizes_of(specs: FeatureSpecs, shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """The sizes of the ragged axes that shapes have, in the order of the axes."""
    found = {}
    for spec in specs.tensors:
        for axis, size in zip(spec.shape, shapes[spec.name], strict=True):
            if not isinstance(axis, int):
                found[axis.name] = size
    return tuple(found[axis.name] for axis in specs.axes)


def raw_bytes(specs: FeatureSpecs, sizes: Sequence[int]) -> int:
    """The size of uncoded features."""
    named = {axis.name: size for axis, size in zip(specs.axes, sizes, strict=True)}
    return sum(math.prod(spec.sized(named)) * spec.bits // 8 for spec in specs.tensors)
