"""Fits the transforms of all groups, once for all steps that are tried one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.sensitivity import Sensitivity, digest_of
from lamofcbench.codecs.transform import outliers
from lamofcbench.codecs.transform.block_state import BlockState, stored_weighting
from lamofcbench.codecs.transform.choice import MODERATE, least_cost
from lamofcbench.codecs.transform.classes import BITS_WORTH
from lamofcbench.codecs.transform.dictionary import (
    FIRST_LEVEL,
    LEVELS,
    NONE,
    Dictionary,
    EntryMeans,
    Repetition,
    find_repetition,
    free_rows,
    level_of,
)
from lamofcbench.codecs.transform.estimate import FOLDS, Estimate, about_others, estimate, scaled, untransformed
from lamofcbench.codecs.transform.familiarity import NOTHING, Energies, Familiarity
from lamofcbench.codecs.transform.ingredients import EVERYTHING, Ingredients
from lamofcbench.codecs.transform.means import Means, profile_means
from lamofcbench.codecs.transform.numbered import Numbered
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE, Profiles, find_profiles, rows_of
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.thinning import Thinning
from lamofcbench.codecs.transform.weighted import Prepared, transforms_of, weighted
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import Axis

STATE_VALUES = 2**24
"""Values that the transforms of a codec have together where no rank is stated, those for each kind of rows and of
foreign samples included; two bytes each."""
NAMES_WEIGHT = 3.0
"""How much larger tensors are made whose rows an entry of the dictionary knows: they say which token a row is of.

Entries predict them, so that it costs nothing but for new words, and what other tasks say is told from these.
"""
LEAST_MET = 0.98
"""Of the rows of a sample: where fewer have words that other samples have, new ones would cost too much for that."""
WIDE = 256
"""Columns of rows beside which the number of an entry, at most 15 bits, costs next to nothing."""
LEAST_ASKED = 4
"""Calibration samples of which those of all other folds are asked what they expect; fewer would know too little."""
LEAST_WEIGHT = 1e-9
"""Of the mean weight of all columns: what a column has at least."""

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Fitted:
    """A group's transform and what stands before it.

    Attributes:
        profiles: of the places of rows.
        scale: what a column is divided by, the same for all columns of a tensor, float32 ``[C]``.
        deviations: of scaled columns about the means of their profiles, ``[C]``.
        mean: of rows before they are scaled, float32 ``[P or 1, C]``.
        dictionary: of scaled rows that come again; None where none do.
        by_place: whether the first and the last row have profiles of their own where there is a dictionary.
        candidates: of these rows: a transform, and none.
        energies: of these rows, with the directions of the transform of features alone.
        foreign: likewise, for foreign samples; empty where they are transformed like others.
    """

    profiles: Profiles
    scale: Matrix
    deviations: NDArray[np.float64]
    mean: Matrix
    dictionary: Dictionary | None
    by_place: tuple[bool, bool]
    candidates: tuple[Estimate, ...] = ()
    energies: Energies = NOTHING
    foreign: tuple[Estimate, ...] = ()


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
        calibration: feature sets; iterated once more than there are groups, so that one group is in memory at a time.
        rank: of each transform; None for what fits `STATE_VALUES`.
        sensitivity: of the tail, for transforms in its metric; None for transforms of features alone.
        ingredients: what transforms of features alone are made of.
    """
    known = digest_of(sensitivity.groups) if sensitivity else ""
    samples = _Samples.of(calibration)
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


def block_state(
    fitted: Fitted,
    step: float,
    home: Numbered,
    foreign: Numbered | None,
    level_frequencies: NDArray[np.int32],
    familiarity: Familiarity,
) -> BlockState:
    """What a codec keeps of a fitted group.

    Args:
        fitted: the group.
        step: of the quantiser.
        home: one of its candidates.
        foreign: one of those for foreign samples; None where they are transformed like others.
        level_frequencies: of rows.
        familiarity: with the transform of features alone.
    """
    chosen = home.chosen
    reach = step if chosen.weighting is None else step * chosen.weighting.units.astype(np.float64)
    limits = (outliers.DEVIATIONS * fitted.deviations + outliers.STEPS * reach) * fitted.scale
    state = BlockState(
        places=torch.tensor([fitted.profiles.places], dtype=torch.int32),
        scale=torch.from_numpy(fitted.scale),
        mean=torch.from_numpy(fitted.mean),
        limits=torch.from_numpy(np.minimum(limits, np.finfo(np.float32).max).astype(np.float32)),
        energies=torch.from_numpy(familiarity.expected),
        usual=torch.tensor([familiarity.directions], dtype=torch.int32),
        level_frequencies=torch.from_numpy(level_frequencies),
        **home.stored(),
    )
    if chosen.weighting is not None:
        state = replace(state, **stored_weighting(chosen.weighting.kept(home.tables.shape[1])))
    if foreign is not None:
        state = replace(state, **{f"foreign_{name}": tensor for name, tensor in foreign.stored().items()})
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


