"""What calibration samples say about rows: a joint transform, and how large its coefficients are.

The transform is the Karhunen-Loeve transform of the rows about what is expected of them; where the number of rows
never varies, a second one runs over the rows. How large the coefficients of unseen samples are is measured on samples
that the transform was not fitted to (cross-fitting), because on its own samples any transform looks better than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.weighting import Weighting

FOLDS = 4
MAX_EXACT_WIDTH = 3072
"""Covariances of wider rows are not formed; their leading directions are found by subspace iteration."""
MAX_ROW_TRANSFORM = 2048
PROFILE_SHRINKAGES = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0)
"""How many rows the common variance may be worth in the estimate of a profile's; what predicts best is taken."""
RESIDUAL_SHRINKAGE = 2.0
"""How many rows the mean over all columns is worth in the estimate of how far what is left of a column deviates."""
DIAGONAL_SHRINKAGE = 0.02
KEPT_ROWS = 64
"""Of what a transform leaves of a sample, about so many rows are kept to make tables of."""
MAX_KEPT = 2**25
"""Values of calibration samples that are kept as they are."""
_OVERSAMPLING, _ITERATIONS = 32, 3

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Leftovers:
    """What transforms that were not fitted to them leave of the rows of samples.

    Attributes:
        deviations: of each column, float64 ``[C]``; zero where nothing is left.
        others_deviations: what the samples of all other folds say of them, by fold, ``[F, C]``.
        rows: some of them, ``[rows, C]``.
        folds: of each of these rows, ``[rows]``.
    """

    deviations: NDArray[np.float64]
    others_deviations: NDArray[np.float64]
    rows: Matrix
    folds: Index

    @classmethod
    def none(cls, width: int, folds: int) -> Leftovers:
        """Of a transform that leaves nothing."""
        return cls(np.zeros(width), np.zeros((folds, width)), np.zeros((0, width), np.float32), np.zeros(0, np.intp))

    def in_units(self, size: float) -> Leftovers:
        """The same in units of this size."""
        return Leftovers(
            self.deviations / size, self.others_deviations / size, self.rows / np.float32(size), self.folds
        )


