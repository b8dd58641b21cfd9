"""From planes to bytes and back: a network's transforms, and its latents coded under its entropy model.

The decoder computes scales and means in exact arithmetic (`fixed_point`), so that it finds the encoder's on any machine
and with any number of threads. Float32 does the rest: what analysis rounds differently on another machine is another,
equally valid choice of the encoder, and what synthesis rounds differently changes a decoded index by one in the rare
case of a tie. Were scales to differ nonetheless, decoded symbols would not match their checksum.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lamofcbench.codecs.entropy import Symbols, least_bytes
from lamofcbench.codecs.learned.elic import Elic, LatentGroups, checkerboard
from lamofcbench.codecs.learned.entropy_models import EntropyBottleneck
from lamofcbench.codecs.learned.fixed_point import BLOCK_PIXELS, FixedPointStack, compact, expand, to_grid
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior
from lamofcbench.codecs.learned.memory import trim_after
from lamofcbench.codecs.learned.network import LATENT_STRIDE, STRIDE, LearnedNetwork
from lamofcbench.codecs.learned.symbols import LARGEST_SYMBOL, LatentReader, LatentWriter, Tables
from lamofcbench.codecs.learned.tiling import run_tiled, stages_of

BATCH_PIXELS = 2**18
"""Planes of one shape run together up to about this many pixels."""


THREADED_PIXELS = 2**17
"""Less than this many pixels run on one thread."""


class LatentStream(Protocol):
    """A `LatentWriter` or a `LatentReader`."""

    def code(self, tables: Tables, indices: NDArray[np.integer], symbols: Symbols | None) -> Symbols:
        """Codes one symbol for each index."""


class LatentCoder(ABC):
    """Codes planes with one network.

    Args:
        network: with its tables, in evaluation mode; its layers are taken over in another memory layout.
    """

    def __init__(
        self, network: LearnedNetwork, bottleneck: EntropyBottleneck, h_a: nn.Sequential, h_s: nn.Sequential
    ) -> None:
        assert isinstance(network.g_a, nn.Sequential) and isinstance(network.g_s, nn.Sequential)
        for layers in (network.g_a, network.g_s, h_a):
            for parameter in layers.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self._analysis, self._synthesis = stages_of(network.g_a), stages_of(network.g_s)
        self._hyper_tables = Tables(bottleneck)
        self._medians = to_grid(bottleneck.medians.detach())
        self._h_a, self._hyper_synthesis = h_a, FixedPointStack(list(h_s))

    def encode(self, batches: list[Tensor]) -> bytes:
        """The bytes of batches of planes, float32 ``[B, 1, H, W]`` with sizes in multiples of 64.

        The list is emptied, so that planes are freed once they are analysed.
        """
        stream = LatentWriter(self._least_bytes([(len(planes), *planes.shape[2:]) for planes in batches]))
        parts = [part for planes in batches for part in planes.split(_part_size(planes.shape[2] * planes.shape[3]))]
        pixels = sum(planes.numel() for planes in batches)
        batches.clear()
        with _threads_for(pixels):
            latents = [trim_after(self._analyse(parts.pop(0))) for _ in range(len(parts))]
            hyper = [self._code_hyper(stream, self._round_hyper(y), y.shape) for y in latents]
            stream.end_hyper_latents()
            for z in hyper:
                trim_after(self._code_latents(stream, self._hyper_synthesis(z), latents.pop(0).permute(0, 2, 3, 1)))
        return stream.finish()

    def decode(self, payload: bytes, shapes: Sequence[tuple[int, int, int]]) -> list[Tensor]:
        """Batches of reconstructed planes, of the given ``(B, H, W)``.

        Raises:
            BitstreamError: for bytes that no encoder wrote.
        """
        stream = LatentReader(payload, self._least_bytes(shapes))
        sizes = [_part_sizes(b, h * w) for b, h, w in shapes]
        latent_sizes = [
            (count, h // LATENT_STRIDE, w // LATENT_STRIDE)
            for counts, (_, h, w) in zip(sizes, shapes, strict=True)
            for count in counts
        ]
        with _threads_for(sum(map(math.prod, shapes))):
            hyper = [self._code_hyper(stream, None, (count, 0, h, w)) for count, h, w in latent_sizes]
            stream.end_hyper_latents()
            latents = [trim_after(self._code_latents(stream, self._hyper_synthesis(z), None)) for z in hyper]
            stream.finish()
            parts = (trim_after(self._synthesise(latents.pop(0).permute(0, 3, 1, 2))) for _ in hyper)
            return [torch.cat(list(itertools.islice(parts, len(counts)))) for counts in sizes]

    def _least_bytes(self, shapes: Sequence[tuple[int, int, int]]) -> int:
        """What the hyper-latents of batches of planes ``(B, H, W)`` take at the least; latents may take nothing."""
        places = sum(map(math.prod, shapes)) // STRIDE**2
        return least_bytes(places * sum(table.least_cost for table in self._hyper_tables.tables))

    @abstractmethod
    def _hyper_analysis(self, y: Tensor) -> Tensor:
        """Hyper-latents before rounding."""

    @abstractmethod
    def _code_latents(self, stream: LatentStream, hyper: Tensor, y: Tensor | None) -> Tensor:
        """Codes latents ``[B, h, w, M]``, given by the encoder alone; returns the decoded ones, float32."""

    def _analyse(self, planes: Tensor) -> Tensor:
        return run_tiled(self._analysis, planes.contiguous(memory_format=torch.channels_last))

    def _synthesise(self, y: Tensor) -> Tensor:
        return run_tiled(self._synthesis, y.contiguous(memory_format=torch.channels_last))

    def _round_hyper(self, y: Tensor) -> Symbols:
        z = self._hyper_analysis(y).permute(0, 2, 3, 1).double() - self._medians
        return _to_symbols(z)

    def _code_hyper(self, stream: LatentStream, symbols: Symbols | None, shape: Sequence[int]) -> Tensor:
        """Hyper-latents, float64 ``[B, h / 4, w / 4, N]``; the shape is the latents' ``[B, M, h, w]``."""
        ratio, channels = STRIDE // LATENT_STRIDE, len(self._hyper_tables)
        places = shape[0] * (shape[2] // ratio) * (shape[3] // ratio)
        coded = stream.code(self._hyper_tables, np.tile(np.arange(channels, dtype=np.uint16), places), symbols)
        z = torch.from_numpy(coded).double() + self._medians.repeat(places)
        return z.view(shape[0], shape[2] // ratio, shape[3] // ratio, channels)


class HyperpriorCoder(LatentCoder):
    """Codes with a `ScaleHyperprior`."""

    def __init__(self, network: ScaleHyperprior) -> None:
        super().__init__(network, network.entropy_bottleneck, network.h_a, network.h_s)
        self._gaussian = network.gaussian_conditional
        self._tables = Tables(network.gaussian_conditional)

    def _hyper_analysis(self, y: Tensor) -> Tensor:
        z: Tensor = self._h_a(torch.abs(y))
        return z

    def _code_latents(self, stream: LatentStream, hyper: Tensor, y: Tensor | None) -> Tensor:
        indices = _to_indices(self._gaussian.scale_indices(hyper))
        symbols = stream.code(self._tables, indices, None if y is None else _to_symbols(y))
        return torch.from_numpy(symbols).float().view(hyper.shape)


class ElicCoder(LatentCoder):
    """Codes with an `Elic`: channel groups in order, in each the anchors of the checkerboard first."""

    def __init__(self, network: Elic) -> None:
        codec = network.latent_codec
        super().__init__(network, codec.hyper.entropy_bottleneck, codec.hyper.h_a, codec.hyper.h_s)
        self._widths = network.groups
        self._groups = [_Group(codec.y, k) for k in range(len(network.groups))]

    def _hyper_analysis(self, y: Tensor) -> Tensor:
        z: Tensor = self._h_a(y)
        return z

    def _code_latents(self, stream: LatentStream, hyper: Tensor, y: Tensor | None) -> Tensor:
        batch, height, width, _ = hyper.shape
        decoded = hyper.new_zeros(batch, height, width, sum(self._widths))
        anchors = checkerboard(height, width)
        hyper = compact(hyper)
        start = 0
        for group, channels in zip(self._groups, self._widths, strict=True):
            own = decoded[..., start : start + channels]
            contexts = [compact(group.channel_context(decoded[..., :start])), hyper] if start else [hyper]
            for number, part in enumerate((anchors, ~anchors)):
                indices, means = group.parameters(own if number else None, contexts, part)
                wanted = None if y is None else y[..., start : start + channels][:, part]
                symbols = None if wanted is None else _to_symbols(wanted.double().sub_(means))
                symbols = stream.code(group.tables, indices, symbols)
                own[:, part] = means.add_(torch.from_numpy(symbols).view(means.shape))
            del contexts, means, wanted, symbols, indices
            trim_after(decoded)
            start += channels
        return decoded.float()


class _Group:
    """One channel group's context models in exact arithmetic, and its tables."""

    def __init__(self, groups: LatentGroups, number: int) -> None:
        group = groups.group(number)
        self.channel_context = FixedPointStack(list(groups.context(number)) if number else [])
        self._context_prediction = FixedPointStack([group.context_prediction])
        self._entropy_parameters = FixedPointStack(list(group.entropy_parameters))
        self._gaussian = group.y.gaussian_conditional
        self._channels = group.context_prediction.in_channels
        self.tables = Tables(self._gaussian)

    def parameters(
        self, own: Tensor | None, contexts: Sequence[Tensor], part: Tensor
    ) -> tuple[NDArray[np.uint8], Tensor]:
        """Table indices, flat, and means, float64 ``[B, places, channels]``, of one pass.

        Args:
            own: the group's latents as far as they are decoded, ``[B, h, w, channels]``; none in the first pass.
            contexts: the others, `compact`, each ``[B, h, w, channels]`` of its own.
            part: bool ``[h, w]``, the places of the pass.
        """
        batch, height, width, _ = contexts[0].shape
        block = max(1, BLOCK_PIXELS // (batch * width))
        indices, means = [], []
        for top in range(0, height, block):
            rows = slice(top, min(top + block, height))
            some = part[rows]
            found = [expand(context[:, rows][:, some]) for context in contexts]
            if own is None:
                seen = found[0].new_zeros(*found[0].shape[:2], 2 * self._channels)
            else:
                seen = self._context_prediction(own, rows.start, rows.stop)[:, some]
            values = self._entropy_parameters(torch.cat([seen, *found], 2)[:, :, None])[:, :, 0]
            scales, of_means = values.chunk(2, 2)
            indices.append(self._gaussian.scale_indices(scales).to(torch.uint8))
            means.append(of_means.clone())
        return torch.cat(indices, 1).reshape(-1).numpy(), torch.cat(means, 1)


def make_coder(network: LearnedNetwork) -> LatentCoder:
    """The coder of a network, which it takes over."""
    return HyperpriorCoder(network) if isinstance(network, ScaleHyperprior) else ElicCoder(_as_elic(network))


def _as_elic(network: LearnedNetwork) -> Elic:
    assert isinstance(network, Elic)
    return network


def _part_size(pixels: int) -> int:
    """How many planes of a size run together."""
    return max(1, BATCH_PIXELS // pixels)


def _part_sizes(planes: int, pixels: int) -> list[int]:
    """How many planes of a batch each part has."""
    size = _part_size(pixels)
    return [min(size, planes - start) for start in range(0, planes, size)]


@contextmanager
def _threads_for(pixels: int) -> Iterator[None]:
    """One thread for little work: a network is hundreds of small steps, and waiting for threads costs more at each."""
    threads = torch.get_num_threads()
    if pixels < THREADED_PIXELS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _to_symbols(values: Tensor) -> Symbols:
    clipped = torch.round(values).clamp_(-LARGEST_SYMBOL, LARGEST_SYMBOL).nan_to_num_()
    symbols: Symbols = clipped.to(torch.int32).reshape(-1).numpy()
    return symbols


def _to_indices(levels: Tensor) -> NDArray[np.uint8]:
    indices: NDArray[np.uint8] = levels.to(torch.uint8).reshape(-1).numpy()
    return indices
