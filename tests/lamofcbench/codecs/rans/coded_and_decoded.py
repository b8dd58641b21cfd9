"""Codes symbols and decodes them, decodes random bytes, and prints hashes of all that came out."""

import hashlib
import json

import numpy as np
import torch

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import (
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    TableStack,
    frequencies_from_weights,
)
from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.quantising import Quantiser
from lamofcbench.codecs.rans.compiling import compiled
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

generator = np.random.default_rng(1)
wide, narrow = np.exp(-np.abs(np.arange(-400.0, 400.0)) / 6), np.full(700, 1e-9) + np.eye(700)[9]
weights = [np.ones(3), np.array([1e7, 1.0]), wide, narrow]
tables = TableStack([FrequencyTable(frequencies_from_weights(w)) for w in weights])
found = {"compiled": compiled()}
for count in (0, 1, 7, 500, 20_000):
    numbers = generator.integers(0, 4, count)
    symbols = (generator.random(count) ** 3 * np.array([3, 2, 800, 700])[numbers]).astype(np.int32)
    values = generator.integers(0, 2**20, count).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put_indexed(symbols, numbers, tables)
    encoder.put_bits(values, 20)
    encoder.put(symbols % 3, FrequencyTable(frequencies_from_weights(np.array([5.0, 2.0, 1.0]))))
    payload = encoder.finish()
    decoder = SymbolDecoder(payload)
    assert (decoder.take_indexed(numbers, tables) == symbols).all() and (decoder.take_bits(count, 20) == values).all()
    found[str(count)] = len(payload), hashlib.sha256(payload).hexdigest()
for size in (0, 3, 40, 2**14, 2**14 + 1):
    payload = generator.bytes(size)
    decoder = SymbolDecoder(payload)
    taken = [decoder.take_indexed(generator.integers(0, 4, 3000), tables), decoder.take_bits(9, 24)]
    found[f"random {size}"] = hashlib.sha256(b"".join(part.tobytes() for part in taken)).hexdigest()
flat = TableStack([FrequencyTable(frequencies_from_weights(np.ones(integers.ALPHABET)))])
for rows, scale in ((0, 1.0), (5, 1e-3), (200, 1.0), (50, 1e4), (30, 1e38)):
    values = (generator.standard_t(2, (16, rows)) * scale).clip(-3e38, 3e38).astype(np.float32)
    quantiser = Quantiser(0.37, generator.normal(0, 1, 16), generator.permutation(16))
    tokens = quantiser.tokens(values)
    encoder = SymbolEncoder()
    encoder.put_indexed(tokens.symbols, np.zeros(16, np.int16), flat)
    tokens.put_extras(encoder)
    payload = encoder.finish()
    decoder = SymbolDecoder(payload)
    symbols = decoder.take_indexed(np.zeros(16, np.int16), flat, each=rows).reshape(16, rows)
    restored = quantiser.values(symbols, decoder)
    decoder.finish()
    assert (np.abs(restored.astype(np.float64) - values) <= 0.19 + np.abs(values) * 1e-7).all()
    found[f"values {rows}"] = hashlib.sha256(payload + restored.tobytes()).hexdigest()
shape = (Axis(name="tokens", limit=4096), 8)
specs = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=shape, dtype="float32"),))
rows = [generator.normal(0, np.exp(generator.normal(0, 1, (tokens, 1))), (tokens, 8)) for tokens in range(12, 20)]
*calibration, sample, foreign = (FeatureSet({"hidden": torch.tensor(of).float()}) for of in (*rows, 30 * rows[0]))
codec = KltCodec(specs, {"step": 0.5}).fit(calibration)
found["klt"] = codec.fingerprint.hex(), *(hashlib.sha256(codec.encode(each)).hexdigest() for each in (sample, foreign))
print(json.dumps(found))
