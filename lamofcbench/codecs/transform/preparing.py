"""What stands before a transform of a group of tensors: means, scales, a dictionary; and the rows to fit it to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.sensitivity import kinds_of
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
from lamofcbench.codecs.transform.estimate import FOLDS, Estimate, estimate, untransformed
from lamofcbench.codecs.transform.familiarity import NOTHING, Energies
from lamofcbench.codecs.transform.ingredients import EVERYTHING, Ingredients
from lamofcbench.codecs.transform.means import Means, profile_means
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE, Profiles, find_profiles, rows_of
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.thinning import Thinning
from lamofcbench.codecs.transform.unnamed import Mask, Rows, first_of_names, with_unnamed
from lamofcbench.codecs.transform.weighted import Prepared
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import Axis

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
        unnamed: of rows that the dictionary has no entry for; empty where they are transformed like others.
        unnamed_foreign: of those of foreign samples; likewise.
        first_unnamed: whether first rows are transformed as these are.
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
    unnamed: tuple[Estimate, ...] = ()
    unnamed_foreign: tuple[Estimate, ...] = ()
    first_unnamed: bool = False


@dataclass(frozen=True)
class Samples:
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
    def of(cls, calibration: Iterable[FeatureSet]) -> Samples:
        """Looks feature sets through."""
        digest, shapes = hashlib.sha256(), []
        for features in calibration:
            shapes.append({name: tuple(tensor.shape) for name, tensor in features.tensors.items()})
            for name, tensor in features.tensors.items():
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(tensor_bytes(tensor))
        return cls(calibration, shapes, digest.digest())


def plain_candidates(rows: Prepared, rank: int, ingredients: Ingredients = EVERYTHING) -> tuple[Estimate, ...]:
    """A transform of features alone, and none."""
    known = rows.centred, rows.index, rows.count, rows.profiles
    none = untransformed(*known, shifts=rows.shifts)
    if not ingredients.transform or len(rows.centred) < 2:  # one alone knows of no other what it would look like
        return (none,)
    return estimate(*known, rank, across=ingredients.across, shifts=rows.shifts), none


def unnamed_candidates(rows: Rows, rank: int, ingredients: Ingredients = EVERYTHING) -> tuple[Estimate, ...]:
    """The same for rows that the dictionary has no entry for; none where they are among the others."""
    if rows.unnamed is None:
        return ()
    return plain_candidates(rows.unnamed.rows, min(rank, rows.unnamed.most_directions), ingredients)


def prepare(group: RowGroup, calibration: Samples, ingredients: Ingredients = EVERYTHING) -> tuple[Fitted, Rows]:
    """What stands before a transform, which is yet to be fitted; and the rows to fit it to.

    An entry of a dictionary costs next to nothing beside the values of a wide row. Where rows are narrow, it stays if
    it is cheaper than none.
    """
    fitted, rows = _prepared(group, calibration, ingredients)
    if fitted.dictionary is None or group.width > WIDE:
        return fitted, rows
    without = _prepared(group, calibration, replace(ingredients, dictionary=False))
    costs = [_cost(each, ingredients) for each in (rows, without[1])]
    return (fitted, rows) if costs[0] + BITS_WORTH * fitted.dictionary.bits < costs[1] else without


def _cost(rows: Rows, ingredients: Ingredients) -> float:
    """What a row costs at a moderate step."""
    rank, count = rows.named.group.width, sum(map(len, rows.named.centred))
    named = least_cost(plain_candidates(rows.named, rank, ingredients), MODERATE)
    if rows.unnamed is None:
        return named
    aside = sum(map(len, rows.unnamed.aside))
    unnamed = least_cost(unnamed_candidates(rows, rank, ingredients), MODERATE)
    return (count * named + aside * unnamed) / max(count + aside, 1)


def _prepared(group: RowGroup, calibration: Samples, ingredients: Ingredients) -> tuple[Fitted, Rows]:
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
    weights = [thinning.weights(len(rows)) for rows in centred]
    squares = sum(
        (np.square(rows, dtype=np.float64) * (of * np.square(by))[:, None]).sum(0)
        for rows, of, by in zip(centred, weights, factors, strict=True)
    )
    deviations = np.sqrt(squares / max(sum(of.sum() for of in weights), 1))
    require_finite(deviations)
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
    free: list[Mask] = []
    if repetition is not None:
        count = FIRST_LEVEL + len(LEVELS)
        for rows in samples:
            rows -= means.values[MIDDLE]
            rows /= scale
        if repetition.mostly:  # else a first or last row of no entry would be taken for any other
            by_place = _places_of_their_own(samples, centred, index, repetition)
        free = [free_rows(places, by_place) for places in index]
        dictionary, entries = _predict(samples, repetition, free, centred, index)
    fitted = Fitted(profiles, scale, deviations / scale, means.values, dictionary, by_place)
    shifts = [(each.values - means.values) / scale for each in of_others]
    kinds = [kinds_of(profiles, len(rows)) for rows in centred]
    together = Prepared(group, centred, index, count, kinds, profiles, scale, shifts)
    if repetition is None or dictionary is None or not repetition.mostly or not ingredients.unnamed:
        return fitted, Rows(together)
    of_names = first_of_names(samples, repetition.names, free)
    return fitted, with_unnamed(together, of_names, repetition.names, dictionary, entries)


def _predict(
    about_middle: Sequence[Matrix],
    repetition: Repetition,
    free: Sequence[Mask],
    centred: Sequence[Matrix],
    index: Sequence[Index],
) -> tuple[Dictionary, Index]:
    """Makes a dictionary, and sets rows about what the entries of all other samples predict, with their profiles.

    Args:
        about_middle: the rows of each sample about the middle mean, ``[rows, C]``.
        repetition: their names.
        free: which of them may have an entry, bool ``[rows]``.
        centred: of these rows, what is left; changed.
        index: of these rows, the profile by place; changed.

    Returns:
        The dictionary, and the entry of each name.
    """
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
    return entries.dictionary(uses), rank_of


def require_finite(values: float | NDArray[np.float64]) -> None:
    """Refuses samples whose deviations, or squares of these, are no floats."""
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
