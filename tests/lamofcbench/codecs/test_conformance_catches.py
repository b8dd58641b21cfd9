"""The conformance suite itself: codecs that break one rule each are caught by the check that holds it."""

import itertools
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.mean import MeanCodec
from lamofcbench.codecs.registry import CODECS
from lamofcbench.features import tensor_bytes


class Mutating(IdentityCodec):
    def encode_tensor(self, spec, tensor):
        return tensor_bytes(tensor.mul_(2) if tensor.numel() else tensor)


class Counting(IdentityCodec):
    calls = itertools.count()

    def encode_tensor(self, spec, tensor):
        return super().encode_tensor(spec, tensor) + bytes([next(self.calls) % 256])

    def decode_tensor(self, spec, payload, shape):
        return super().decode_tensor(spec, payload[:-1], shape)


class NotLossless(IdentityCodec):
    def decode_tensor(self, spec, payload, shape):
        return super().decode_tensor(spec, payload, shape) + 0.0  # negative zero becomes positive


class Overflowing(Codec):
    """Squares as it decodes, so its largest values become infinite."""

    def encode_tensor(self, spec, tensor):
        return tensor.to(torch.float32).numpy().tobytes()

    def decode_tensor(self, spec, payload, shape):
        values = torch.from_numpy(np.frombuffer(payload, np.float32).copy()).reshape(shape)
        return values.square().to(torch.float16 if spec.dtype == "float16" else torch.float32)


class Strided(IdentityCodec):
    """Takes the storage as it lies, ignoring strides."""

    def encode_tensor(self, spec, tensor):
        return tensor_bytes(torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())[: tensor.numel()])


class FittingInPlace(MeanCodec):
    def learn(self, calibration):
        self.state = dict(super().learn(calibration))
        return self.state


@pytest.mark.parametrize(
    ("codec_class", "check", "message"),
    [
        (Mutating, conformance.check_inputs_unchanged, "encoding changed the features"),
        (Counting, conformance.check_determinism, "encoding twice"),
        (NotLossless, conformance.check_round_trip, "lost bits"),
        (Overflowing, conformance.check_round_trip, "NaN or infinity"),
        (Strided, conformance.check_determinism, "strided view"),
        (FittingInPlace, conformance.check_inputs_unchanged, "unfitted codec"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_rule_is_caught(codec_class, check, message):
    with pytest.raises(conformance.ConformanceError, match=message):
        check(conformance.fitted(codec_class))


@dataclass(frozen=True)
class StepParams:
    step: float = 1024.0


class ForLargeValues(Codec):
    """Rounds to steps that all but heavy tails are lost in."""

    Params = StepParams
    rate_points = ({"step": 4096.0}, {"step": 1024.0})

    def encode_tensor(self, spec, tensor):
        levels = (tensor.float() / self.params.step).round().clamp(-32767, 32767)
        return zlib.compress(levels.to(torch.int16).numpy().tobytes())

    def decode_tensor(self, spec, payload, shape):
        return torch.from_numpy(np.frombuffer(zlib.decompress(payload), np.int16).copy()).reshape(shape) * 1.0


def test_a_ladder_that_climbs_is_caught():
    class Climbing(CODECS.get("uniform")):
        rate_points = ({"step": 8.0}, {"step": 0.35})

    for codec_class, first in ((Climbing, 8), (ForLargeValues, 4096)):
        with pytest.raises(conformance.ConformanceError, match=rf"^the first rate point, .*{first}\.0.*, takes"):
            conformance.check_ladder(codec_class)


def test_memory_of_the_encoder_is_caught_elsewhere(tmp_path):
    file = tmp_path / "remembering.py"
    file.write_text(
        "from lamofcbench.codecs.base import Codec\n"
        "MEMORY = {}\n"
        "class Remembering(Codec):\n"
        "    def encode_tensor(self, spec, tensor):\n"
        "        MEMORY[spec.name, tuple(tensor.shape)] = tensor.clone()\n"
        "        return b''\n"
        "    def decode_tensor(self, spec, payload, shape):\n"
        "        return MEMORY[spec.name, shape]\n"
    )
    codec = conformance.fitted(CODECS.get(f"{file}:Remembering"))
    with pytest.raises(conformance.ConformanceError, match="another process: coding fails"):
        conformance.check_elsewhere({"remembering": codec}, tmp_path / "elsewhere")
