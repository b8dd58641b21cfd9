"""On the mini edition's features the container takes at most 24 bytes a sample, whichever way a codec is written."""

import zlib

import pytest
import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.conformance import OVERHEAD_BYTES
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split


class RoundedCodec(Codec):
    """Codes each tensor by itself at a rate that varies: the costliest case for the section table."""

    def encode_tensor(self, spec, tensor):
        scaled = tensor.float() / tensor.float().std() * 3  # tensors differ in scale by orders of magnitude
        return zlib.compress(scaled.round().clamp(-127, 127).to(torch.int8).numpy().tobytes())


@pytest.mark.parametrize("id", [s.id for s in SCENARIOS if s.edition == "mini"])
def test_the_container_takes_at_most_24_bytes_a_sample(id):
    scenario = SCENARIOS.get(id)
    test, codec = open_split(scenario, "test"), RoundedCodec(scenario.specs)
    for index in range(0, len(test), 32):
        features = test.features(index)
        payload = sum(len(codec.encode_tensor(spec, features[spec.name])) for spec in scenario.tensors)
        assert len(codec.encode(features)) - payload <= OVERHEAD_BYTES
