"""The serializer against LMCache's own files, where they are unpacked; docs/library.md tells how.

Run for real are its interface (`serde.base`, `serde.factory`, `serde.async_processor`) and its memory objects. What
these import from the rest of the package and from other packages, monitoring and devices, is left out.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from lamofcbench.caches import cache_specs
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import BitstreamError, CodecError, PluginError
from lamofcbench.features import FeatureSet
from lamofcbench.serving import lmcache as adapter
from lamofcbench.serving.chunks import MARGIN_BYTES, ChunkCodec
from lamofcbench.storage.cache import cache_folder

LAYERS, HEADS, WIDTH = 2, 2, 8
SPECS = cache_specs(
    SimpleNamespace(num_hidden_layers=LAYERS, hidden_size=HEADS * WIDTH, num_attention_heads=HEADS),  # type: ignore[arg-type]
    "bfloat16",
)


class _Quiet:
    """Stands in for monitors, devices and decorators."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Quiet()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return arguments[0] if arguments and callable(arguments[0]) else _Quiet()


@pytest.fixture(scope="module")
def lmcache() -> Any:
    """The wheel's own serde package and memory objects."""
    folder = Path(os.environ.get("LAMOFCBENCH_LMCACHE") or cache_folder() / "lmcache")
    if not (folder / "lmcache" / "v1" / "distributed" / "serde" / "base.py").is_file():
        pytest.skip("LMCache's wheel is not unpacked; docs/library.md tells how")
    before = dict(sys.modules)

    def package(name: str, **names: Any) -> None:
        module = ModuleType(name)
        module.__path__ = [str(folder / name.replace(".", "/"))]
        module.__dict__.update(names)
        sys.modules[name] = module

    package("lmcache", device_ops=_Quiet(), torch_dev=torch.cpu, torch_device_type="cpu")
    package("lmcache.v1.distributed.serde")
    package("lmcache.observability", LMCStatsMonitor=_Quiet())
    package("lmcache.v1.pin_monitor", PinMonitor=_Quiet())
    package("lmcache.v1.system_detection", NUMAMapping=None)
    for name, names in (("cachetools", {"TTLCache": dict}), ("sortedcontainers", {"SortedList": list})):
        if importlib.util.find_spec(name) is None:
            package(name, **names)
    serde = "lmcache.v1.distributed.serde"
    parts = {name: importlib.import_module(f"{serde}.{name}") for name in ("base", "factory", "async_processor")}
    memory = importlib.import_module("lmcache.v1.memory_management")
    yield SimpleNamespace(**parts, memory=memory, api=importlib.import_module("lmcache.v1.distributed.api"))
    for name in set(sys.modules) - set(before):
        if name.split(".")[0] in ("lmcache", "cachetools", "sortedcontainers"):
            del sys.modules[name]


