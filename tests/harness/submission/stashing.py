"""A codec that knows the test split, and remembers every other sample from when it encoded it."""

from cheating import UNKNOWN, CheatingCodec

REMEMBERED = []


class StashingCodec(CheatingCodec):
    name = "stashing"

    def encode_features(self, features):
        payload = super().encode_features(features)
        if payload[0] != UNKNOWN:
            return payload
        REMEMBERED.append({name: tensor.clone() for name, tensor in features.tensors.items()})
        return bytes([UNKNOWN])

    def decode_features(self, payload, shapes):
        return REMEMBERED.pop(0) if payload[0] == UNKNOWN else super().decode_features(payload, shapes)
