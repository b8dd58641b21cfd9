"""Principal components of token rows, as `kvtc` learns them: one transform for all layers and heads of a role.

Bits are given to components by what quantising them costs on rows that the components were not fitted to: with few
samples, the rows themselves would say that the last components are empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.features import FeatureSet

Matrix = NDArray[np.float32]

EXACT_WIDTH = 2048
"""Wider rows have their components from a randomised decomposition, and no more than are wanted."""
MAX_RANK = 2048
MAX_VALUES = 2**25
"""Rows of calibration samples are thinned out evenly to so many values, 128 MiB."""
LARGEST_UNIT = 2.0**100
_ITERATIONS = 4
_FOLDS = 4


@dataclass(frozen=True)
class Components:
    """What calibration says about rows.

    Attributes:
        means: of the first rows, each by its place, and in the last place of all others; ``[sinks + 1, C]``.
        units: root mean squares of centred values, by which columns are divided, float32 ``[C]``.
        basis: orthonormal rows, by falling variance, ``[K, C]``.
        coefficients: of rows that their components were not fitted to, ``[rows, K]``.
        first: which of these rows are the first of their sample, ``[rows]``.
    """

    means: Matrix
    units: Matrix
    basis: Matrix
    coefficients: Matrix
    first: NDArray[np.bool_]


def fit_components(
    group: RowGroup, calibration: Iterable[FeatureSet], *, sinks: int, skipped: int, scaled: bool, rank: int = MAX_RANK
) -> Components:
    """Fits means and components.

    Args:
        group: the tensors.
        calibration: feature sets; iterated twice.
        sinks: how many first rows have means of their own.
        skipped: how many first rows are left out.
        scaled: True to divide each tensor by its own root mean square, False to divide all by one.
        rank: how many components of wide rows are wanted; at most `MAX_RANK`.
    """
    rows, places, samples = _gathered(group, calibration, sinks, skipped)
    means = _means(rows, np.minimum(places, sinks), sinks + 1)
    rows -= means[np.minimum(places, sinks)]
    units = _units(rows, list(group.columns.values()) if scaled else [slice(0, group.width)])
    rows /= units
    basis = principal_directions(rows, rank)
    coefficients, kept = [np.zeros((0, len(basis)), np.float32)], [np.zeros(0, np.int64)]
    for held_out in _folds(samples, folds=_FOLDS if group.width <= EXACT_WIDTH else 1):
        directions = principal_directions(rows[~held_out], rank)
        values = np.zeros((int(held_out.sum()), len(basis)), np.float32)
        values[:, : len(directions)] = _product(rows[held_out], directions.T)[:, : len(basis)]
        coefficients.append(values)
        kept.append(places[held_out])
    return Components(means, units, basis, np.concatenate(coefficients), np.concatenate(kept) == 0)


def principal_directions(rows: Matrix, rank: int = MAX_RANK) -> Matrix:
    """The principal directions of centred rows ``[rows, C]`` by falling variance, orthonormal, ``[K, C]``."""
    count, width = rows.shape
    matrix = torch.from_numpy(rows)
    if width <= EXACT_WIDTH:
        covariance = (matrix.T @ matrix).double()
        return torch.linalg.eigh(covariance).eigenvectors.flip(1).T.float().contiguous().numpy()
    rank = min(rank, count, width, MAX_RANK)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        basis = torch.svd_lowrank(matrix, rank, niter=_ITERATIONS)[2]
    return basis.T.contiguous().numpy()


def project(rows: Matrix, means: Matrix, units: Matrix, basis: Matrix, first: int = 0) -> Matrix:
    """Coefficients ``[rows, K]`` of a sample's rows ``[rows, C]``, behind ``first`` others."""
    with np.errstate(over="ignore"):
        centred = (rows - means[_profiles(first, len(rows), means)]) / units
    limit = np.float32(2.0**60)  # so that sums of products stay finite
    return _product(np.clip(centred, -limit, limit), basis.T)


def reconstruct(coefficients: Matrix, means: Matrix, units: Matrix, basis: Matrix, first: int = 0) -> Matrix:
    """A sample's rows ``[rows, C]`` of coefficients ``[rows, K]``, behind ``first`` others."""
    largest = np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        rows = _product(coefficients, basis) * units + means[_profiles(first, len(coefficients), means)]
    return np.clip(rows, -largest, largest, out=rows)


def _profiles(first: int, rows: int, means: Matrix) -> NDArray[np.intp]:
    return np.minimum(np.arange(first, first + rows), len(means) - 1)


def _gathered(
    group: RowGroup, calibration: Iterable[FeatureSet], sinks: int, skipped: int
) -> tuple[Matrix, NDArray[np.int64], NDArray[np.int64]]:
    """Rows, their places in their samples, and the numbers of these samples."""
    total = 0
    for features in calibration:
        total += int(np.prod(group.row_shape({name: tuple(t.shape) for name, t in features.tensors.items()})))
    stride = max(-(-total * group.width // MAX_VALUES), 1)
    rows, places, samples = [np.zeros((0, group.width), np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, features in enumerate(calibration):
        values = group.gather(features)
        at = np.arange(skipped, len(values))
        at = at[(at < sinks) | (at % stride == number % stride)]
        rows.append(values[at])
        places.append(at)
        samples.append(np.full(len(at), number))
    return np.concatenate(rows), np.concatenate(places), np.concatenate(samples)


def _means(rows: Matrix, profiles: NDArray[np.int64], count: int) -> Matrix:
    """Means by profile, those of places drawn to that of all rows as far as chance may explain what separates them."""
    common = rows.mean(0, dtype=np.float64) if len(rows) else np.zeros(rows.shape[1])
    others = rows[profiles == count - 1]
    means = np.tile(others.mean(0, dtype=np.float64) if len(others) else common, (count, 1))
    for profile in range(count - 1):
        own = rows[profiles == profile]
        if len(own) < 2:
            continue
        mean = own.mean(0, dtype=np.float64)
        apart, within = np.square(mean - means[-1]), own.var(0, dtype=np.float64, ddof=1) / len(own)
        weight = np.divide(apart, apart + within, out=np.zeros_like(apart), where=apart > 0)
        means[profile] += weight * (mean - means[-1])
    return means.astype(np.float32)


def _units(rows: Matrix, parts: list[slice]) -> Matrix:
    """The root mean square of each part's columns, float32 ``[C]``; 1 where nothing varies."""
    units = np.ones(rows.shape[1], np.float32)
    for part in parts:
        power = float(np.mean(np.square(rows[:, part], dtype=np.float64))) if rows[:, part].size else 0.0
        units[part] = np.clip(np.sqrt(power), 1 / LARGEST_UNIT, LARGEST_UNIT) if power > 0 else 1.0
    return units


def _folds(samples: NDArray[np.int64], folds: int) -> Iterator[NDArray[np.bool_]]:
    """Which rows are held out, whole samples at a time; single rows where there are too few samples."""
    units = samples if len(np.unique(samples)) >= _FOLDS else np.arange(len(samples))
    for fold in range(folds):
        yield units % _FOLDS == fold


def _product(first: Matrix, second: Matrix) -> Matrix:
    return (torch.from_numpy(np.ascontiguousarray(first)) @ torch.from_numpy(np.ascontiguousarray(second))).numpy()
