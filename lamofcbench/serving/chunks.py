"""Chunks of a cache as serving engines keep them, ``[2, layers, tokens, heads * width]``, as plain bytes and back.

A frame is a header of 21 bytes and the codec's bitstream: magic, whether the stream is that of `identity`, at which
position its tokens start, and how long it is. Buffers of serving engines may be longer than what was written to them;
what follows the frame is not looked at.
"""

from __future__ import annotations

import struct

import torch
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import BitstreamError, CodecError, shown
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs

_HEADER = struct.Struct("<4sBQQ")
_MAGIC = b"LFCC"
_CODED, _EXACT = range(2)
_MAX_POSITION = 2**40

MARGIN_BYTES = 256
"""How many bytes a frame may take beyond those of its tensors."""


class ChunkCodec:
    """A codec of caches that takes and gives chunks.

    A chunk that its codec would make larger than it is, is kept as it is, so that a frame never takes more than
    `MARGIN_BYTES` beyond the chunk.

    Args:
        codec: fitted; for specs of `lamofcbench.caches.cache_specs` or `cache_specs_of`.

    Raises:
        CodecError: if the codec is for other tensors than keys and values of layers that are alike.

    Example:
        >>> from types import SimpleNamespace
        >>> from lamofcbench.caches import cache_specs
        >>> config = SimpleNamespace(num_hidden_layers=2, hidden_size=8, num_attention_heads=2)
        >>> chunks = ChunkCodec(CODECS.get("identity")(cache_specs(config, "bfloat16")))
        >>> data = chunks.encode(torch.ones(2, 2, 5, 8, dtype=torch.bfloat16))
        >>> chunks.decode(data).shape
        torch.Size([2, 2, 5, 8])
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._exact = CODECS.get("identity")(codec.specs)
        self._layers, self._heads, self._width = _geometry(codec.specs)
        self._dtype = TORCH_DTYPES[codec.specs.tensors[0].dtype]

    def encode(self, chunk: Tensor, first_position: int = 0) -> bytes:
        """The frame of a chunk.

        Args:
            chunk: ``[2, L, T, H * D]``, keys before values, on any device.
            first_position: how many tokens of the sequence stand before it, for codecs that turn keys back; 0 where
                that is not known, which is right but costs bytes.

        Raises:
            CodecError: if the chunk has another shape or dtype, or holds NaN, or there is no such position.
        """
        if not 0 <= first_position <= _MAX_POSITION:
            raise CodecError(f"a chunk starts at position 0 to {_MAX_POSITION}, not {shown(first_position)}")
        features = self._features(chunk)
        kind, data = _CODED, self.codec.continuing(first_position).encode(features)
        if len(data) > chunk.numel() * chunk.element_size():
            kind, data = _EXACT, self._exact.encode(features)
        return _HEADER.pack(_MAGIC, kind, first_position, len(data)) + data

    def decode(self, data: bytes | bytearray | memoryview) -> Tensor:
        """The chunk ``[2, L, T, H * D]`` of a frame.

        Raises:
            BitstreamError: if it is damaged, or of another codec.
        """
        view = memoryview(data)
        if len(view) < _HEADER.size:
            raise BitstreamError("the chunk is shorter than its header")
        magic, kind, first_position, size = _HEADER.unpack_from(view)
        if magic != _MAGIC or kind not in (_CODED, _EXACT) or first_position > _MAX_POSITION:
            raise BitstreamError("these bytes are no coded chunk of a cache")
        if size > len(view) - _HEADER.size:
            raise BitstreamError(f"the chunk is cut short: its stream takes {size} bytes")
        codec = self._exact if kind == _EXACT else self.codec.continuing(first_position)
        features = codec.decode(bytes(view[_HEADER.size : _HEADER.size + size]))
        layers = range(self._layers)
        halves = [torch.stack([features[f"{role}.{layer}"] for layer in layers]) for role in ("key", "value")]
        return torch.stack(halves).transpose(2, 3).flatten(3)  # [2, L, H, T, D] -> [2, L, T, H * D]

    def _features(self, chunk: Tensor) -> FeatureSet:
        wanted = (2, self._layers, self._heads * self._width)
        if chunk.dim() != 4 or (*chunk.shape[:2], chunk.shape[3]) != wanted or chunk.dtype != self._dtype:
            raise CodecError(
                f"the chunk is {chunk.dtype} {list(chunk.shape)}; codec {self.codec.name!r} was made for {self._dtype} "
                f"[2, {self._layers}, tokens, {self._heads} * {self._width}]"
            )
        parts = chunk.detach().cpu().unflatten(3, (self._heads, self._width)).transpose(2, 3)
        return FeatureSet(
            {
                f"{role}.{layer}": parts[kind, layer].contiguous()
                for kind, role in enumerate(("key", "value"))
                for layer in range(self._layers)
            }
        )


def _geometry(specs: FeatureSpecs) -> tuple[int, int, int]:
    """Layers, heads and width of specs of caches."""
    layers = len(specs.tensors) // 2
    names = [f"{role}.{layer}" for role in ("key", "value") for layer in range(layers)]
    shape = specs.tensors[0].shape
    alike = all((spec.shape, spec.dtype) == (shape, specs.tensors[0].dtype) for spec in specs.tensors)
    if [spec.name for spec in specs.tensors] != names or not alike or specs.side or len(shape) != 3:
        raise CodecError("chunks hold keys and values of layers that are alike; make specs by lamofcbench.caches")
    heads, tokens, width = shape
    if not isinstance(heads, int) or not isinstance(width, int) or not isinstance(tokens, Axis):
        raise CodecError("chunks have [heads, tokens, width] a layer; make specs by lamofcbench.caches")
    return layers, heads, width
