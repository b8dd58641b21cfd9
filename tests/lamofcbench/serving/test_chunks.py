"""Chunks of a cache travel as plain bytes, whatever the codec."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lamofcbench.caches import cache_specs
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs
from lamofcbench.serving.chunks import MARGIN_BYTES, ChunkCodec

LAYERS, HEADS, WIDTH = 3, 2, 8
SPECS: FeatureSpecs = cache_specs(
    SimpleNamespace(num_hidden_layers=LAYERS, hidden_size=HEADS * WIDTH, num_attention_heads=HEADS),  # type: ignore[arg-type]
    "bfloat16",
)


def chunk(tokens: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, LAYERS, tokens, HEADS * WIDTH, generator=generator).bfloat16()


def caches(count: int) -> list[FeatureSet]:
    return [
        FeatureSet({spec.name: torch.randn(HEADS, 16 + seed, WIDTH).bfloat16() for spec in SPECS.tensors})
        for seed in range(count)
    ]


def test_a_chunk_comes_back_in_its_layout():
    codec = ChunkCodec(CODECS.get("identity")(SPECS))
    data = codec.encode(chunk(7))
    assert torch.equal(codec.decode(data + bytes(99)), chunk(7))
    assert len(data) <= chunk(7).numel() * 2 + MARGIN_BYTES


def test_each_head_of_each_layer_is_where_the_codec_expects_it():
    codec = ChunkCodec(CODECS.get("mean")(SPECS).fit(caches(4)))
    features = codec.codec.decode(codec.codec.encode(caches(1)[0]))
    decoded = codec.decode(codec.encode(chunk(16)))
    assert torch.equal(decoded[1, 2, :, WIDTH:], features["value.2"][1])


def test_a_lossy_codec_saves_bytes():
    codec = ChunkCodec(CODECS.get("uniform")(SPECS, {"step": 0.5}).fit(caches(8)))
    data = codec.encode(chunk(64))
    assert len(data) < chunk(64).numel() * 2 / 4
    assert (codec.decode(data).float() - chunk(64).float()).abs().max() < 0.6


def test_what_would_grow_is_kept_as_it_is():
    codec = ChunkCodec(CODECS.get("uniform")(SPECS, {"step": 1e-3}).fit(caches(8)))
    wild = chunk(8) * 1e6
    data = codec.encode(wild)
    assert torch.equal(codec.decode(data), wild) and len(data) <= wild.numel() * 2 + MARGIN_BYTES


def test_the_position_travels_with_the_chunk():
    codec = ChunkCodec(CODECS.get("uniform")(SPECS, {"step": 0.5}).fit(caches(8)))
    assert torch.equal(codec.decode(codec.encode(chunk(9), 256)), codec.decode(codec.encode(chunk(9))))


def test_the_last_row_of_a_chunk_is_none_of_a_prompt_wherever_it_starts():
    codec = CODECS.get("klt")(SPECS, {"step": 0.5}).fit(caches(12))
    chunks = ChunkCodec(codec)
    data = chunks.encode(chunk(9))
    features = chunks._features(chunk(9))
    assert torch.equal(chunks.decode(data), chunks.decode(data + bytes(9)))
    assert codec.continuing(0).encode(features) in data and codec.encode(features) not in data


@pytest.mark.parametrize("position", [-1, 2**40 + 1])
def test_positions_that_no_frame_holds_are_refused(position):
    with pytest.raises(CodecError, match=f"starts at position 0 to .*, not {position}"):
        ChunkCodec(CODECS.get("identity")(SPECS)).encode(chunk(4), position)


def test_damaged_and_foreign_bytes_are_refused():
    codec = ChunkCodec(CODECS.get("identity")(SPECS))
    data = codec.encode(chunk(4))
    for wrong in (b"", b"\0" * 64, data[:-1], data[:30] + bytes(1) + data[31:]):
        with pytest.raises(BitstreamError):
            codec.decode(wrong)


@pytest.mark.parametrize("wrong", [chunk(4).float(), chunk(4)[:1], chunk(4)[..., 1:], chunk(4)[0]])
def test_chunks_of_other_models_are_refused(wrong):
    with pytest.raises(CodecError, match=r"was made for torch\.bfloat16 \[2, 3, tokens, 2 \* 8\]"):
        ChunkCodec(CODECS.get("identity")(SPECS)).encode(wrong)


def test_codecs_of_other_tensors_are_refused():
    with pytest.raises(CodecError, match=r"make specs by lamofcbench\.caches"):
        ChunkCodec(CODECS.get("identity")(FeatureSpecs(tensors=SPECS.tensors[:3])))