class LeftoverSums:
    """Adds up what transforms leave, sample by sample.

    Args:
        width: C, the number of columns.
        folds: that samples are dealt into.
    """

    def __init__(self, width: int, folds: int) -> None:
        self._squares, self._counts = np.zeros((folds, width)), np.zeros((folds, 1))
        self._kept, self._of_kept = [np.zeros((0, width), np.float32)], [np.zeros(0, np.intp)]

    def add(self, left: Matrix, fold: int) -> None:
        """Adds what is left of the rows of a sample, ``[rows, C]``, by a transform fitted to all other folds."""
        self._squares[fold] += np.square(left, dtype=np.float64).sum(0)
        self._counts[fold] += len(left)
        self._kept.append(left[:: max(len(left) // KEPT_ROWS, 1)].copy())
        self._of_kept.append(np.full(len(self._kept[-1]), fold, np.intp))

    def leftovers(self) -> Leftovers:
        """Of all samples."""
        squares, counts = self._squares.sum(0), self._counts.sum(0)
        of_others = (self._squares, self._counts)
        if len(self._counts) > 1:
            of_others = (squares - self._squares, counts - self._counts)
        return Leftovers(
            _drawn(squares, counts), _drawn(*of_others), np.concatenate(self._kept), np.concatenate(self._of_kept)
        )


def _drawn(squares: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean squares of columns, ``[..., C]``, drawn to what all columns have in common."""
    squares = np.maximum(squares, 0.0)
    common = squares.sum(-1, keepdims=True) / (np.maximum(counts, 1) * max(squares.shape[-1], 1))
    return np.sqrt((squares + RESIDUAL_SHRINKAGE * common) / (counts + RESIDUAL_SHRINKAGE))


@dataclass(frozen=True)
class Estimate:
    """A transform of rows, and what is known of its coefficients.

    Attributes:
        analysis: orthonormal rows, ``[K, C]``: coefficients are ``analysis @ row``; None where they are the row itself.
        rows: orthonormal, ``[R, R]``, applied to the coefficients of all places of a sample; None where there is none.
        deviations: of unseen coefficients by profile, ``[P, K]``.
        leftovers: what lies outside the transform.
        coefficients: of each calibration sample, by a transform that was not fitted to it, ``[rows, K]``.
        profiles: of these rows, ``[rows]`` each.
        folds: of each of these samples.
        others_deviations: what the samples of all other folds say of the deviations, by fold, ``[F, P, K]``.
        weighting: the transform where it is one in the tail's metric, of which leftovers are in steps then; else None.
    """

    analysis: Matrix | None
    rows: Matrix | None
    deviations: NDArray[np.float64]
    leftovers: Leftovers
    coefficients: list[Matrix]
    profiles: Sequence[Index]
    folds: Sequence[int]
    others_deviations: NDArray[np.float64]
    weighting: Weighting | None = None


def estimate(
    centred: Sequence[Matrix],
    index: Sequence[Index],
    count: int,
    profiles: Profiles,
    rank: int,
    *,
    across: bool = True,
    shifts: Sequence[Matrix] = (),
) -> Estimate:
    """Fits a transform to the rows of calibration samples.

    Args:
        centred: the rows of each about what is expected of them, ``[rows, C]``.
        index: the profile of each row, ``[rows]``.
        count: P, the number of profiles.
        profiles: of the places of rows.
        rank: the most directions that the transform keeps.
        across: whether a second transform runs over places.
        shifts: by how much more the samples of all other folds expect, by fold; see `about_others`.
    """
    width = centred[0].shape[1]
    rank = max(min(rank, width), 0)
    analysis = _directions(centred, width, rank)
    row_transform = _row_transform(centred, profiles) if across else None
    coefficients: list[Matrix] = [np.zeros((0, len(analysis)), np.float32)] * len(centred)
    folds = min(FOLDS, len(centred))
    left = LeftoverSums(width, folds)
    for fold in range(folds):
        shifted = about_others(centred, fold, shifts, profiles)
        others = [rows for number, rows in enumerate(shifted) if number % folds != fold]
        held_out = _directions(others, width, rank) if folds > 1 else analysis
        over_places = _row_transform(others, profiles) if across and folds > 1 else row_transform
        for number in range(fold, len(centred), folds):
            values = _product(shifted[number], held_out.T)
            if len(held_out) < width:
                left.add(shifted[number] - _product(values, held_out), fold)
            coefficients[number] = transform_rows(_padded(values, len(analysis)), over_places, profiles)
    deviations, of_others = profile_deviations(coefficients, index, count, profiles)
    return Estimate(
        analysis,
        row_transform,
        deviations,
        left.leftovers(),
        coefficients,
        index,
        [number % folds for number in range(len(centred))],
        of_others,
    )


def about_others(
    centred: Sequence[Matrix], fold: int, shifts: Sequence[Matrix], profiles: Profiles
) -> Sequence[Matrix]:
    """Rows about what all folds but one say of them.

    Deviations from a mean sum up to zero: those of a fold lie in the span of all others, where a transform that is
    fitted to these would expect them by no merit of its own.

    Args:
        centred: the rows of each sample about what is expected of them, ``[rows, C]``.
        fold: that has no say.
        shifts: by how much more the samples of all others expect, by fold, ``[P or 1, C]``; empty where they have not
            been asked.
        profiles: of the places of rows.
    """
    if not len(shifts):
        return centred
    shift = shifts[fold]
    return [rows - (shift if len(shift) == 1 else shift[profiles.of(len(rows))]) for rows in centred]


def untransformed(
    centred: Sequence[Matrix],
    index: Sequence[Index],
    count: int,
    profiles: Profiles,
    *,
    shifts: Sequence[Matrix] = (),
) -> Estimate:
    """The same for rows as they are, of which as many samples are kept as `MAX_KEPT` allows.

    Where columns have little to do with each other, or samples are few, a transform mixes them for nothing: heavy tails
    that stood alone become noise everywhere.
    """
    width, folds = centred[0].shape[1], min(FOLDS, len(centred))
    held_out = [about_others([rows], number % folds, shifts, profiles)[0] for number, rows in enumerate(centred)]
    deviations, of_others = profile_deviations(held_out, index, count, profiles)
    share = max(-(-sum(map(len, centred)) * width // MAX_KEPT), 1)
    return Estimate(
        None,
        None,
        deviations,
        Leftovers.none(width, folds),
        held_out[::share],
        index[::share],
        [number % folds for number in range(len(centred))][::share],
        of_others,
    )


def scaled(known: Estimate, size: float) -> Estimate:
    """The same with coefficients in units of this size."""
    return replace(
        known,
        deviations=known.deviations / size,
        leftovers=known.leftovers.in_units(size),
        coefficients=[values / np.float32(size) for values in known.coefficients],
        others_deviations=known.others_deviations / size,
        weighting=None if known.weighting is None else known.weighting.in_steps_of(size),
    )


def transform_rows(coefficients: Matrix, rows: Matrix | None, profiles: Profiles) -> Matrix:
    """Coefficients ``[rows, K]`` after the transform over the places of each pattern, if there is one and it fits."""
    if rows is None or not coefficients.size or not profiles.fits(len(coefficients)):
        return coefficients
    patterns = coefficients.reshape(-1, profiles.places, coefficients.shape[1])
    return np.concatenate([_product(rows, pattern) for pattern in patterns])


def _directions(centred: Sequence[Matrix], width: int, rank: int) -> Matrix:
    """The leading eigenvectors of the covariance of rows, shrunk towards its diagonal; ``[min(rank, C), C]``."""
    count = sum(map(len, centred))
    if not rank or not count:
        return np.eye(rank, width, dtype=np.float32)
    if width > MAX_EXACT_WIDTH:
        return leading_directions(centred, width, rank)
    scatter = torch.zeros(width, width, dtype=torch.float64)
    for rows in centred:
        matrix = torch.from_numpy(rows)
        scatter += (matrix.T @ matrix).double()
    scatter /= count
    diagonal = torch.diagonal(scatter)
    diagonal += DIAGONAL_SHRINKAGE * min(1.0, width / count) * diagonal + 1e-12 * diagonal.mean()
    return _eigenvectors(scatter)[:rank].float().numpy()


def _eigenvectors(covariance: Tensor) -> Tensor:
    """Of a symmetric matrix, as rows, by falling eigenvalue."""
    return torch.linalg.eigh(covariance).eigenvectors.flip(1).T.contiguous()


def leading_directions(centred: Sequence[Matrix], width: int, rank: int) -> Matrix:
    """The leading directions of rows, by subspace iteration with a seeded start.

    See Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4.
    """
    rank = min(rank, sum(map(len, centred)))
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(width, min(rank + _OVERSAMPLING, width), generator=generator)
    for _ in range(_ITERATIONS):
        basis, _ = torch.linalg.qr(basis)
        image = torch.zeros_like(basis)
        for rows in centred:
            matrix = torch.from_numpy(rows)
            image.addmm_(matrix.T, matrix @ basis)
        projected = basis.T @ image  # of the iteration before, so that the last one needs no pass of its own
        basis, previous = image, basis
    vectors = _eigenvectors((projected + projected.T).double() / 2).float()
    return (vectors[:rank] @ previous.T).contiguous().numpy()


def _row_transform(centred: Sequence[Matrix], profiles: Profiles) -> Matrix | None:
    """The transform over the places of a sample, ``[R, R]``; None where their number varies or is too large."""
    places = profiles.places
    if not 1 < places <= MAX_ROW_TRANSFORM:
        return None
    scatter, count = torch.zeros(places, places, dtype=torch.float64), 0
    for rows in centred:
        if not profiles.fits(len(rows)):
            continue
        for pattern in torch.from_numpy(rows).reshape(len(rows) // places, places, rows.shape[1]):
            scatter += (pattern @ pattern.T).double()
            count += pattern.shape[1]
    if not count:
        return None
    diagonal = torch.diagonal(scatter)
    diagonal += min(1.0, 0.5 * places / count) * diagonal + 1e-9 * diagonal.mean()
    return _eigenvectors(scatter).float().numpy()


def profile_deviations(
    coefficients: Sequence[Matrix], index: Sequence[Index], count: int, profiles: Profiles
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean squares of coefficients by profile, ``[P, K]``, of all samples and, for each fold, of all others."""
    folds = min(FOLDS, len(coefficients))
    squares, counts = np.zeros((folds, count, coefficients[0].shape[1])), np.zeros((folds, count))
    for number, (values, numbers) in enumerate(zip(coefficients, index, strict=True)):
        np.add.at(counts[number % folds], numbers, 1)
        profiles.add(squares[number % folds], np.square(values, dtype=np.float64), numbers)
    total, total_counts = squares.sum(0), counts.sum(0)
    if folds == 1:
        whole = _shrunk(total, total_counts, PROFILE_SHRINKAGES[0])
        return whole, whole[None]
    best, least, others = PROFILE_SHRINKAGES[0], math.inf, np.zeros((0, 0, 0))
    for strength in PROFILE_SHRINKAGES:
        found = np.stack([_shrunk(total - s, total_counts - n, strength) for s, n in zip(squares, counts, strict=True)])
        variances = np.maximum(np.square(found), np.finfo(np.float64).tiny)
        # What the samples of each fold would cost if they were Gaussian with the deviations that the others tell;
        # more than can be said where others do not vary at all, as where fewer rows gave them fewer directions.
        with np.errstate(over="ignore"):
            cost = float((counts[:, :, None] * np.log(variances) + squares / variances).sum())
        if cost < least or not others.size:
            best, least, others = strength, cost, found
    return _shrunk(total, total_counts, best), others


def _shrunk(squares: NDArray[np.float64], counts: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Root mean squares, drawn to what their profile and their column have in common by so many observations."""
    squares = np.maximum(squares, 0.0)
    common = squares.sum(0) / max(counts.sum(), 1)
    of_profile = squares.sum(1) / np.maximum(counts, 1) / max(common.sum(), 1e-300)
    # Separable: a profile is larger or smaller as a whole, a column as a whole.
    expected = np.where(counts > 0, of_profile, 1.0)[:, None] * common
    return np.sqrt((squares + strength * expected) / (counts[:, None] + strength))


def _padded(values: Matrix, width: int) -> Matrix:
    """Values with columns of zeros up to a width: fewer samples may give fewer directions."""
    return np.pad(values, ((0, 0), (0, width - values.shape[1]))) if values.shape[1] < width else values


def _product(first: Matrix, second: Matrix) -> Matrix:
    return (torch.from_numpy(np.ascontiguousarray(first)) @ torch.from_numpy(np.ascontiguousarray(second))).numpy()
