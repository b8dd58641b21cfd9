"""What the codecs with group scales share: a token view of every tensor, and two ways to store grouped codes.

`GroupedCodec` packs the codes of a tensor into a fixed number of bits, as serving systems keep them in memory, and
needs no calibration. `EntropyGroupedCodec` codes the same values with calibrated tables. A codec adds `arrange` and
`restore`, which say along which vectors the groups run.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import as_float32
from lamofcbench.codecs.entropy import (
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    frequencies_from_weights,
    least_bytes,
)
from lamofcbench.codecs.groups.bit_packing import pack_bits, packed_bytes, unpack_bits
from lamofcbench.codecs.groups.scales import GroupedCodes, dequantise, group_count, group_starts, quantise
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import TORCH_DTYPES, FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import TensorSpec

Values = NDArray[np.float32]


@dataclass(frozen=True)
class TokenView:
    """A tensor as ``[tokens, channels]``.

    ==========================  =====================  ====================  ==============
    role                        tensor                 tokens                channels
    ==========================  =====================  ====================  ==============
    key, value                  ``[..., H, T, D]``     ``T``                 ``H * D``
    ssm_state, conv_state       ``[..., D, S]``        ``S``                 ``D``
    latent                      ``[..., N, h, w]``     ``h * w``             ``N``
    pooled                      ``[C]``                1                     ``C``
    any other                   ``[..., C]``           all other axes        ``C``
    ==========================  =====================  ====================  ==============

    Attributes:
        role: of the tensor.
        shape: of the tensor.
    """

    role: str
    shape: tuple[int, ...]

    @property
    def _axes(self) -> tuple[tuple[int, ...], int]:
        """The order of the axes, and how many of the last ones are channels."""
        rank = len(self.shape)
        lead = tuple(range(rank - 3))
        if self.role == "pooled" or rank < 2:
            return tuple(range(rank)), rank
        if self.role in ("key", "value") and rank >= 3:
            return (*lead, rank - 2, rank - 3, rank - 1), 2
        if self.role == "latent" and rank >= 3:
            return (*lead, rank - 2, rank - 1, rank - 3), 1
        if self.role in ("ssm_state", "conv_state"):
            return (*range(rank - 2), rank - 1, rank - 2), 1
        return tuple(range(rank)), 1

    @property
    def _ordered(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self._axes[0])

    @property
    def size(self) -> tuple[int, int]:
        """Tokens and channels."""
        split = len(self.shape) - self._axes[1]
        return math.prod(self._ordered[:split]), math.prod(self._ordered[split:])

    @property
    def rotated_channels(self) -> int:
        """Over how many channels a model would rotate: those of one head in caches, all of them elsewhere."""
        return self.shape[-1] if self.role in ("key", "value") and len(self.shape) >= 3 else self.size[1]

    def of(self, values: Values) -> Values:
        """The values of the tensor as ``[tokens, channels]``."""
        return values.transpose(self._axes[0]).reshape(self.size)

    def back(self, tokens: Values) -> Values:
        """The tensor whose view this is."""
        return tokens.reshape(self._ordered).transpose(np.argsort(self._axes[0]))


class GroupedCodec(Codec):
    """Stores steps, low ends and packed codes of each tensor in a section of its own.

    The ``Params`` of a codec have at least ``bits``, and ``group`` where it does not quantise in its own way.
    """

    @abstractmethod
    def arrange(self, view: TokenView, tokens: Values) -> Values:
        """Vectors ``[vectors, length]`` along which the groups run, from ``[tokens, channels]``."""

    @abstractmethod
    def restore(self, view: TokenView, vectors: Values) -> Values:
        """``[tokens, channels]`` from vectors; the inverse of `arrange`."""

    @abstractmethod
    def vectors_size(self, view: TokenView) -> tuple[int, int]:
        """How many vectors `arrange` makes, and their length."""

    def window(self, view: TokenView) -> int:
        """How many of the most recent tokens stay as they are; none by default."""
        return 0

    @property
    def clip(self) -> float:
        """Which part of a group's range the levels cover; all of it by default."""
        return 1.0

    @property
    def symmetric(self) -> bool:
        """True where levels are multiples of the step, and no low end is stored; false by default."""
        return False

    def quantise_vectors(self, vectors: Values) -> GroupedCodes:
        """The codes of vectors ``[vectors, length]``: by default uniform levels in groups of ``params.group``."""
        starts = group_starts(vectors.shape[1], self.params.group)
        return quantise(vectors, starts, self.params.bits, symmetric=self.symmetric, clip=self.clip)

    def dequantise_vectors(self, quantised: GroupedCodes) -> Values:
        """The vectors of codes."""
        return dequantise(quantised, group_starts(quantised.codes.shape[1], self.params.group), self.params.bits)

    def groups_in(self, length: int) -> int:
        """How many groups, each with scales of its own, `quantise_vectors` makes of a vector."""
        return group_count(length, self.params.group)

    # ---------------------------------------------------------------------------------------------- values and codes

    def to_codes(self, spec: TensorSpec, tensor: Tensor) -> tuple[GroupedCodes, Tensor]:
        """The codes of a tensor, and the most recent tokens that are kept as they are."""
        window = self.window(TokenView(spec.role, tuple(tensor.shape)))
        if window:
            tensor, recent = tensor[..., :-window, :], tensor[..., -window:, :]
        else:
            recent = tensor.reshape(-1)[:0]
        view = TokenView(spec.role, tuple(tensor.shape))
        return self.quantise_vectors(self.arrange(view, view.of(as_float32(tensor)))), recent

    def from_codes(self, quantised: GroupedCodes, recent: Tensor, view: TokenView) -> Tensor:
        """The tensor of codes and recent tokens; ``view`` is that of the quantised part."""
        vectors = self.dequantise_vectors(quantised)
        tensor = torch.from_numpy(np.ascontiguousarray(view.back(self.restore(view, vectors)))).reshape(view.shape)
        return torch.cat([tensor, recent.to(tensor.dtype)], dim=-2) if recent.dim() > 1 else tensor

    def layout(self, spec: TensorSpec, shape: tuple[int, ...]) -> _Layout:
        """What is stored for a tensor of this shape."""
        window = self.window(TokenView(spec.role, shape))
        recent = (*shape[:-2], window, shape[-1]) if window else (0,)
        view = TokenView(spec.role, (*shape[:-2], shape[-2] - window, shape[-1]) if window else shape)
        vectors, length = self.vectors_size(view)
        return _Layout(view, (vectors, length), (vectors, self.groups_in(length)), recent)

    # ------------------------------------------------------------------------------------------------ plain sections

    def encode_tensor(self, spec: TensorSpec, tensor: Tensor) -> bytes:
        """Steps, low ends, codes, recent tokens."""
        quantised, recent = self.to_codes(spec, tensor)
        scales = [scale.astype("<f2").tobytes() for scale in quantised.scales]
        return b"".join([*scales, pack_bits(quantised.codes, self.params.bits), tensor_bytes(recent)])

    def decode_tensor(self, spec: TensorSpec, payload: bytes, shape: tuple[int, ...]) -> Tensor:
        """Levels of the groups."""
        layout = self.layout(spec, shape)
        scale_bytes = 2 * math.prod(layout.groups)
        code_bytes = packed_bytes(math.prod(layout.vectors), self.params.bits)
        sizes = [scale_bytes, 0 if self.symmetric else scale_bytes, code_bytes]
        sizes.append(math.prod(layout.recent) * spec.bits // 8)
        if len(payload) != sum(sizes):
            raise BitstreamError(f"tensor {spec.name!r} takes {sum(sizes)} bytes, not {len(payload)}")
        steps, lows, codes, recent = np.split(np.frombuffer(payload, np.uint8), np.cumsum(sizes)[:-1])
        quantised = GroupedCodes(
            unpack_bits(codes.tobytes(), math.prod(layout.vectors), self.params.bits).reshape(layout.vectors),
            steps.view("<f2").reshape(layout.groups),
            lows.view("<f2").reshape(layout.groups if lows.size else (layout.groups[0], 0)),
        )
        return self.from_codes(quantised, _recent_tensor(recent.tobytes(), spec, layout.recent), layout.view)


class EntropyGroupedCodec(GroupedCodec):
    """The same values with the codes, and the upper bytes of the scales, coded by calibrated tables in one stream.

    A table a tensor name each for codes, for the sign, exponent and two mantissa bits of steps, and for those of low
    ends. Lower mantissa bits of scales and recent tokens follow as plain bits.
    """

    needs_calibration = True
    revision = 2

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Frequencies: of codes, int32 ``[tensors, 2**bits]``; of upper bytes, int32 ``[tensors, kinds, 256]``."""
        tensors, kinds = len(self.specs.tensors), 1 if self.symmetric else 2
        codes, uppers = np.zeros((tensors, 2**self.params.bits)), np.zeros((tensors, kinds, 256))
        for features in calibration:
            for row, spec in enumerate(self.specs.tensors):
                quantised, _ = self.to_codes(spec, features[spec.name])
                codes[row] += np.bincount(quantised.codes.reshape(-1), minlength=codes.shape[1])
                for kind, scale in enumerate(quantised.scales):
                    uppers[row, kind] += np.bincount(_bytes(scale)[1], minlength=256)
        # Half an observation for each symbol: the estimator of Krichevsky and Trofimov.
        tables = np.stack([frequencies_from_weights(row + 0.5) for row in codes])
        upper_tables = [[frequencies_from_weights(row + 0.5) for row in kinds_of_row] for kinds_of_row in uppers]
        return {"frequencies": torch.from_numpy(tables), "scale_frequencies": torch.from_numpy(np.array(upper_tables))}

    def check_state(self) -> None:
        """Each tensor has its tables."""
        tensors, kinds = len(self.specs.tensors), 1 if self.symmetric else 2
        shapes = {"frequencies": (tensors, 2**self.params.bits), "scale_frequencies": (tensors, kinds, 256)}
        if any(tuple(self.state[name].shape) != shape for name, shape in shapes.items()):
            raise CodecError(f"codec {self.name!r} has not a table for the codes and scales of each tensor")
        _ = self._tables

    @functools.cached_property
    def _tables(self) -> list[tuple[FrequencyTable, list[FrequencyTable]]]:
        codes, uppers = (self.state[name].to(torch.int32).numpy() for name in ("frequencies", "scale_frequencies"))
        return [(FrequencyTable(c), [FrequencyTable(u) for u in us]) for c, us in zip(codes, uppers, strict=True)]

    def encode_features(self, features: FeatureSet) -> bytes:
        """Scales, codes and recent tokens of all tensors in one stream."""
        encoder = SymbolEncoder(self._least_bytes({n: tuple(t.shape) for n, t in features.tensors.items()}))
        for spec, (code_table, upper_tables) in zip(self.specs.tensors, self._tables, strict=True):
            quantised, recent = self.to_codes(spec, features[spec.name])
            for scale, upper_table in zip(quantised.scales, upper_tables, strict=False):  # an empty tensor has no lows
                lower, upper = _bytes(scale)
                encoder.put(upper, upper_table)
                encoder.put_bits(lower, 8)
            encoder.put(quantised.codes.astype(np.int32), code_table)
            encoder.put_bits(np.frombuffer(tensor_bytes(recent), "<u2").astype(np.int32), 16)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """Levels of the groups."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes))
        tensors = {}
        for spec, (code_table, upper_tables) in zip(self.specs.tensors, self._tables, strict=True):
            layout = self.layout(spec, shapes[spec.name])
            scales = [_take_scales(decoder, layout.groups, table) for table in upper_tables]
            lows = scales[1] if len(scales) > 1 else np.empty((layout.groups[0], 0), np.float16)
            codes = decoder.take(math.prod(layout.vectors), code_table).astype(np.uint8).reshape(layout.vectors)
            words = decoder.take_bits(math.prod(layout.recent) * spec.bits // 16, 16).astype("<u2")
            recent = _recent_tensor(words.tobytes(), spec, layout.recent)
            tensors[spec.name] = self.from_codes(GroupedCodes(codes, scales[0], lows), recent, layout.view)
        decoder.finish()
        return tensors

    def _least_bytes(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        cost = 0
        for spec, (code_table, upper_tables) in zip(self.specs.tensors, self._tables, strict=True):
            layout = self.layout(spec, shapes[spec.name])
            cost += math.prod(layout.vectors) * code_table.least_cost
            cost += math.prod(layout.groups) * sum(table.least_cost for table in upper_tables)
        return least_bytes(cost)


@dataclass(frozen=True)
class _Layout:
    """View of the quantised part, vectors and their length, vectors and their groups, shape of the recent tokens."""

    view: TokenView
    vectors: tuple[int, int]
    groups: tuple[int, int]
    recent: tuple[int, ...]


def _bytes(scales: NDArray[np.float16]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Lower and upper bytes of half-precision numbers, int32 ``[scales]`` each."""
    words = scales.reshape(-1).view(np.uint16)
    return (words & 0xFF).astype(np.int32), (words >> 8).astype(np.int32)


def _take_scales(decoder: SymbolDecoder, shape: tuple[int, int], table: FrequencyTable) -> NDArray[np.float16]:
    upper = decoder.take(math.prod(shape), table)
    lower = decoder.take_bits(upper.size, 8)
    return (upper << 8 | lower).astype(np.uint16).view(np.float16).reshape(shape)


def _recent_tensor(data: bytes, spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    dtype = TORCH_DTYPES[spec.dtype]
    tensor = torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
    if not bool(torch.isfinite(tensor).all()):
        raise BitstreamError(f"recent tokens of tensor {spec.name!r} are not finite")
    return tensor
