r"""The Gaussian rate-distortion bound of calibration features: the limit that is drawn into error curves.

Each tensor is taken as a source of independent Gaussian vectors, one for each token, with the covariance over channels
that its calibration samples show. Its rate-distortion function is known in closed form by reverse water-filling (Cover
and Thomas, Elements of Information Theory, doi.org/10.1002/047174882X, section 10.3.3): with the variances ``v`` of the
decorrelated channels and one water level ``t`` for all channels of all tensors,

    distortion = sum of min(v, t)        rate = sum of max(0, log2(v / t) / 2) bits

What the bound says, and what it does not:

- No source of this covariance needs a higher rate: it is an upper bound of the true rate-distortion function.
- It is the limit of codecs that use nothing but the covariance. A codec that also exploits the shape of the
  distribution (a few massive values), dependence between tokens, or context may pass below it.

The covariance is estimated so that few samples cannot flatter the bound: the calibration samples are dealt into folds,
and each fold is decorrelated by what the other folds have taught, their mean included. What is left to code is what a
codec meets that was fitted on other samples.

Taken tensor by tensor it is the limit of codecs that code each on its own. Tensors that share their rows can be taken
as one source, whose covariance spans them all: the limit of codecs that join them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamofcbench.codecs.calibration import as_float32, channel_dims
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import TensorSpec

FOLDS = 4
MAX_CHANNELS = 4096
"""Beyond this a full covariance would take minutes; each channel's variance alone is used instead."""

MAX_COMPONENTS = 1024
"""Longer spectra are merged into bins, so that they take kilobytes."""
BINS_AN_OCTAVE = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """A tensor as independent Gaussian components.

    Attributes:
        variances: positive, descending, in squared units of the feature.
        shares: the share of the tensor's elements that each stands for; what they lack to 1 does not vary.
        basis: ``covariance`` where channels were decorrelated, ``variances`` where they are taken as they are.
        channels: how many channels have statistics of their own.
        observations: how many vectors of channels the calibration samples hold.
    """

    variances: Floats
    shares: Floats
    basis: str
    channels: int
    observations: int


