"""Fits the transforms of all groups, once for all steps that are tried one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.sensitivity import RowSensitivity, Sensitivity, digest_of
from lamofcbench.codecs.transform import outliers
from lamofcbench.codecs.transform.block_state import BlockState, stored_weighting
from lamofcbench.codecs.transform.estimate import FOLDS, Estimate, about_others, scaled
from lamofcbench.codecs.transform.familiarity import Energies, Familiarity
from lamofcbench.codecs.transform.ingredients import EVERYTHING, Ingredients
from lamofcbench.codecs.transform.numbered import Numbered
from lamofcbench.codecs.transform.preparing import (
    Fitted,
    Samples,
    plain_candidates,
    prepare,
    require_finite,
    unnamed_candidates,
)
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.unnamed import Rows
from lamofcbench.codecs.transform.weighted import transforms_of, weighted
from lamofcbench.features import FeatureSet

STATE_VALUES = 2**24
"""Values that the transforms of a codec have together where no rank is stated, those for each kind of rows and of
foreign samples included; two bytes each."""
LEAST_WEIGHT = 1e-9
"""Of the mean weight of all columns: what a column has at least."""

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]


def fit_groups(
    groups: Sequence[RowGroup],
    calibration: Iterable[FeatureSet],
    rank: int | None,
    sensitivity: Sensitivity | None = None,
    ingredients: Ingredients = EVERYTHING,
) -> list[Fitted]:
    """Fits a transform to each group of tensors.

    A ladder of steps fits the same transforms again and again, so the last ones are kept.

    Args:
        groups: the tensors.
        calibration: feature sets; iterated once, and for each group, so that one is in memory at a time; again for
            narrow groups with a dictionary.
        rank: of each transform; None for what fits `STATE_VALUES`.
        sensitivity: of the tail, for transforms in its metric; None for transforms of features alone.
        ingredients: what transforms of features alone are made of.
    """
    known = digest_of(sensitivity.groups) if sensitivity else ""
    samples = Samples.of(calibration)
    key = (tuple(groups), rank, samples.digest, known, ingredients)
    kept = _LAST[0]  # read and replaced as a whole: another thread may fit something else meanwhile
    if kept is not None and kept[0] == key:
        return kept[1]
    _LAST[0] = None
    squares = sum(group.width**2 for group in groups)
    most = [STATE_VALUES * group.width // max(squares, 1) if rank is None else rank for group in groups]
    if sensitivity is None:
        fitted = [_fit(group, samples, bound, ingredients) for group, bound in zip(groups, most, strict=True)]
    else:
        fitted = _fit_in_metric(groups, samples, rank, sensitivity)
    _LAST[0] = key, fitted
    return fitted


_Key = tuple[tuple[RowGroup, ...], int | None, bytes, str, Ingredients]
_LAST: list[tuple[_Key, list[Fitted]] | None] = [None]


@dataclass(frozen=True)
class Part:
    """Rows of a group that are transformed alike, at a step of the quantiser.

    Attributes:
        home: one of the candidates for them.
        foreign: one of those for foreign samples; None where they are transformed like others.
        level_frequencies: of the rows.
    """

    home: Numbered
    foreign: Numbered | None
    level_frequencies: NDArray[np.int32]

    def stored(self) -> dict[str, Tensor]:
        """The fields of a `BlockState` that hold transforms and tables."""
        fields = {"level_frequencies": torch.from_numpy(self.level_frequencies)} | self.home.stored()
        weighting = self.home.chosen.weighting
        if weighting is not None:
            fields |= stored_weighting(weighting.kept(self.home.tables.shape[1]))
        if self.foreign is not None:
            fields |= {f"foreign_{name}": tensor for name, tensor in self.foreign.stored().items()}
        return fields


def block_state(fitted: Fitted, step: float, named: Part, unnamed: Part | None, familiarity: Familiarity) -> BlockState:
    """What a codec keeps of a fitted group.

    Args:
        fitted: the group.
        step: of the quantiser.
        named: its rows.
        unnamed: those that its dictionary has no entry for; None where they are among the others.
        familiarity: with the transform of features alone.
    """
    chosen = named.home.chosen
    reach = step if chosen.weighting is None else step * chosen.weighting.units.astype(np.float64)
    limits = (outliers.DEVIATIONS * fitted.deviations + outliers.STEPS * reach) * fitted.scale
    state = BlockState(
        places=torch.tensor([fitted.profiles.places], dtype=torch.int32),
        scale=torch.from_numpy(fitted.scale),
        mean=torch.from_numpy(fitted.mean),
        limits=torch.from_numpy(np.minimum(limits, np.finfo(np.float32).max).astype(np.float32)),
        energies=torch.from_numpy(familiarity.expected),
        usual=torch.tensor([familiarity.directions], dtype=torch.int32),
        first_unnamed=None if unnamed is None else torch.tensor([fitted.first_unnamed], dtype=torch.uint8),
        unnamed={} if unnamed is None else unnamed.stored(),
        **named.stored(),
    )
    known = fitted.dictionary
    if known is None:
        return state
    return replace(
        state,
        by_place=torch.tensor(fitted.by_place, dtype=torch.uint8),
        named=torch.tensor([known.columns.start, known.columns.stop], dtype=torch.int32),
        entries=torch.from_numpy(known.entries),
        units=torch.from_numpy(known.units),
        levels=torch.from_numpy(known.levels),
        entry_frequencies=torch.from_numpy(known.frequencies),
        farthest=torch.tensor([known.farthest], dtype=torch.float32),
    )


def _fit(group: RowGroup, calibration: Samples, rank: int, ingredients: Ingredients) -> Fitted:
    fitted, rows = prepare(group, calibration, ingredients)
    plain_ones = plain_candidates(rows.named, rank, ingredients)
    return replace(
        fitted,
        candidates=plain_ones,
        energies=_energies(rows, plain_ones[0]),
        unnamed=unnamed_candidates(rows, rank, ingredients),
        first_unnamed=rows.first_unnamed,
    )


def _energies(rows: Rows, plain: Estimate) -> Energies:
    """Of the rows, with the directions of a transform of features alone, if it is one.

    Of rows that the dictionary has no entry for as well, which that transform was not fitted to.
    """
    named = rows.named
    folds = min(FOLDS, len(named.centred))
    held_out = [
        about_others([values], number % folds, named.shifts, named.profiles)[0]
        for number, values in enumerate(named.centred)
    ]
    none = [np.zeros((len(values), 0), np.float32) for values in named.centred]
    coefficients = none if plain.analysis is None else plain.coefficients
    if rows.unnamed is not None:
        directions = np.zeros((0, named.group.width), np.float32) if plain.analysis is None else plain.analysis
        pairs = list(zip(rows.unnamed.aside, rows.unnamed.where, strict=True))
        coefficients = [
            _inserted(values, apart @ directions.T, where)
            for values, (apart, where) in zip(coefficients, pairs, strict=True)
        ]
        held_out = [_inserted(values, *pair) for values, pair in zip(held_out, pairs, strict=True)]
    unnamed = None if rows.unnamed is None else rows.unnamed.where
    return Energies.of(held_out, coefficients, named.profiles, unnamed)


def _inserted(rows: Matrix, others: Matrix, where: NDArray[np.bool_]) -> Matrix:
    """Rows, with others where these are, bool ``[rows and others]``."""
    both = np.empty((len(where), rows.shape[1]), np.float32)
    both[~where], both[where] = rows, others
    return both


def _fit_in_metric(
    groups: Sequence[RowGroup], calibration: Samples, rank: int | None, sensitivity: Sensitivity
) -> list[Fitted]:
    """Fits transforms in the tail's metric, with one unit for the coefficients of all groups.

    The unit is such that all coefficients have as much energy as without a metric, so that steps mean about the same.
    A group for which no weights do better gets a transform of features alone, as large as the group matters.
    """
    values = sum((2 * transforms_of(known) + 1) * known.group.width**2 for known in sensitivity.groups)
    floor = LEAST_WEIGHT * sensitivity.mean_weight or 1.0  # of a tail that answers to nothing, all is worth the same
    made: list[tuple[Fitted, tuple[Estimate, ...], float]] = []
    plain = in_metric = 0.0
    for group, known in zip(groups, sensitivity.groups, strict=True):
        fitted, rows = prepare(group, calibration)
        bound, shared_bound = rank, 0
        if bound is None:
            bound = STATE_VALUES * group.width // max(values, 1)
            shared_bound = bound * transforms_of(known)
        found, weight = weighted(rows.named, known, bound, floor, shared_bound)
        energy = _energy(rows.named.centred)
        plain += energy
        in_metric += _energy(found[0].coefficients) if found else weight * energy
        plain_ones, unnamed_ones = plain_candidates(rows.named, bound), unnamed_candidates(rows, bound)
        fitted = replace(fitted, energies=_energies(rows, plain_ones[0]), first_unnamed=rows.first_unnamed)
        if found:
            fitted = replace(fitted, foreign=plain_ones, unnamed_foreign=unnamed_ones)
            fitted = replace(fitted, unnamed=_unnamed_in_metric(rows, known, bound, floor))
        else:
            fitted = replace(fitted, candidates=plain_ones, unnamed=unnamed_ones)
        made.append((fitted, found, weight))
    require_finite(in_metric)
    unit = np.sqrt(in_metric / plain) if plain > 0 and in_metric > 0 else 1.0
    return [
        replace(
            fitted,
            candidates=tuple(scaled(each, unit) for each in found),
            unnamed=tuple(scaled(each, unit) for each in fitted.unnamed),
        )
        if found
        else _in_units(fitted, unit / np.sqrt(weight))
        for fitted, found, weight in made
    ]


def _unnamed_in_metric(rows: Rows, known: RowSensitivity, rank: int, floor: float) -> tuple[Estimate, ...]:
    """Of rows that the dictionary has no entry for; none where they are among others."""
    if rows.unnamed is None:
        return ()
    most = rows.unnamed.most_directions
    ranks = min(rank, most // transforms_of(known)), min(rank * transforms_of(known), most)
    return weighted(rows.unnamed.rows, known, ranks[0], floor, ranks[1], always=True)[0]


def _energy(samples: Sequence[Matrix]) -> float:
    return sum(float(np.square(rows, dtype=np.float64).sum()) for rows in samples)


def _in_units(fitted: Fitted, size: float) -> Fitted:
    """The same with all that is scaled in units of this size."""
    dictionary = fitted.dictionary
    size = min(max(size, 1e-9), 1e9)
    return replace(
        fitted,
        scale=(fitted.scale * size).astype(np.float32),
        deviations=fitted.deviations / size,
        dictionary=None
        if dictionary is None
        else replace(dictionary, units=(dictionary.units / size).astype(np.float32)),
        candidates=tuple(scaled(each, size) for each in fitted.candidates),
        unnamed=tuple(scaled(each, size) for each in fitted.unnamed),
        energies=fitted.energies.in_units(size),
    )
