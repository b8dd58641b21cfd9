"""How the values of a scenario's tensors are distributed: what a codec meets, and how far apart the channels are.

A tensor is looked at as its planes (see `features.pack`): rows are tokens, columns are channels. Real features have a
few channels a thousand times larger than the rest, so each figure is also given without the two largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lamofcbench.features import FeatureSet, pack
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec

SAMPLED_VALUES = 2**21
"""About how many values of a tensor the quartiles are read from; all of them where there are no more."""
CORRELATED_CHANNELS = 256
"""How many channels, evenly spaced, the mean correlation between channels is taken over."""
LARGEST_CHANNELS = 2


@dataclass(frozen=True)
class Spread:
    """The distribution of a tensor's values over all samples, in the units of the features; nan where it has none.

    Attributes:
        channels: how many channels count.
        minimum: smallest value.
        lower_quartile: a quarter of the values lie below.
        median: half of the values lie below.
        upper_quartile: three quarters of the values lie below.
        maximum: largest value.
        kurtosis: excess kurtosis of all values together; 0 for a Gaussian, nan where all are equal.
        channel_spread: root mean square of the largest channel over that of the median channel; inf where more than
            half of the channels are zero.
        token_correlation: correlation between neighbouring rows, each channel less its mean, weighted by variance.
        channel_correlation: mean absolute correlation between pairs of channels; nan where there is one.
    """

    channels: int
    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    kurtosis: float
    channel_spread: float
    token_correlation: float
    channel_correlation: float


@dataclass(frozen=True)
class TensorStatistics:
    """What `tensor_statistics` found about one tensor.

    Attributes:
        name: of the tensor.
        dtype: the stored dtype.
        elements: values over all samples.
        all: over every channel.
        without_largest: without the two channels of largest root mean square; None where there are no others.
    """

    name: str
    dtype: str
    elements: int
    all: Spread
    without_largest: Spread | None


def tensor_statistics(samples: Iterable[FeatureSet], specs: FeatureSpecs, count: int) -> list[TensorStatistics]:
    """The statistics of each tensor over feature sets, read once, in order; sums are in float64.

    Args:
        samples: feature sets that match the specs.
        specs: of the tensors.
        count: how many samples there are, by which the share of rows kept for the quartiles is chosen.

    Example:
        >>> from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec
        >>> specs = FeatureSpecs(tensors=(TensorSpec(name="x", role="hidden", shape=(2, 3), dtype="float32"),))
        >>> x = torch.tensor([[1.0, 2.0, 30.0], [1.0, 4.0, 50.0]])
        >>> [statistics] = tensor_statistics([FeatureSet({"x": x})], specs, 1)
        >>> statistics.all.maximum, statistics.without_largest.maximum
        (50.0, 1.0)
    """
    gathered = {spec.name: _Gathered(spec, count) for spec in specs.tensors}
    for features in samples:
        for name, gather in gathered.items():
            for plane in pack(features[name], gather.spec.role) if features[name].numel() else ():
                gather.add(plane)
    return [gather.statistics() for gather in gathered.values()]


class _Gathered:
    """Sums over the planes of one tensor, a column each channel."""

    minimum: Tensor
    maximum: Tensor

    def __init__(self, spec: TensorSpec, count: int) -> None:
        self.spec, self.count = spec, count
        self.rows = 0  # planes' rows so far
        self.pairs = 0  # pairs of neighbouring rows so far
        self.kept: list[np.ndarray] = []

    def add(self, plane: Tensor) -> None:
        """Takes in a plane ``[rows, channels]``."""
        values = plane.to(torch.float64)
        if not self.rows:
            self._start(values)
        offset = values - self.shift  # near zero mean, so that high moments keep their digits
        powers = offset
        for power in range(4):
            self.moments[power] += powers.sum(dim=0)
            powers = powers * offset
        above, below = offset[:-1], offset[1:]
        self.neighbours += torch.stack([(above * below).sum(0), above.sum(0), below.sum(0)])
        chosen = offset[:, self.correlated]
        self.products += chosen.T @ chosen
        self.minimum = torch.minimum(self.minimum, values.amin(dim=0))
        self.maximum = torch.maximum(self.maximum, values.amax(dim=0))
        first = -self.rows % self.stride
        self.kept.append(plane[first :: self.stride].float().numpy().copy())
        self.rows += len(values)
        self.pairs += len(above)

    def _start(self, values: Tensor) -> None:
        rows, channels = values.shape
        self.stride = max(1, math.ceil(rows * channels * self.count / SAMPLED_VALUES))
        self.shift = values.mean(dim=0)
        self.moments = torch.zeros(4, channels, dtype=torch.float64)
        self.neighbours = torch.zeros(3, channels, dtype=torch.float64)
        self.correlated = torch.arange(0, channels, max(1, math.ceil(channels / CORRELATED_CHANNELS)))
        self.products = torch.zeros(len(self.correlated), len(self.correlated), dtype=torch.float64)
        self.minimum, self.maximum = values.amin(dim=0), values.amax(dim=0)

    def statistics(self) -> TensorStatistics:
        """The figures over all planes so far."""
        if not self.rows:
            return TensorStatistics(self.spec.name, self.spec.dtype, 0, Spread(0, *[math.nan] * 9), None)
        channels = len(self.shift)
        mean = self.shift + self.moments[0] / self.rows
        self.power = mean.square() + self._variance()
        largest = self.power.argsort(descending=True, stable=True)[:LARGEST_CHANNELS]
        others = torch.ones(channels, dtype=torch.bool)
        others[largest] = False
        return TensorStatistics(
            self.spec.name,
            self.spec.dtype,
            self.rows * channels,
            self._spread(torch.ones(channels, dtype=torch.bool)),
            self._spread(others) if channels > LARGEST_CHANNELS else None,
        )

    def _variance(self) -> Tensor:
        first, second = self.moments[0] / self.rows, self.moments[1] / self.rows
        return (second - first.square()).clamp(min=0)

    def _spread(self, counted: Tensor) -> Spread:
        values = np.concatenate(self.kept)[:, counted.numpy()]
        lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        root = self.power[counted].sqrt()
        typical = float(np.median(root.numpy()))  # torch's is the lower of the two middle ones
        return Spread(
            channels=int(counted.sum()),
            minimum=float(self.minimum[counted].min()),
            lower_quartile=lower,
            median=median,
            upper_quartile=upper,
            maximum=float(self.maximum[counted].max()),
            kurtosis=self._kurtosis(counted),
            channel_spread=float(root.max()) / typical if typical else math.inf,
            token_correlation=self._token_correlation(counted),
            channel_correlation=self._channel_correlation(counted),
        )

    def _kurtosis(self, counted: Tensor) -> float:
        """From the channels' moments about their shifts, moved to the mean of all counted values."""
        one, two, three, four = self.moments[:, counted] / self.rows
        move = self.shift[counted] - (self.shift[counted] + one).mean()
        second = (two + 2 * move * one + move**2).mean()
        fourth = (four + 4 * move * three + 6 * move**2 * two + 4 * move**3 * one + move**4).mean()
        return float(fourth / second.square() - 3) if second > 0 else math.nan

    def _token_correlation(self, counted: Tensor) -> float:
        if not self.pairs:
            return math.nan
        mean = self.moments[0] / self.rows
        product, above, below = self.neighbours / self.pairs
        covariance = (product - mean * (above + below) + mean.square())[counted].sum()
        variance = self._variance()[counted].sum()
        return float(covariance / variance) if variance > 0 else math.nan

    def _channel_correlation(self, counted: Tensor) -> float:
        chosen = counted[self.correlated]
        mean = self.moments[0][self.correlated] / self.rows
        covariance = (self.products / self.rows - torch.outer(mean, mean))[chosen][:, chosen]
        deviation = covariance.diagonal().clamp(min=0).sqrt()
        alive = deviation > 0
        if int(alive.sum()) < 2:
            return math.nan
        correlation = (covariance / torch.outer(deviation, deviation))[alive][:, alive].abs()
        pairs = len(correlation) * (len(correlation) - 1)
        return float((correlation.sum() - correlation.diagonal().sum()) / pairs)