class GaussianBound:
    """The bound of one or more tensors under one water level.

    Args:
        spectra: of each tensor.
        elements: how many elements each tensor has, by name; any common multiple, such as over a test split.
        weights: what each tensor's squared error is multiplied by, such as 1 over the error of the calibration mean;
            1 where None.

    Example:
        >>> white = Spectrum(np.array([4.0]), np.array([1.0]), "variances", 1, 100)
        >>> bound = GaussianBound({"x": white}, {"x": 10})
        >>> bound.bits(1.0), bound.bits(0.25), bound.bits(4.0)  # log2(variance / distortion) / 2
        (1.0, 2.0, 0.0)
    """

    def __init__(
        self,
        spectra: Mapping[str, Spectrum],
        elements: Mapping[str, int],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        parts = [
            (s.variances * (weights[name] if weights else 1.0), s.shares * elements[name])
            for name, s in spectra.items()
        ]
        variances, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(variances)[np.count_nonzero(variances <= 0) :]
        self._variances, counts = variances[order], counts[order]
        self._elements = sum(elements[name] for name in spectra)
        # Sums over the components above each one: their number, and their number times log2 of the variance.
        self._above = np.append(np.cumsum(counts[::-1])[::-1], 0.0)
        self._logs_above = np.append(np.cumsum((counts * np.log2(self._variances))[::-1])[::-1], 0.0)
        below = np.append(0.0, np.cumsum(counts * self._variances))
        self._levels = np.append(0.0, self._variances)
        self._distortions = (below + np.append(0.0, self._variances) * self._above) / self._elements

    @property
    def largest_distortion(self) -> float:
        """What is left at rate zero, per element."""
        return float(self._distortions[-1])

    def bits(self, distortion: ArrayLike) -> Any:
        """The rate in bits per element (BPFP) at a mean squared error per element; infinite at zero.

        Args:
            distortion: a float or an array of them, weighted as the tensors are.

        Returns:
            A float, or float64 array of the same shape.
        """
        # Distortion is linear in the water level between two variances, so interpolation inverts it exactly.
        levels = np.interp(np.asarray(distortion, np.float64), self._distortions, self._levels)
        first = np.searchsorted(self._variances, levels, side="right")
        with np.errstate(divide="ignore", invalid="ignore"):
            total = (self._logs_above[first] - self._above[first] * np.log2(levels)) / 2
        # At rate zero rounding may leave a trace of either sign.
        bits = np.where(first == len(self._variances), 0.0, np.maximum(total, 0.0) / self._elements)
        return float(bits) if bits.ndim == 0 else bits


def spectrum(samples: Sequence[FeatureSet], spec: TensorSpec, folds: int = FOLDS) -> Spectrum:
    """The Gaussian components of one tensor over calibration samples; see `spectra`."""
    return spectra(samples, [spec], folds=folds)[0][spec.name]


def spectra(
    samples: Sequence[FeatureSet],
    specs: Sequence[TensorSpec],
    groups: Sequence[RowGroup] = (),
    weightings: Sequence[Mapping[str, float]] = (),
    folds: int = FOLDS,
) -> tuple[dict[str, Spectrum], list[dict[str, Spectrum]]]:
    """The Gaussian components of tensors over calibration samples, each alone, and of those that share their rows.

    Channels are those that codecs keep statistics for (`lamofcbench.codecs.calibration.channel_dims`): the features of
    a hidden state, heads times features of keys and values, the entries of a state; of a group the columns of its rows
    (`lamofcbench.codecs.transform.rows`), with keys as they were before their rotary embedding. They are decorrelated
    where each fold is left at least as many observations as there are channels, and where that lowers the rate; else
    their variances are used as they are, which is an upper bound too.

    Args:
        samples: feature sets of the calibration split; iterated once.
        specs: of the tensors.
        groups: tensors that are taken as one source.
        weightings: what the squared error of each tensor is multiplied by, by name.
        folds: how many parts the samples are dealt into; at most as many as there are samples, at least 2.

    Returns:
        By name of the tensor; and for each weighting by name of a group's first tensor, in weighted squared units.
    """
    alone = {spec.name: _Dealt(len(samples), folds) for spec in specs}
    joined = [_Dealt(len(samples), folds) for _ in groups]
    for features in samples:
        for spec in specs:
            alone[spec.name].add(_rows(spec, as_float32(features[spec.name])))
        for group, dealt in zip(groups, joined, strict=True):
            dealt.add(group.gather(features).astype(np.float64))
    of_groups = [
        {
            group.specs[0].name: dealt.spectrum(_factors(group, weights))
            for group, dealt in zip(groups, joined, strict=True)
        }
        for weights in weightings
    ]
    return {name: dealt.spectrum() for name, dealt in alone.items()}, of_groups


def _factors(group: RowGroup, weights: Mapping[str, float]) -> Floats:
    """What each column is multiplied by, so that its squared error counts by its tensor's weight."""
    factors = np.ones(group.width)
    for name, columns in group.columns.items():
        factors[columns] = math.sqrt(weights[name])
    return factors


class _Dealt:
    """The moments of samples that are dealt into folds, one after the other.

    Args:
        samples: how many there are.
        folds: how many parts they are dealt into.
    """

    def __init__(self, samples: int, folds: int) -> None:
        self._samples, self._index = samples, 0
        self._parts = [_Moments() for _ in range(max(2, min(folds, samples)))]
        self._shift: Floats | None = None
        self._decorrelates = False

    def add(self, rows: Floats) -> None:
        """Takes in the rows of the next sample, ``[observations, channels]``; there may be none."""
        if rows.size:
            if self._shift is None:
                self._shift = rows.mean(axis=0)  # near zero the sums of squares cancel least
                # Ragged samples may have twice as many rows as the first, hardly more.
                self._decorrelates = rows.shape[1] <= min(MAX_CHANNELS, 2 * len(rows) * self._samples)
            part = self._parts[self._index % len(self._parts)]
            part.add(rows - self._shift, with_products=self._decorrelates)
        self._index += 1

    def spectrum(self, factors: Floats | None = None) -> Spectrum:
        """Of the rows, with channels multiplied by factors ``[channels]``."""
        parts = [part for part in self._parts if part.count]
        if factors is not None:
            parts = [part.scaled(factors) for part in parts]
        return _spectrum(parts, sum((part.count for part in parts), 0))


def _spectrum(parts: Sequence[_Moments], total: int) -> Spectrum:
    """Of the moments of folds, which have so many rows together."""
    if len(parts) < 2:
        return Spectrum(np.zeros(0), np.zeros(0), "variances", 0, total)
    channels = len(parts[0].sums)
    decorrelates = channels > 1 and all(part.products is not None and total - part.count >= channels for part in parts)
    spectra = {"variances": _over_folds(_plain, parts)}
    if decorrelates:
        spectra["covariance"] = _over_folds(_decorrelated, parts)
    # What does not vary but for rounding costs nothing.
    least = 1e-12 * max(float(values.max()) for values in spectra.values())
    basis = min(spectra, key=lambda name: _mean_log(spectra[name], least))
    variances, shares = _merged(spectra[basis][spectra[basis] > least], 1 / channels)
    return Spectrum(variances, shares, basis, channels, total)


class _Moments:
    """Sums over the rows of one fold: ``[channels]``, and ``[channels, channels]`` where asked for."""

    sums: Floats
    squares: Floats

    def __init__(self) -> None:
        self.count = 0
        self.products: Floats | None = None

    def add(self, rows: Floats, *, with_products: bool) -> None:
        """Takes in ``[rows, channels]``."""
        if not self.count:
            self.sums, self.squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
            self.products = np.zeros((rows.shape[1],) * 2) if with_products else None
        self.count += len(rows)
        self.sums += rows.sum(axis=0)
        self.squares += np.square(rows).sum(axis=0)
        if self.products is not None:
            self.products += rows.T @ rows

    def scaled(self, factors: Floats) -> _Moments:
        """The sums of rows whose channels are multiplied by factors ``[channels]``."""
        scaled = _Moments()
        scaled.count, scaled.sums, scaled.squares = self.count, self.sums * factors, self.squares * factors**2
        if self.products is not None:
            scaled.products = self.products * np.outer(factors, factors)
        return scaled

    @property
    def mean(self) -> Floats:
        return self.sums / self.count


def _rest(parts: Sequence[_Moments], left_out: _Moments) -> _Moments:
    """The sums of all folds but one."""
    rest = _Moments()
    others = [part for part in parts if part is not left_out]
    rest.count = sum(part.count for part in others)
    rest.sums = np.sum([part.sums for part in others], axis=0)
    rest.squares = np.sum([part.squares for part in others], axis=0)
    products = [part.products for part in others if part.products is not None]
    rest.products = np.sum(products, axis=0) if len(products) == len(others) else None
    return rest


def _plain(part: _Moments, rest: _Moments) -> Floats:
    """Each channel's mean square about the other folds' mean."""
    return np.maximum(part.squares / part.count - 2 * rest.mean * part.mean + rest.mean**2, 0.0)


def _decorrelated(part: _Moments, rest: _Moments) -> Floats:
    """The mean squares along the principal axes of the other folds, about their mean."""
    assert part.products is not None and rest.products is not None  # the caller has checked
    _, axes = np.linalg.eigh(rest.products / rest.count - np.outer(rest.mean, rest.mean))
    squares = np.einsum("ij,ij->j", axes, (part.products / part.count) @ axes)
    mean, known = part.mean @ axes, rest.mean @ axes
    return np.maximum(squares - 2 * known * mean + known**2, 0.0)


def _over_folds(measure: Callable[[_Moments, _Moments], Floats], parts: Sequence[_Moments]) -> Floats:
    """The mean over folds, component by component; the rate of mean variances is at least the mean of the rates."""
    return np.average([measure(p, _rest(parts, p)) for p in parts], axis=0, weights=[p.count for p in parts])


def _mean_log(variances: Floats, least: float) -> float:
    """What orders two spectra by their rate at small distortion."""
    return float(np.log2(np.maximum(variances, max(least, np.finfo(np.float64).tiny))).mean())


def _merged(variances: Floats, share: float) -> tuple[Floats, Floats]:
    """Descending, with shares; neighbours within a 64th of an octave are merged where components are many."""
    variances = np.sort(variances)[::-1]
    if len(variances) <= MAX_COMPONENTS:
        return variances, np.full(len(variances), share)
    logs = np.log2(variances)
    _, bins, counts = np.unique(np.floor(-logs * BINS_AN_OCTAVE), return_inverse=True, return_counts=True)
    return np.exp2(np.bincount(bins, logs) / counts), share * counts.astype(np.float64)


def _rows(spec: TensorSpec, values: NDArray[np.float32]) -> Floats:
    """A tensor as float64 ``[observations, channels]``."""
    if not values.size:
        return np.empty((0, 0))
    kept = channel_dims(spec)
    others = [dim for dim in range(values.ndim) if dim not in kept]
    channels = int(np.prod([values.shape[dim] for dim in kept]))
    return values.transpose([*others, *kept]).reshape(-1, channels).astype(np.float64)
