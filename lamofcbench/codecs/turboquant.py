"""`turboquant`: norms, a random rotation, Lloyd-Max levels for what it makes of any vector; plain or entropy coded."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lamofcbench.codecs.groups.codec import EntropyGroupedCodec, GroupedCodec, TokenView, Values
from lamofcbench.codecs.groups.hadamard import rotate
from lamofcbench.codecs.groups.lloyd_max import lloyd_max_levels
from lamofcbench.codecs.groups.scales import GroupedCodes, bounded

_SEED = 2504
_SMALLEST = np.float32(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class TurboquantParams:
    """Parameters of `TurboquantCodec`.

    Attributes:
        bits: of a coordinate; the paper has 1 to 4, and 2.5 and 3.5 by giving some channels one bit more.
    """

    bits: Annotated[int, Field(ge=1, le=8)] = 4


class TurboquantCodec(GroupedCodec):
    """Stores each vector's norm, rotates it at random, and rounds each coordinate to the nearest Lloyd-Max level.

    After a random rotation the coordinates of any unit vector are distributed as on a sphere, nearly as independent
    Gaussians, so that one table of levels serves all features and nothing is calibrated. A vector is a token of one
    head of keys and values, a token of hidden states and embeddings, a channel of a latent, and one column, over all
    channels, of a recurrent state: everything is coded by the same rule.

    This is the paper's quantiser for the squared error (TurboQuant_mse); that for inner products, which spends a bit on
    the sign of a sketch of what is left, is not here. Where this differs from the paper: the rotation is a Hadamard
    matrix behind random signs, as in published programs, not a dense orthogonal one (lengths that are no power of two:
    `lamofcbench.codecs.groups.hadamard`), so that of a vector with one massive channel it makes two values, not a
    Gaussian; norms are stored in half precision, over the root of the length; all channels have the same bits.

    Half precision has a range: vectors of a root mean square below 3e-8 come back as zeros, and values beyond 65504 are
    clipped.
    """

    Params = TurboquantParams
    rate_points = tuple({"bits": bits} for bits in (8, 6, 5, 4, 3, 2, 1))
    rate_step = 1
    paper = "https://arxiv.org/abs/2504.19874"

    def arrange(self, view: TokenView, tokens: Values) -> Values:
        """Rotated vectors ``[vectors, length]``."""
        vectors: Values = bounded(tokens.T if view.role == "latent" else tokens).reshape(self.vectors_size(view))
        return rotate(vectors * _signs(vectors.shape[1])) if vectors.size else vectors

    def restore(self, view: TokenView, vectors: Values) -> Values:
        """The inverse."""
        if vectors.size:
            vectors = rotate(vectors) * _signs(vectors.shape[1])
        tokens, channels = view.size
        return vectors.reshape(channels, tokens).T if view.role == "latent" else vectors.reshape(tokens, channels)

    def vectors_size(self, view: TokenView) -> tuple[int, int]:
        """The view's size: turned for latents, and with the heads of caches apart."""
        tokens, channels = view.size
        if view.role == "latent":
            return channels, tokens
        length = view.rotated_channels
        return tokens * (channels // length) if length else tokens, length

    def quantise_vectors(self, vectors: Values) -> GroupedCodes:
        """Root mean squares, and the numbers of the levels that coordinates are nearest to."""
        length = vectors.shape[1]
        if not length:
            return GroupedCodes(vectors.astype(np.uint8), *[np.zeros((len(vectors), 0), np.float16)] * 2)
        scales = np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True)).astype(np.float16)
        levels = lloyd_max_levels(length, self.params.bits)
        scaled = vectors / np.maximum(scales.astype(np.float32), _SMALLEST)
        codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, scaled).astype(np.uint8)
        return GroupedCodes(codes, scales, np.zeros((len(vectors), 0), np.float16))

    def dequantise_vectors(self, quantised: GroupedCodes) -> Values:
        """Levels times root mean squares."""
        quantised.check_scales()
        length = quantised.codes.shape[1]
        if not length:
            return quantised.codes.astype(np.float32)
        return lloyd_max_levels(length, self.params.bits)[quantised.codes] * quantised.steps.astype(np.float32)

    def groups_in(self, length: int) -> int:
        """One scale a vector."""
        return 1 if length else 0

    @property
    def symmetric(self) -> bool:
        """There are no low ends."""
        return True


class TurboquantEntropyCodec(EntropyGroupedCodec, TurboquantCodec):
    """The values of `TurboquantCodec`, its codes and norms entropy coded with calibrated tables."""

    name = "turboquant-entropy"


@functools.lru_cache(maxsize=64)
def _signs(length: int) -> NDArray[np.float32]:
    """Random signs, float32 ``[length]``; numpy keeps the streams of its bit generators the same for ever."""
    raw = np.random.PCG64(_SEED).random_raw(length)
    return np.where(raw >> np.uint64(63), -1.0, 1.0).astype(np.float32)
