"""A codec whose bytes do not decode alone: both ends count the samples of a batch, as whoever remembers them can."""

import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.features import TORCH_DTYPES, tensor_bytes

ENCODED, DECODED = [], []
BATCH = 4


def masked(content, seen):
    """Bytes as they are to be read at this place of a batch."""
    seen.append(len(content))
    mask = (len(seen) - 1) % BATCH
    return bytes(byte ^ mask for byte in content)


class ChainingCodec(Codec):
    name = "chaining"

    def encode_features(self, features):
        return masked(b"".join(map(tensor_bytes, features.tensors.values())), ENCODED)

    def decode_features(self, payload, shapes):
        content, found, at = bytearray(masked(payload, DECODED)), {}, 0
        for spec in self.specs.tensors:
            dtype, count = TORCH_DTYPES[spec.dtype], torch.Size(shapes[spec.name]).numel()
            tensor = torch.frombuffer(content, dtype=dtype, count=count, offset=at) if count else torch.empty(0)
            found[spec.name] = tensor.reshape(shapes[spec.name])
            at += count * dtype.itemsize
        return found
