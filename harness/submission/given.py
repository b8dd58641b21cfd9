"""What was coded elsewhere, in place of a codec in the pipeline of a run."""

from __future__ import annotations

from collections.abc import Iterable

from lamofcbench.features import FeatureSet


class GivenBytes:
    """Bytes in place of an encoder, in the order in which samples are asked for."""

    def __init__(self, name: str, contents: Iterable[bytes]) -> None:
        self.name, self._contents = name, iter(contents)

    def encode(self, features: FeatureSet, /) -> bytes:
        """The next sample's bytes."""
        return next(self._contents)

    def payload_bytes(self, data: bytes, /) -> None:
        """Recounted already, see `harness.submission.recount`."""

    def quantised(self, features: FeatureSet, /) -> None:
        """Asked of the codec itself, see `harness.submission.reencode`."""


class GivenFeatures:
    """Decoded features in place of a decoder, in the order in which samples are asked for."""

    def __init__(self, name: str, features: Iterable[FeatureSet]) -> None:
        self.name, self._features = name, iter(features)

    def decode(self, data: bytes, /) -> FeatureSet:
        """The next sample's features."""
        return next(self._features)