@dataclass(frozen=True)
class _Samples:
    """Calibration samples that were looked through once.

    Attributes:
        features: of each; read again when they are iterated.
        shapes: of the tensors of each.
        digest: sha256 of all.
    """

    features: Iterable[FeatureSet]
    shapes: Sequence[Mapping[str, tuple[int, ...]]]
    digest: bytes

    @classmethod
    def of(cls, calibration: Iterable[FeatureSet]) -> _Samples:
        digest, shapes = hashlib.sha256(), []
        for features in calibration:
            shapes.append({name: tuple(tensor.shape) for name, tensor in features.tensors.items()})
            for name, tensor in features.tensors.items():
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(tensor_bytes(tensor))
        return cls(calibration, shapes, digest.digest())


def _fit(group: RowGroup, calibration: _Samples, rank: int, ingredients: Ingredients) -> Fitted:
    fitted, rows = _prepare(group, calibration, ingredients)
    plain_ones = _plain(rows, rank, ingredients)
    return replace(fitted, candidates=plain_ones, energies=_energies(rows, plain_ones[0]))


def _plain(rows: Prepared, rank: int, ingredients: Ingredients = EVERYTHING) -> tuple[Estimate, ...]:
    """A transform of features alone, and none."""
    known = rows.centred, rows.index, rows.count, rows.profiles
    none = untransformed(*known, shifts=rows.shifts)
    if not ingredients.transform or len(rows.centred) < 2:  # one alone knows of no other what it would look like
        return (none,)
    return estimate(*known, rank, across=ingredients.across, shifts=rows.shifts), none


def _energies(rows: Prepared, plain: Estimate) -> Energies:
    """Of the rows, with the directions of a transform of features alone, if it is one."""
    none = [np.zeros((len(values), 0), np.float32) for values in rows.centred]
    folds = min(FOLDS, len(rows.centred))
    held_out = [
        about_others([values], number % folds, rows.shifts, rows.profiles)[0]
        for number, values in enumerate(rows.centred)
    ]
    return Energies.of(held_out, none if plain.analysis is None else plain.coefficients, rows.profiles)


def _fit_in_metric(
    groups: Sequence[RowGroup], calibration: _Samples, rank: int | None, sensitivity: Sensitivity
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
        fitted, rows = _prepare(group, calibration)
        bound, shared_bound = rank, 0
        if bound is None:
            bound = STATE_VALUES * group.width // max(values, 1)
            shared_bound = bound * transforms_of(known)
        found, weight = weighted(rows, known, bound, floor, shared_bound)
        energy = _energy(rows.centred)
        plain += energy
        in_metric += _energy(found[0].coefficients) if found else weight * energy
        plain_ones = _plain(rows, bound)
        fitted = replace(fitted, energies=_energies(rows, plain_ones[0]))
        fitted = replace(fitted, foreign=plain_ones) if found else replace(fitted, candidates=plain_ones)
        made.append((fitted, found, weight))
    _require_finite(in_metric)
    unit = np.sqrt(in_metric / plain) if plain > 0 and in_metric > 0 else 1.0
    return [
        replace(fitted, candidates=tuple(scaled(each, unit) for each in found))
        if found
        else _in_units(fitted, unit / np.sqrt(weight))
        for fitted, found, weight in made
    ]


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
        energies=fitted.energies.in_units(size),
    )


def _prepare(group: RowGroup, calibration: _Samples, ingredients: Ingredients = EVERYTHING) -> tuple[Fitted, Prepared]:
    """What stands before a transform, which is yet to be fitted; and the rows to fit it to.

    An entry of a dictionary costs next to nothing beside the values of a wide row. Where rows are narrow, it stays if
    it is cheaper than none.
    """
    fitted, rows = _prepared(group, calibration, ingredients)
    if fitted.dictionary is None or group.width > WIDE:
        return fitted, rows
    without = _prepared(group, calibration, replace(ingredients, dictionary=False))
    costs = [least_cost(_plain(each, group.width, ingredients), MODERATE) for each in (rows, without[1])]
    return (fitted, rows) if costs[0] + BITS_WORTH * fitted.dictionary.bits < costs[1] else without


