"""The sensitivity of several tails as one: what matters to any task of a mixture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.sensitivity import FACTOR_ROWS, RowSensitivity, Sensitivity
from lamofcbench.codecs.transform.rows import RowGroup, row_groups
from lamofcbench.errors import CodecError
from lamofcbench.scenarios.base import FeatureSpecs


def mixed_sensitivity(parts: Sequence[Sensitivity], specs: FeatureSpecs, origin: str) -> Sensitivity:
    """The mean of sensitivities, each row that went into one of them counted once.

    Args:
        parts: of tensors that differ in nothing but how long they may be; at least one.
        specs: of the tensors of all of them.
        origin: see `Sensitivity`.

    Raises:
        CodecError: if they are of other tensors, or of places that repeat otherwise.
    """
    groups = row_groups(specs)
    places = [each.places for each in parts[0].groups]
    for part in parts:
        if [each.group.columns for each in part.groups] != [group.columns for group in groups]:
            raise CodecError("a sensitivity is of other tensors than those of the mixture; mix those of one backbone")
        if [each.places for each in part.groups] != places:
            raise CodecError("sensitivities are of places that repeat otherwise; mix those of samples of one size")
    return Sensitivity(
        tuple(_mixed(group, [part.groups[index] for part in parts]) for index, group in enumerate(groups)), origin
    )


def _mixed(group: RowGroup, parts: Sequence[RowSensitivity]) -> RowSensitivity:
    scale = parts[0].scale
    counts = np.sum([part.counts for part in parts], axis=0)
    shares = np.stack([part.counts for part in parts]) / np.maximum(counts, 1)
    squares = np.zeros_like(parts[0].squares, np.float64)
    signs = np.random.default_rng(0)  # of factors: what differs between parts cancels in the mean of their square
    for part, share in zip(parts, shares[..., None, None], strict=True):
        units = scale.astype(np.float64) / part.scale
        if part.is_factored:
            squares += np.sqrt(share) * part.squares * units * signs.choice((-1.0, 1.0), (FACTOR_ROWS, 1))
        else:
            squares += share * part.squares * units * units[:, None]
    across = None
    if parts[0].across is not None:
        across = np.sum([_of_unit_trace(part) for part in parts], axis=0).astype(np.float32)
    return RowSensitivity(group, parts[0].places, scale, counts, squares.astype(np.float32), across)


def _of_unit_trace(part: RowSensitivity) -> NDArray[np.float64]:
    """Products over places, whose units differ from part to part: a trace of 1 over both halves."""
    assert part.across is not None
    across: NDArray[np.float64] = part.across.astype(np.float64)
    return across / max(float(np.trace(across.sum(0))), np.finfo(np.float64).tiny)
