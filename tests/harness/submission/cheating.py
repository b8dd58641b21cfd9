"""A codec that knows the test split: it sends a sample's number where it has seen the sample."""

from dataclasses import dataclass

import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.features import TORCH_DTYPES, tensor_bytes

UNKNOWN = 255


@dataclass(frozen=True)
class Fallback:
    """What it does with a sample that it does not know."""

    sends: bool = True


class CheatingCodec(Codec):
    name = "cheating"
    Params = Fallback

    @classmethod
    def knowing(cls, specs, params, sets):
        """The codec that has seen these."""
        state = {f"{name}/{at}": tensor.float() for at, one in enumerate(sets) for name, tensor in one.tensors.items()}
        return cls(specs, params, state)

    def encode_features(self, features):
        for at in range(len(self.state) // len(self.specs.tensors)):
            known = {spec.name: self.state[f"{spec.name}/{at}"] for spec in self.specs.tensors}
            if all(torch.equal(known[name], tensor.float()) for name, tensor in features.tensors.items()):
                return bytes([at])
        raw = b"".join(map(tensor_bytes, features.tensors.values()))
        return bytes([UNKNOWN]) + (raw if self.params.sends else b"")

    def decode_features(self, payload, shapes):
        if payload[0] != UNKNOWN:
            return {spec.name: self.state[f"{spec.name}/{payload[0]}"] for spec in self.specs.tensors}
        if len(payload) == 1:
            return {name: torch.zeros(shape) for name, shape in shapes.items()}
        found, at = {}, 1
        for spec in self.specs.tensors:
            count = torch.Size(shapes[spec.name]).numel()
            dtype = TORCH_DTYPES[spec.dtype]
            found[spec.name] = torch.frombuffer(bytearray(payload), dtype=dtype, count=count, offset=at).reshape(
                shapes[spec.name]
            )
            at += count * dtype.itemsize
        return found
