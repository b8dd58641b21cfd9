"""`mean`: sends nothing but the container, and decodes to the calibration mean. It is the floor of every curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import measure, ragged_dims
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet


class MeanCodec(Codec):
    """Replaces each tensor by its mean over calibration samples and ragged axes, known to both sides."""

    needs_calibration = True

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """The means, float32, in each tensor's shape with ragged axes of size 1."""
        fixed = {
            spec.name: tuple(d for d in range(len(spec.shape)) if d not in ragged_dims(spec))
            for spec in self.specs.tensors
        }
        moments = measure(calibration, self.specs, fixed)
        return {name: torch.from_numpy(m.mean).to(torch.float32) for name, m in moments.items()}

    def check_state(self) -> None:
        """Each tensor has a finite mean of its shape."""
        for spec in self.specs.tensors:
            mean = self.state.get(spec.name)
            shape = spec.sized(dict.fromkeys((axis.name for axis in self.specs.axes), 1))
            if mean is None or tuple(mean.shape) != shape or not bool(torch.isfinite(mean).all()):
                raise CodecError(f"codec 'mean' has no finite mean of shape {list(shape)} for tensor {spec.name!r}")

    def encode_features(self, features: FeatureSet) -> bytes:
        """Nothing."""
        return b""

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """The means, broadcast to the shapes."""
        if payload:
            raise BitstreamError(f"codec 'mean' sends nothing, and here are {len(payload)} bytes")
        return {name: self.state[name].expand(shape) for name, shape in shapes.items()}
