"""What the error-bounded codecs of scientific computing share: one tolerance a tensor name, in units of its own choice.

Features of one sample differ by orders of magnitude, so by default the tolerance is a factor times the standard
deviation that each tensor name has in calibration. Values are divided by their tolerance before they are coded, so that
the coder's own bound is 1 for every tensor.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import as_float32, as_tensor, measure, quantiser_step
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ToleranceParams:
    """Parameters of an error-bounded codec.

    Attributes:
        tolerance: the largest absolute error of a value.
        unit: what the tolerance is a multiple of: the tensor name's calibrated standard deviation, its calibrated range
            (largest less smallest value), or 1 where it is absolute.
    """

    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    unit: Literal["deviation", "range", "absolute"] = "deviation"


class ErrorBoundedCodec(Codec):
    """Learns a tolerance for each tensor name and scales values by it; a subclass says how scaled values are coded."""

    Params = ToleranceParams
    needs_calibration = True

    @abstractmethod
    def compress(self, values: NDArray[np.float32]) -> bytes:
        """The library's stream of an array of one or two dimensions, not empty, with errors of at most 1."""

    @abstractmethod
    def decompress(self, stream: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The array of a stream.

        Raises:
            BitstreamError: if it is no stream of this shape.
        """

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Tolerances, float64 ``[tensors]``."""
        factor = self.params.tolerance
        if self.params.unit == "absolute":
            return {"tolerances": torch.full((len(self.specs.tensors),), factor, dtype=torch.float64)}
        moments = measure(calibration, self.specs, {spec.name: () for spec in self.specs.tensors})
        scales = {name: moment.std.item() for name, moment in moments.items()}
        if self.params.unit == "range":
            scales = _ranges(calibration)
        steps = [quantiser_step(factor, scales[name], moments[name].mean.item()) for name in moments]
        return {"tolerances": torch.tensor(steps, dtype=torch.float64)}

    def check_state(self) -> None:
        """Each tensor has a finite positive tolerance."""
        tolerances = self.state["tolerances"]
        positive = bool(torch.isfinite(tolerances).all()) and bool((tolerances > 0).all())
        if tolerances.shape != (len(self.specs.tensors),) or not positive:
            raise CodecError(f"codec {self.name!r} has no positive tolerance for each tensor")

    @functools.cached_property
    def tolerances(self) -> dict[str, float]:
        """The largest error of each tensor's values, in their own units."""
        values = self.state["tolerances"].to(torch.float64).tolist()
        return {spec.name: value for spec, value in zip(self.specs.tensors, values, strict=True)}

    def scaled(self, name: str, tensor: Tensor) -> NDArray[np.float32]:
        """The values over their tolerance, float32; what that takes out of float32's range becomes its end."""
        values = as_float32(tensor).astype(np.float64)
        values /= self.tolerances[name]
        return np.clip(values, -_LARGEST, _LARGEST, out=values).astype(np.float32)

    def restored(self, name: str, values: NDArray[np.float32], shape: tuple[int, ...]) -> Tensor:
        """The tensor of decoded scaled values.

        Raises:
            BitstreamError: if they hold NaN, which no encoder writes.
        """
        if np.isnan(values).any():
            raise BitstreamError(f"tensor {name!r} decodes to NaN")
        wide = np.clip(values, -_LARGEST, _LARGEST).astype(np.float64)
        with np.errstate(over="ignore"):  # a stranger's tolerance may be as large as floats get
            wide *= self.tolerances[name]
        return as_tensor(wide, shape)


def _ranges(calibration: Iterable[FeatureSet]) -> dict[str, float]:
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    for features in calibration:
        for name, tensor in features.tensors.items():
            if tensor.numel():
                lowest[name] = min(lowest.get(name, math.inf), float(tensor.min()))
                highest[name] = max(highest.get(name, -math.inf), float(tensor.max()))
            else:
                lowest.setdefault(name, math.inf)
                highest.setdefault(name, -math.inf)
    return {name: max(highest[name] - lowest[name], 0.0) for name in lowest}
