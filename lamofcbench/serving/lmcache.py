"""LMCache: any codec as one of its serializers, so that chunks of caches are stored and sent coded.

In the process that runs LMCache (0.5, the ``serde`` of an L2 adapter; see docs/library.md)::

    from lamofcbench.serving import lmcache
    sizes = lmcache.register()            # "serde": {"type": "lamofcbench", "codec": "saved-codec"}
    ...
    print(sizes.raw_bytes, sizes.coded_bytes)

`lmcache` itself is imported by `register` and `processor` alone. For plain bytes without it, see
`lamofcbench.serving.chunks.ChunkCodec`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import load_saved
from lamofcbench.errors import CodecError, PluginError, first_line, shown
from lamofcbench.serving.chunks import MARGIN_BYTES, ChunkCodec

_SERDE = "lmcache.v1.distributed.serde"


class Sizes:
    """What has been serialized so far; counts from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.chunks = self.raw_bytes = self.coded_bytes = 0

    def add(self, raw_bytes: int, coded_bytes: int) -> None:
        """Counts a chunk in."""
        with self._lock:
            self.chunks += 1
            self.raw_bytes += raw_bytes
            self.coded_bytes += coded_bytes


class CodecSerializer:
    """LMCache's ``Serializer`` over a codec.

    Args:
        chunks: the codec.
        sizes: counts what is serialized.
        position_of: from an ``ObjectKey`` to how many tokens of the sequence stand before its chunk. LMCache's keys do
            not tell; without it codecs take each chunk for the start of a sequence.
    """

    def __init__(
        self, chunks: ChunkCodec, sizes: Sizes | None = None, position_of: Callable[[Any], int] | None = None
    ) -> None:
        self._chunks, self._position_of = chunks, position_of
        self.sizes = sizes or Sizes()

    def serialize(self, src: Any, dst: Any, key: Any) -> int:
        """Writes the frame of one chunk.

        Args:
            src: a ``MemoryObj`` that holds ``[2, L, T, H * D]``.
            dst: a ``MemoryObj`` of bytes.
            key: the ``ObjectKey``.

        Returns:
            How many bytes were written.

        Raises:
            CodecError: if the chunk does not fit the codec, or the bytes do not fit the buffer.
        """
        chunk = _tensor_of(src)
        data = self._chunks.encode(chunk, 0 if self._position_of is None else self._position_of(key))
        buffer = _bytes_of(dst)
        if len(data) > len(buffer):
            raise CodecError(f"the coded chunk takes {len(data)} bytes; the buffer holds {len(buffer)}")
        buffer[: len(data)].copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self.sizes.add(chunk.numel() * chunk.element_size(), len(data))
        return len(data)

    def estimate_serialized_size(self, layout_desc: Any) -> int:
        """At most how many bytes a chunk of this ``MemoryLayoutDesc`` takes."""
        layout = zip(layout_desc.shapes, layout_desc.dtypes, strict=True)
        return MARGIN_BYTES + sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in layout)


class CodecDeserializer:
    """LMCache's ``Deserializer`` over a codec."""

    def __init__(self, chunks: ChunkCodec) -> None:
        self._chunks = chunks

    def deserialize(self, src: Any, dst: Any, key: Any) -> None:
        """Decodes the frame in a ``MemoryObj`` of bytes, which may be longer, into one that holds the chunk.

        Raises:
            BitstreamError: if the bytes are damaged, or of another codec.
            CodecError: if they hold a chunk of another shape.
        """
        chunk, target = self._chunks.decode(_bytes_of(src).cpu().numpy().tobytes()), _tensor_of(dst)
        if chunk.shape != target.shape or chunk.dtype != target.dtype:
            raise CodecError(
                f"the bytes hold {chunk.dtype} {list(chunk.shape)}, where {target.dtype} {list(target.shape)} is wanted"
            )
        target.copy_(chunk)


def processor(
    codec: Codec, *, max_workers: int = 1, sizes: Sizes | None = None, position_of: Callable[[Any], int] | None = None
) -> Any:
    """LMCache's ``AsyncSerdeProcessor`` over a fitted codec.

    Raises:
        CodecError: if the codec is not one of caches.
        PluginError: if lmcache is not installed, or has another interface.
    """
    chunks = ChunkCodec(codec)
    for name, ours in (("Serializer", CodecSerializer), ("Deserializer", CodecDeserializer)):
        _interface("base", name).register(ours)
    make = _interface("async_processor", "AsyncSerdeProcessor")
    return make(CodecSerializer(chunks, sizes, position_of), CodecDeserializer(chunks), max_workers=max_workers)


def register(name: str = "lamofcbench", *, position_of: Callable[[Any], int] | None = None) -> Sizes:
    """Makes codecs known to LMCache as a type of serde, whose setting ``codec`` names a saved codec's folder.

    Args:
        name: what ``"serde": {"type": ...}`` of an L2 adapter says.
        position_of: as for `CodecSerializer`.

    Returns:
        The sizes of all chunks that are serialized under this name in this process.

    Raises:
        PluginError: if lmcache is not installed, has another interface, or knows the name already.
    """
    sizes = Sizes()

    def make(settings: Mapping[str, object]) -> Any:
        folder, workers = settings.get("codec"), settings.get("max_workers", 1)
        if not isinstance(folder, str) or not isinstance(workers, int):
            raise CodecError(f"serde {name!r} needs codec, the folder of a saved codec, not {shown(folder)}")
        return processor(load_saved(Path(folder)), max_workers=workers, sizes=sizes, position_of=position_of)

    try:
        _interface("factory", "register_serde_factory")(name, make)
    except ValueError as error:
        raise PluginError(f"lmcache does not take serde {name!r}: {first_line(error)}") from error
    return sizes


def _interface(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"{_SERDE}.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"lmcache with {_SERDE}.{module}.{name} is needed; install it where your server runs ({first_line(error)})"
        ) from error


def _tensor_of(memory: Any) -> Tensor:
    if memory.tensor is None:
        raise CodecError("the memory object is no longer valid")
    tensor: Tensor = memory.tensor
    return tensor


def _bytes_of(memory: Any) -> Tensor:
    """The bytes of a memory object as a flat view, never a copy: what is written there has to arrive."""
    return _tensor_of(memory).view(-1).view(torch.uint8)
