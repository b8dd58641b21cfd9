"""Fits the transforms of all groups, once for all steps that are tried one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.transform.estimate import Estimate, column_deviations, estimate
from lamofcbench.codecs.transform.profiles import find_profiles
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import Axis

STATE_VALUES = 2**24
"""Values that the transforms of a codec have together where no rank is stated; two bytes each."""


@dataclass(frozen=True)
class Fitted:
    """A group's transform and what its columns are divided by before it.

    Attributes:
        scale: float32 ``[C]``, the same for all columns of a tensor.
        deviations: of columns about the means of their profiles, before scaling, ``[C]``.
        estimate: of scaled rows.
    """

    scale: NDArray[np.float32]
    deviations: NDArray[np.float64]
    estimate: Estimate


def fit_groups(groups: Sequence[RowGroup], calibration: Iterable[FeatureSet], rank: int | None) -> list[Fitted]:
    """Fits a transform to each group of tensors.

    A ladder of steps fits the same transforms again and again, so the last ones are kept.

    Args:
        groups: the tensors.
        calibration: feature sets; iterated as often as there are groups, so that one group is in memory at a time.
        rank: of each transform; None for what fits `STATE_VALUES`.
    """
    key = (tuple(groups), rank, _digest(calibration))
    if _LAST.get("key") != key:
        _LAST.clear()
        widths = sum(group.width**2 for group in groups)
        fitted = []
        for group in groups:
            share = STATE_VALUES * group.width**2 // max(widths, 1)
            fitted.append(_fit(group, calibration, share // max(group.width, 1) if rank is None else rank))
        _LAST.update(key=key, fitted=fitted)
    return _LAST["fitted"]


_LAST: dict[str, object] = {}


def _fit(group: RowGroup, calibration: Iterable[FeatureSet], rank: int) -> Fitted:
    shapes, samples = [], []
    for features in calibration:
        shapes.append(group.row_shape({name: tuple(tensor.shape) for name, tensor in features.tensors.items()}))
        samples.append(group.gather(features))
    profiles = find_profiles(shapes, [isinstance(axis, Axis) for axis in group.row_axes])
    raw = column_deviations(samples, profiles)
    scale = np.ones(group.width, np.float32)
    for columns in group.columns.values():
        deviation = float(np.sqrt(np.mean(np.square(raw[columns])))) if columns.stop > columns.start else 0.0
        scale[columns] = max(deviation, np.finfo(np.float32).tiny) if deviation > 0 else 1.0
    for rows in samples:
        rows /= scale
    return Fitted(scale, raw, estimate(samples, profiles, rank))


def _digest(calibration: Iterable[FeatureSet]) -> bytes:
    digest = hashlib.sha256()
    for features in calibration:
        for name, tensor in features.tensors.items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor_bytes(tensor))
    return digest.digest()