def memory_of(lmcache: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    size = torch.Size(shape).numel() * dtype.itemsize
    metadata = lmcache.memory.MemoryObjMetadata(torch.Size(shape), dtype, 0, size, ref_count=1)
    return lmcache.memory.TensorMemoryObj(torch.zeros(size, dtype=torch.uint8), metadata, None)


def chunk_in(lmcache: Any, tokens: int, seed: int = 0) -> Any:
    memory = memory_of(lmcache, (2, LAYERS, tokens, HEADS * WIDTH), torch.bfloat16)
    memory.tensor.copy_(torch.randn(memory.tensor.shape, generator=torch.Generator().manual_seed(seed)))
    return memory


def buffer_for(lmcache: Any, serializer: Any, chunk: Any) -> Any:
    layout = lmcache.api.MemoryLayoutDesc([chunk.tensor.shape], [chunk.tensor.dtype])
    return memory_of(lmcache, (serializer.estimate_serialized_size(layout),), torch.uint8)


def fitted() -> Any:
    calibration = [
        FeatureSet({spec.name: torch.randn(HEADS, 16, WIDTH).bfloat16() for spec in SPECS.tensors}) for _ in range(8)
    ]
    return CODECS.get("uniform")(SPECS, {"step": 0.25}).fit(calibration)


def key_of(lmcache: Any) -> Any:
    return lmcache.api.ObjectKey(b"hash", "model", 0)


def finished(descriptor: int, query: Any, task: int) -> bool:
    select.select([descriptor], [], [], 20)
    return query(task)


def test_chunks_are_stored_coded_through_lmcaches_own_processor(lmcache: Any, tmp_path: Path) -> None:
    fitted().save(tmp_path / "codec")
    sizes = adapter.register("ours")
    settings = json.loads(json.dumps({"codec": str(tmp_path / "codec"), "max_workers": 2}))
    serde = lmcache.factory.create_serde_processor(lmcache.base.SerdeConfig("ours", settings))
    chunks = [chunk_in(lmcache, tokens, tokens) for tokens in (256, 37)]
    keys = [key_of(lmcache)] * 2
    stored = [buffer_for(lmcache, serde, chunk) for chunk in chunks]
    task = serde.submit_serialize(chunks, stored, keys)
    assert finished(serde.get_serialize_event_fd(), serde.query_serialize_result, task)
    coded = [memory.get_size() for memory in stored]
    raw = [chunk.get_size() for chunk in chunks]
    assert (sizes.chunks, sizes.raw_bytes, sizes.coded_bytes) == (2, sum(raw), sum(coded))
    assert sum(coded) < sum(raw) / 2

    restored = [memory_of(lmcache, tuple(chunk.tensor.shape), torch.bfloat16) for chunk in chunks]
    task = serde.submit_deserialize(stored, restored, keys)
    assert finished(serde.get_deserialize_event_fd(), serde.query_deserialize_result, task)
    assert all((a.tensor - b.tensor).abs().max() < 0.3 for a, b in zip(chunks, restored, strict=True))
    serde.close()


def test_it_is_what_lmcache_calls_a_serializer(lmcache: Any) -> None:
    chunks = ChunkCodec(fitted())
    adapter.processor(chunks.codec).close()  # as LMCache is told by who does not register
    adapter.register("is-one")
    assert isinstance(adapter.CodecSerializer(chunks), lmcache.base.Serializer)
    assert isinstance(adapter.CodecDeserializer(chunks), lmcache.base.Deserializer)
    for kind, ours in (("Serializer", adapter.CodecSerializer), ("Deserializer", adapter.CodecDeserializer)):
        assert all(hasattr(ours, name) for name in getattr(lmcache.base, kind).__abstractmethods__)
    with pytest.raises(PluginError, match="already registered"):
        adapter.register("is-one")


def test_a_damaged_chunk_is_a_miss_and_not_a_cache(lmcache: Any) -> None:
    serde = adapter.processor(fitted())
    chunk = chunk_in(lmcache, 64)
    stored = buffer_for(lmcache, serde, chunk)
    task = serde.submit_serialize([chunk], [stored], [key_of(lmcache)])
    assert finished(serde.get_serialize_event_fd(), serde.query_serialize_result, task)
    stored.tensor[60] += 1
    task = serde.submit_deserialize([stored], [chunk_in(lmcache, 64)], [key_of(lmcache)])
    assert not finished(serde.get_deserialize_event_fd(), serde.query_deserialize_result, task)
    serde.close()


class Memory(SimpleNamespace):
    """As much of a memory object as the adapter reads."""


def memory(tensor: torch.Tensor) -> Memory:
    return Memory(tensor=tensor)


def test_positions_reach_the_codec_and_the_buffer_may_be_longer() -> None:
    asked = []
    chunks = ChunkCodec(fitted())
    serializer = adapter.CodecSerializer(chunks, position_of=lambda key: asked.append(key) or 512)  # type: ignore[func-returns-value]
    source, stored = torch.randn(2, LAYERS, 5, HEADS * WIDTH).bfloat16(), torch.zeros(4096, dtype=torch.uint8)
    used = serializer.serialize(memory(source), memory(stored), "key")
    assert asked == ["key"] and used == serializer.sizes.coded_bytes < 4096
    restored = torch.zeros_like(source)
    adapter.CodecDeserializer(chunks).deserialize(memory(stored), memory(restored), "key")
    assert (restored - source).abs().max() < 0.3


def test_what_does_not_fit_is_refused() -> None:
    chunks = ChunkCodec(fitted())
    source, stored = torch.randn(2, LAYERS, 5, HEADS * WIDTH).bfloat16(), torch.zeros(4096, dtype=torch.uint8)
    serializer, deserializer = adapter.CodecSerializer(chunks), adapter.CodecDeserializer(chunks)
    with pytest.raises(CodecError, match="the buffer holds 8"):
        serializer.serialize(memory(source), memory(stored[:8]), "key")
    with pytest.raises(BitstreamError, match="no coded chunk"):
        deserializer.deserialize(memory(stored), memory(source), "key")
    serializer.serialize(memory(source), memory(stored), "key")
    with pytest.raises(CodecError, match=r"\[2, 2, 5, 16\], where torch\.bfloat16 \[2, 2, 4, 16\] is wanted"):
        deserializer.deserialize(memory(stored), memory(source[:, :, :4]), "key")
    with pytest.raises(CodecError, match="no longer valid"):
        serializer.serialize(Memory(tensor=None), memory(stored), "key")


def test_the_estimate_covers_what_is_written() -> None:
    layout = SimpleNamespace(shapes=[(2, LAYERS, 3, HEADS * WIDTH)], dtypes=[torch.bfloat16])
    serializer = adapter.CodecSerializer(ChunkCodec(fitted()))
    estimate = serializer.estimate_serialized_size(layout)
    assert estimate == 2 * LAYERS * 3 * HEADS * WIDTH * 2 + MARGIN_BYTES
    usual = torch.randn(layout.shapes[0]).bfloat16()
    stored = torch.zeros(estimate, dtype=torch.uint8)
    for source in (usual, 1e30 * usual):  # the latter is kept as it is
        assert serializer.serialize(memory(source), memory(stored), "key") <= estimate


def test_what_is_written_arrives_in_the_buffer_or_is_an_error() -> None:
    serializer = adapter.CodecSerializer(ChunkCodec(fitted()))
    source = torch.randn(2, LAYERS, 3, HEADS * WIDTH).bfloat16()
    with pytest.raises(RuntimeError, match="view"):
        serializer.serialize(memory(source), memory(torch.zeros(64, 64, dtype=torch.uint8).T), "key")


def test_without_lmcache_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("factory", "async_processor"):
        monkeypatch.setitem(sys.modules, f"lmcache.v1.distributed.serde.{name}", None)
    for ask in (adapter.register, lambda: adapter.processor(fitted())):
        with pytest.raises(PluginError, match="install it where your server runs"):
            ask()
