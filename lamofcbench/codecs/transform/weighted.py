"""The joint transform in the tail's metric: what calibration samples and a sensitivity say about rows.

Coefficients are ``U^T L^T row``, where ``L L^T`` is the metric and U the eigenvectors of ``L^T S L``; a row is restored
as what is expected of it given its coefficients, ``S A^T Lambda^-1``, the linear estimate of least squared error. So
the metric need not be inverted, and what is not coded is predicted from what is. First, middle and last rows have
transforms of their own, covariances drawn to the common one; where the number of rows never varies, a second pair runs
over places. Deviations are cross-fitted as those of `lamofcbench.codecs.transform.estimate`, in a metric that has seen
gradients of all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.sensitivity import RowSensitivity
from lamofcbench.codecs.transform.estimate import (
    DIAGONAL_SHRINKAGE,
    FOLDS,
    Estimate,
    LeftoverSums,
    about_others,
    leading_directions,
    profile_deviations,
)
from lamofcbench.codecs.transform.metric import (
    DEFAULT_MIXING,
    MIXING_ACROSS,
    Halves,
    Pair,
    best_mixing,
    converted,
    diagonal,
    mixed,
    root_of,
    weighted_pair,
)
from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.weighted_rows import WeightedTransform
from lamofcbench.codecs.transform.weighting import Weighting

LEAST_WORTH = 1e-6
"""Of what all rows are worth: what those of a kind are at least, which no step could be too coarse for else."""

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Prepared:
    """The rows of calibration samples, ready to be transformed.

    Attributes:
        group: the tensors.
        centred: the rows of each sample about what is expected of them, in units of `scale`, ``[rows, C]``.
        index: the profile of each row, ``[rows]``.
        count: P, the number of profiles.
        kinds: of each row, as sensitivities tell them apart, ``[rows]``.
        profiles: of the places of rows.
        scale: float32 ``[C]``.
        shifts: by how much more than all samples those of all other folds expect, by fold, ``[P or 1, C]``; empty where
            these have not been asked.
    """

    group: RowGroup
    centred: Sequence[Matrix]
    index: Sequence[Index]
    count: int
    kinds: Sequence[Index]
    profiles: Profiles
    scale: Matrix
    shifts: Sequence[Matrix] = ()


def transforms_of(sensitivity: RowSensitivity) -> int:
    """How many kinds of rows have a transform of their own, at most; wide ones share theirs."""
    return 1 if sensitivity.is_factored else sensitivity.kinds


def weighted(
    rows: Prepared,
    sensitivity: RowSensitivity,
    rank: int,
    floor: float,
    shared_rank: int = 0,
    *,
    always: bool = False,
) -> tuple[tuple[Estimate, ...], float]:
    """Fits transforms in the tail's metric.

    Args:
        rows: of calibration samples.
        sensitivity: of the same tensors.
        rank: the most directions that a transform keeps.
        floor: the least weight of a column, for tensors that no gradient arrives at.
        shared_rank: the most directions that one for all kinds of rows keeps; it is fitted where these are more.
        always: even where no weights do better, as for rows beside others that are weighted.

    Returns:
        A transform for each kind of rows, and one that they share, if it was fitted; none where no weights do better on
        samples that they were not fitted to. And the mean weight of a column in the metric.
    """
    rank, shared_rank = (max(min(each, rows.group.width), 0) for each in (rank, shared_rank))
    if not rank or not sum(map(len, rows.centred)):
        return (), floor
    fit: _Wide | _Exact = (_Wide if sensitivity.is_factored else _Exact)(rows, sensitivity, rank, floor)
    if fit.mixing is None and isinstance(fit, _Exact) and always:
        fit.mix(DEFAULT_MIXING)
    if fit.mixing is None:
        return (), fit.mean_weight
    found = [_estimated(rows, fit)]
    if isinstance(fit, _Exact) and fit.kinds > 1 and shared_rank > rank:
        found.append(_estimated(rows, _Shared(fit, shared_rank)))
    return tuple(found), fit.mean_weight


def _estimated(rows: Prepared, fit: _Wide | _Exact | _Shared) -> Estimate:
    """The transform of all samples, with what those of other folds make of each."""
    folds = min(FOLDS, len(rows.centred))
    whole = fit.weighting(range(folds))
    coefficients: list[Matrix] = [np.zeros((0, whole.gains.shape[1]), np.float32)] * len(rows.centred)
    left = LeftoverSums(rows.group.width, folds)
    for fold in range(folds):
        others = [other for other in range(folds) if other != fold] or [fold]
        transform = WeightedTransform(fit.weighting(others), rows.profiles)
        for number in range(fold, len(rows.centred), folds):
            (held_out,) = about_others([rows.centred[number]], fold, rows.shifts, rows.profiles)
            kinds = rows.kinds[number]
            values = transform.analyse(held_out, kinds)
            left.add((held_out - transform.synthesise(values, kinds)) / transform.units, fold)
            coefficients[number] = _fitted(values, whole.gains.shape[1])
    deviations, of_others = profile_deviations(coefficients, rows.index, rows.count, rows.profiles)
    return Estimate(
        analysis=None,
        rows=None,
        deviations=deviations,
        leftovers=left.leftovers(),
        coefficients=coefficients,
        profiles=rows.index,
        folds=[number % folds for number in range(len(rows.centred))],
        others_deviations=of_others,
        weighting=whole,
    )


class _Fit:
    """What both ways to fit share: the transform over places."""

    def __init__(self, rows: Prepared, sensitivity: RowSensitivity, rank: int, floor: float) -> None:
        self.rows, self.rank, self.floor = rows, rank, floor
        self.folds = min(FOLDS, len(rows.centred))
        same_places = sensitivity.places == rows.profiles.places
        self.kinds = sensitivity.kinds if same_places else 1
        self._metric_across = sensitivity.metric_across() if same_places else None

    def _kinds(self, number: int) -> Index:
        kinds = self.rows.kinds[number]
        return kinds if self.kinds > 1 else np.zeros_like(kinds)

    def across(self, folds: Sequence[int], mixing: float) -> Pair | None:
        """The transform over places of the samples of some folds."""
        places = self.rows.profiles.places
        if self._metric_across is None or places < 2:
            return None
        scatter, count = torch.zeros(places, places, dtype=torch.float64), 0
        for number, values in enumerate(self.rows.centred):
            if number % self.folds in folds and self.rows.profiles.fits(len(values)):
                for pattern in torch.from_numpy(values).reshape(len(values) // places, places, values.shape[1]):
                    scatter += (pattern @ pattern.T).double()
                    count += pattern.shape[1]
        if not count or not float(scatter.trace()):
            return None
        scatter *= places / scatter.trace()
        scatter += torch.diag(min(1.0, 0.5 * places / count) * torch.diagonal(scatter) + 1e-9)
        part = MIXING_ACROSS * mixing
        metric = (self._metric_across + part * np.eye(places)) / (1.0 + part)
        return weighted_pair(scatter.numpy(), root_of(metric), places)

    def _weighting(self, pairs: Sequence[Pair], units: Wide, folds: Sequence[int], mixing: float) -> Weighting:
        width = max((len(pair.analysis) for pair in pairs), default=0)
        analyses, gains = zip(*(_halved(pair.analysis, width) for pair in pairs), strict=True)
        syntheses, lifts = zip(*(_halved(pair.synthesis.T, width) for pair in pairs), strict=True)
        places = self.across(folds, mixing)
        return Weighting(
            np.stack(analyses),
            np.stack(gains),
            np.stack(syntheses),
            np.stack(lifts),
            None if places is None else places.analysis.astype(np.float16),
            None if places is None else places.synthesis.astype(np.float16),
            units.astype(np.float32),
        )


class _Exact(_Fit):
    """With matrices over columns."""

    def __init__(self, rows: Prepared, sensitivity: RowSensitivity, rank: int, floor: float) -> None:
        super().__init__(rows, sensitivity, rank, floor)
        width = rows.group.width
        self._scatters = np.zeros((self.folds, self.kinds, width, width))
        self._counts = np.zeros((self.folds, self.kinds))
        for number, values in enumerate(rows.centred):
            kinds = self._kinds(number)
            for kind in np.unique(kinds):
                chosen = torch.from_numpy(values[kinds == kind])
                self._scatters[number % self.folds, kind] += (chosen.T @ chosen).numpy()
                self._counts[number % self.folds, kind] += len(chosen)
        metrics = {half: self._metrics(sensitivity, half) for half in (None, 0, 1)}
        self.mixing: float | None = DEFAULT_MIXING
        if self.folds >= 2 and sensitivity.has_halves:
            self.mixing = best_mixing(rows.group, self._halves(metrics[0], metrics[1]))
        shares = self._counts.sum(0) / max(self._counts.sum(), 1.0)
        self.mean_weight = float(sum(s * np.trace(m) for s, m in zip(shares, metrics[None], strict=True))) / width
        self._unmixed, self._shares = metrics[None], shares
        if self.mixing is not None:
            self.mix(self.mixing)

    def mix(self, mixing: float) -> None:
        """Draws the metric of each kind of rows to its diagonal."""
        self.mixing, shares = mixing, self._shares
        self.metrics = [mixed(self.rows.group, matrix, mixing) for matrix in self._unmixed]
        self._roots = [root_of(metric) for metric in self.metrics]
        inverses = [np.diagonal(np.linalg.inv(root @ root.T)) for root in self._roots]
        self._units = np.sqrt(sum(s * inverse for s, inverse in zip(shares, inverses, strict=True)))

    def _metrics(self, sensitivity: RowSensitivity, half: int | None) -> list[Wide]:
        """Of each kind of rows; where places differ from those of the samples, what all kinds have in common."""
        every = [converted(sensitivity, kind, self.rows.scale, half) for kind in range(sensitivity.kinds)]
        counts = sensitivity.counts.sum(0) if half is None else sensitivity.counts[half]
        common = np.asarray(sum(n * m for n, m in zip(counts, every, strict=True))) / max(float(counts.sum()), 1.0)
        if self.kinds == 1:
            every = [common]
        return [matrix + self.floor * np.eye(len(matrix)) for matrix in every]

    def _halves(self, first: list[Wide], second: list[Wide]) -> list[Halves]:
        even, odd = (range(start, self.folds, 2) for start in (0, 1))
        covariances = list(zip(self._covariances(even), self._covariances(odd), strict=True))
        shares = self._counts.sum(0) / max(self._counts.sum(), 1.0)
        return [
            Halves(covariances[kind], (first[kind], second[kind]), float(share))
            for kind, share in enumerate(shares)
            if share
        ]

    def _covariances(self, folds: Sequence[int]) -> list[Wide]:
        """Of each kind of rows, drawn to what all have in common, and a little to its diagonal."""
        chosen = list(folds)
        scatters, counts = self._scatters[chosen].sum(0), self._counts[chosen].sum(0)
        total, width = max(float(counts.sum()), 1.0), self.rows.group.width
        common = scatters.sum(0) / total
        strength = width / 2
        found = []
        for scatter, count in zip(scatters, counts, strict=True):
            matrix = common if self.kinds == 1 else (scatter + strength * common) / (count + strength)
            found.append(_shrunk(matrix, total))
        return found

    def shared_covariance(self, folds: Sequence[int]) -> Wide:
        """Of all kinds of rows together, float64 ``[C, C]``."""
        chosen = list(folds)
        total = max(float(self._counts[chosen].sum()), 1.0)
        return _shrunk(self._scatters[chosen].sum((0, 1)) / total, total)

    def shared_metric(self) -> tuple[Wide, Wide]:
        """The mean metric of all rows, float64 ``[C, C]``; and how many times as much those of each kind matter."""
        shares = self._counts.sum(0) / max(self._counts.sum(), 1.0)
        metric = np.asarray(sum(share * each for share, each in zip(shares, self.metrics, strict=True)))
        inverse = np.linalg.inv(metric)
        return metric, np.array([float((inverse * each).sum()) / len(metric) for each in self.metrics])

    def weighting(self, folds: Sequence[int]) -> Weighting:
        """The transform of the samples of some folds."""
        assert self.mixing is not None
        pairs = [
            weighted_pair(covariance, root, self.rank)
            for covariance, root in zip(self._covariances(folds), self._roots, strict=True)
        ]
        return self._weighting(pairs, self._units, folds, self.mixing)


class _Shared:
    """One transform for all kinds of rows, which are coded in steps that are worth what they matter.

    It takes the room of one in place of several, so that it keeps more directions. By Lagrange, at fine steps the
    squared step of a kind is in inverse proportion to what its metric makes of the errors of a step.
    """

    def __init__(self, fit: _Exact, rank: int) -> None:
        self._fit, self._rank = fit, rank
        metric, worth = fit.shared_metric()
        self._root, self._factors = root_of(metric), np.sqrt(np.maximum(worth, LEAST_WORTH)).astype(np.float32)
        self._units = np.sqrt(np.diagonal(np.linalg.inv(self._root @ self._root.T)))

    def weighting(self, folds: Sequence[int]) -> Weighting:
        """The transform of the samples of some folds."""
        assert self._fit.mixing is not None
        pair = weighted_pair(self._fit.shared_covariance(folds), self._root, self._rank)
        made = self._fit._weighting([pair], self._units, folds, self._fit.mixing)
        factors = self._factors[:, None]
        return replace(made, gains=made.gains * factors, lifts=made.lifts / factors)


class _Wide(_Fit):
    """Without a matrix over columns: rows are wide, and their leading directions in the metric few."""

    mixing = DEFAULT_MIXING

    def __init__(self, rows: Prepared, sensitivity: RowSensitivity, rank: int, floor: float) -> None:
        super().__init__(rows, sensitivity, rank, floor)
        self.kinds = 1
        counts = sensitivity.counts.sum(0)
        shares = np.sqrt(counts / max(float(counts.sum()), 1.0))
        parts = [share * converted(sensitivity, kind, rows.scale) for kind, share in enumerate(shares)]
        factor = np.concatenate(parts)
        own = diagonal(rows.group, factor, factored=True) + floor
        self.mean_weight = float(own.mean())
        self._root = (factor / np.sqrt(1.0 + self.mixing)).astype(np.float32)  # [r, C]
        weight = np.maximum(self.mixing * own / (1.0 + self.mixing), np.finfo(np.float32).tiny)
        self._weights = np.sqrt(weight).astype(np.float32)

    def weighting(self, folds: Sequence[int]) -> Weighting:
        """The transform of the samples of some folds."""
        chosen = [values for number, values in enumerate(self.rows.centred) if number % self.folds in folds]
        width = self.rows.group.width
        seen = [np.concatenate([values * self._weights, values @ self._root.T], axis=1) for values in chosen]
        vectors = leading_directions(seen, seen[0].shape[1], self.rank)
        analysis = (vectors[:, :width] * self._weights + vectors[:, width:] @ self._root).astype(np.float64)
        products, gram = np.zeros((len(analysis), width)), np.zeros((len(analysis),) * 2)
        for values in chosen:
            coefficients = values @ analysis.T.astype(np.float32)
            products += coefficients.T @ values
            gram += coefficients.T @ coefficients
        gram += np.diag(1e-6 * np.diagonal(gram) + 1e-300)
        synthesis = np.linalg.solve(gram, products).T
        pair = Pair(analysis, synthesis, np.diagonal(gram))
        return self._weighting([pair], 1.0 / self._weights.astype(np.float64), folds, self.mixing)


def _shrunk(covariance: Wide, rows: float) -> Wide:
    """A covariance of so many rows with a little more on its diagonal."""
    own = np.diagonal(covariance)
    more = DIAGONAL_SHRINKAGE * min(1.0, len(covariance) / rows) * own + 1e-12 * own.mean()
    return covariance + np.diag(more)


def _halved(matrix: Wide, directions: int) -> tuple[NDArray[np.float16], Matrix]:
    """A matrix ``[K, C]`` in half precision, its rows scaled to 1 and padded; and what they are to be multiplied by."""
    largest = np.maximum(np.abs(matrix).max(1, initial=0.0), 1e-30)
    missing = directions - len(matrix)
    rows = np.pad((matrix / largest[:, None]).astype(np.float16), ((0, missing), (0, 0)))
    return rows, np.pad(largest.astype(np.float32), (0, missing))


def _fitted(values: Matrix, width: int) -> Matrix:
    """Values with as many columns as the transform of all samples has."""
    if values.shape[1] >= width:
        return values[:, :width]
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))
