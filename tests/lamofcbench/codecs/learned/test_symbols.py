"""Latent symbols come back, escapes included, and nothing else is accepted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamofcbench.codecs.learned.entropy_models import GaussianConditional
from lamofcbench.codecs.learned.symbols import LARGEST_SYMBOL, LatentReader, LatentWriter, Tables
from lamofcbench.errors import BitstreamError, CodecError


@pytest.fixture(scope="module")
def tables():
    model = GaussianConditional()
    model.update_tables()
    return Tables(model)


def coded(tables, symbols, indices):
    writer = LatentWriter()
    writer.code(tables, indices[:3], symbols[:3])
    writer.end_hyper_latents()
    writer.code(tables, indices[3:], symbols[3:])
    return writer.finish()


def decoded(tables, payload, indices):
    reader = LatentReader(payload)
    first = reader.code(tables, indices[:3], None)
    reader.end_hyper_latents()
    second = reader.code(tables, indices[3:], None)
    reader.finish()
    return np.concatenate([first, second])


def sample(count=500, spread=4.0):
    generator = np.random.default_rng(0)
    indices = generator.integers(0, 64, count).astype(np.uint8)
    symbols = np.rint(generator.normal(0, spread, count)).astype(np.int32)
    return symbols, indices


def test_symbols_come_back(tables):
    symbols, indices = sample()
    symbols[[0, 5, 17]] = LARGEST_SYMBOL, -LARGEST_SYMBOL, 4000  # no table covers these
    assert np.array_equal(decoded(tables, coded(tables, symbols, indices), indices), symbols)


def test_size_is_the_entropy_of_the_tables(tables):
    generator = np.random.default_rng(0)
    indices = generator.integers(20, 64, 20000).astype(np.uint8)
    model = GaussianConditional()
    model.update_tables()
    scales = model.scale_table[indices.astype(np.int64)]
    symbols = np.rint(generator.normal(0, scales.numpy())).astype(np.int32)
    ideal = -model.likelihood(torch.from_numpy(symbols), scales).log2().sum().item() / 8
    assert len(coded(tables, symbols, indices)) == pytest.approx(ideal, rel=0.005)


def test_other_indices_do_not_pass_the_checksum(tables):
    symbols, indices = sample()
    payload = coded(tables, symbols, indices)
    indices = indices.copy()
    indices[100] ^= 1
    with pytest.raises(BitstreamError):
        decoded(tables, payload, indices)


def test_damaged_hyper_latents_are_refused_before_anything_else(tables):
    symbols, indices = sample()
    payload = bytearray(coded(tables, symbols, indices))
    payload[0] ^= 1
    reader = LatentReader(bytes(payload))
    reader.code(tables, indices[:3], None)
    with pytest.raises(BitstreamError, match="hyper-latents"):
        reader.end_hyper_latents()


@pytest.mark.parametrize("payload", [b"", b"abc", bytes(4), b"\xff" * 4, b"\xff" * 40, bytes(range(1, 200))])
def test_crafted_payloads_are_refused(tables, payload):
    _, indices = sample()
    with pytest.raises(BitstreamError):
        decoded(tables, payload, indices)


def test_tables_of_a_stranger_are_checked():
    model = GaussianConditional()
    with pytest.raises(CodecError, match="missing"):
        Tables(model)
    for damage in (("_cdf_length", 2), ("_offset", 2**30), ("_quantized_cdf", 0)):
        model.update_tables()
        getattr(model, damage[0]).fill_(damage[1])
        with pytest.raises(CodecError):
            Tables(model)