def _prepared(group: RowGroup, calibration: _Samples, ingredients: Ingredients) -> tuple[Fitted, Prepared]:
    """The same, with a dictionary wherever rows come again."""
    shapes = [group.row_shape(of_sample) for of_sample in calibration.shapes]
    profiles = find_profiles(shapes, [isinstance(axis, Axis) for axis in group.row_axes], group.width)
    thinning = Thinning.of([rows_of(shape) for shape in shapes], group.width, profiles.places)
    samples = thinning.kept(group.gather(features) for features in calibration.features)
    repetition = find_repetition(group, samples) if ingredients.dictionary and not profiles.places else None
    if not ingredients.places:
        profiles = Profiles(0)
    asked = repetition is None and len(samples) >= LEAST_ASKED
    means, of_others = profile_means(samples, profiles, min(FOLDS, len(samples)) if asked else 1)
    with np.errstate(over="ignore", invalid="ignore"):
        centred = [(rows - means.of(len(rows))).astype(np.float32) for rows in samples]
    factors = [_unseen(means, len(rows)) for rows in centred]
    weights = [thinning.weights(len(rows)) * np.square(of) for rows, of in zip(centred, factors, strict=True)]
    squares = sum(
        (np.square(rows, dtype=np.float64) * of[:, None]).sum(0) for rows, of in zip(centred, weights, strict=True)
    )
    count_of_rows = sum(float(thinning.weights(len(rows)).sum()) for rows in centred)
    deviations = np.sqrt(squares / max(count_of_rows, 1))
    _require_finite(deviations)
    scale = _scales(group, deviations)
    if repetition is not None and repetition.met_before >= LEAST_MET:
        for columns in repetition.determined:
            scale[columns] /= np.float32(NAMES_WEIGHT)
    for rows, of in zip(centred, factors, strict=True):
        rows /= scale
        if not asked:
            rows *= of[:, None].astype(np.float32)
    index = [profiles.of(len(rows)) for rows in centred]
    count, dictionary, by_place = profiles.count, None, (True, True)
    if repetition is not None:
        count = FIRST_LEVEL + len(LEVELS)
        for rows in samples:
            rows -= means.values[MIDDLE]
            rows /= scale
        if repetition.mostly:  # else a first or last row of no entry would be taken for any other
            by_place = _places_of_their_own(samples, centred, index, repetition)
        dictionary = _predict(samples, repetition, by_place, centred, index)
    fitted = Fitted(profiles, scale, deviations / scale, means.values, dictionary, by_place)
    shifts = [(each.values - means.values) / scale for each in of_others]
    return fitted, Prepared(group, centred, index, count, profiles, scale, shifts)


def _predict(
    about_middle: Sequence[Matrix],
    repetition: Repetition,
    by_place: tuple[bool, bool],
    centred: Sequence[Matrix],
    index: Sequence[Index],
) -> Dictionary:
    """Makes a dictionary, and sets rows about what the entries of all other samples predict, with their profiles.

    Args:
        about_middle: the rows of each sample about the middle mean, ``[rows, C]``.
        repetition: their names.
        by_place: whether first and last rows keep the profiles of their places.
        centred: of these rows, what is left; changed.
        index: of these rows, the profile by place; changed.
    """
    free = [free_rows(places, by_place) for places in index]
    entries = EntryMeans(about_middle, repetition, free)
    order = entries.order()
    rank_of = np.full(repetition.count, NONE, np.intp)
    rank_of[order] = np.arange(len(order))
    uses = np.zeros(len(order) + 1, np.int64)
    for number, (rows, names, may) in enumerate(zip(about_middle, repetition.names, free, strict=True)):
        predicted, counts = entries.without(names, rows, may)
        gain = (predicted * (2 * rows - predicted)).sum(1)
        known = may & (counts > 0) & (gain > 0) & (rank_of[names] != NONE)
        unknown = may & ~known
        centred[number][known] = (rows - predicted)[known]
        centred[number][unknown] = rows[unknown]
        index[number][may] = MIDDLE
        index[number][known] = FIRST_LEVEL + level_of(counts[known])
        uses += np.bincount(np.where(known, rank_of[names], NONE)[may] + 1, minlength=len(uses))
    return entries.dictionary(uses)


def _require_finite(values: float | NDArray[np.float64]) -> None:
    if not np.isfinite(values).all():
        raise CodecError(
            "calibration samples hold values that are too large for a transform; look for masks among the features"
        )


def _unseen(means: Means, rows: int) -> NDArray[np.float64]:
    """How many times as far each row of a sample would be from means that it is no part of, ``[rows]``."""
    counts = means.counts[means.profiles.of(rows)]
    return np.where(counts > 1, counts / np.maximum(counts - 1, 1), 2.0)


def _scales(group: RowGroup, deviations: NDArray[np.float64]) -> Matrix:
    """The root mean square of the deviations of each tensor's columns, ``[C]``; 1 where it does not vary."""
    scale = np.ones(group.width, np.float32)
    for columns in group.columns.values():
        square = float(np.mean(np.square(deviations[columns]))) if columns.stop > columns.start else 0.0
        if square > 0:
            scale[columns] = max(np.sqrt(square), np.finfo(np.float32).tiny)
    return scale


def _places_of_their_own(
    about_middle: Sequence[Matrix], centred: Sequence[Matrix], index: Sequence[Index], repetition: Repetition
) -> tuple[bool, bool]:
    """Whether first and last rows are nearer to what their places have in common than to what a dictionary says."""
    everything = [np.ones(len(rows), bool) for rows in about_middle]
    entries = EntryMeans(about_middle, repetition, everything)
    by_place, by_entry = np.zeros(3), np.zeros(3)
    for rows, placed, places, names, may in zip(
        about_middle, centred, index, repetition.names, everything, strict=True
    ):
        predicted, _ = entries.without(names, rows, may)
        for place in (FIRST, LAST):
            at = places == place
            by_place[place] += np.square(placed[at]).sum(dtype=np.float64)
            by_entry[place] += np.square(rows[at] - predicted[at]).sum(dtype=np.float64)
    return bool(by_place[FIRST] <= by_entry[FIRST]), bool(by_place[LAST] <= by_entry[LAST])
