"""Candidates with their tables: of which class a transform's coefficients are at a step, and what calibration costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.entropy import FrequencyTable
from lamofcbench.codecs.transform.choice import cheapest
from lamofcbench.codecs.transform.classes import AN_OCTAVE, LOWEST, UNCODED, TableCounts, classes_of
from lamofcbench.codecs.transform.estimate import Estimate
from lamofcbench.codecs.transform.levels import REACH, SHIFTS, Costs, Levels, choose_levels, level_frequencies

SPARE_VALUES = 2**22
"""Values that the transforms of a codec have together at least, as far as there are directions, whatever the step."""
LEAST_DEVIATION = 0.05
"""Of the root mean square of all coefficients: what each deviates by at least in rows that deviate more than usual."""


@dataclass(frozen=True)
class Numbered:
    """A candidate with the tables of its coefficients.

    Attributes:
        chosen: the candidate.
        tables: of coefficients, int16 ``[P, K]``.
        others_tables: the same as the samples of all other folds tell them, by fold, int16 ``[F, P, K]``.
        residual_tables: of columns, int16 ``[C]``.
        others_residual_tables: likewise by fold, int16 ``[F, C]``.
    """

    chosen: Estimate
    tables: NDArray[np.int16]
    others_tables: NDArray[np.int16]
    residual_tables: NDArray[np.int16]
    others_residual_tables: NDArray[np.int16]

    @classmethod
    def of(cls, candidates: Sequence[Estimate], step: float, spare: int) -> Numbered:
        """The cheapest candidate at a step of the quantiser.

        Args:
            candidates: to choose from.
            step: of the quantiser.
            spare: directions are kept up to so many that no row codes but at another level than the usual one.
        """
        chosen = cheapest(candidates, step)
        deviations = chosen.deviations
        floor = LEAST_DEVIATION * float(np.sqrt(np.square(deviations).sum() / max(deviations.size, 1)))
        least = min(max(int(classes_of(np.array(floor), step, REACH + 1)) - LOWEST, -SHIFTS[-1] + 3), -AN_OCTAVE)
        tables, others = (
            np.maximum(_numbers(each, step), np.int16(least)) for each in (deviations, chosen.others_deviations)
        )
        kept = tables.shape[1]
        if chosen.analysis is not None or chosen.weighting is not None:
            kept = min(kept, max(int(np.flatnonzero((tables >= 0).any(0)).max(initial=-1)) + 1, spare))
        return cls(
            replace(chosen, coefficients=[values[:, :kept] for values in chosen.coefficients]),
            tables[:, :kept],
            others[:, :, :kept],
            _numbers(chosen.leftovers.deviations, step),
            _numbers(chosen.leftovers.others_deviations, step),
        )

    @property
    def highest(self) -> int:
        """The largest number of a table."""
        tables = (self.tables, self.others_tables, self.residual_tables, self.others_residual_tables)
        return int(max(each.max(initial=0) for each in tables))

    @property
    def directions(self) -> int:
        """How many directions a transform of features alone keeps; none where there is no transform."""
        return 0 if self.chosen.analysis is None else self.tables.shape[1]

    def stored(self) -> dict[str, Tensor]:
        """The fields of a `BlockState` that hold a transform of features alone, and tables."""
        found = {"tables": torch.from_numpy(self.tables), "residual_tables": torch.from_numpy(self.residual_tables)}
        if self.chosen.analysis is not None:
            found["analysis"] = torch.from_numpy(self.chosen.analysis[: self.tables.shape[1]]).half()
        if self.chosen.rows is not None:
            found["rows"] = torch.from_numpy(self.chosen.rows).half()
        return found


def _numbers(deviations: NDArray[np.float64], step: float) -> NDArray[np.int16]:
    return (classes_of(deviations, step, REACH + 1) - LOWEST).astype(np.int16)


def counted(
    groups: Sequence[Numbered], levels: Sequence[Sequence[NDArray[np.int32]]], classes: NDArray[np.int64], step: float
) -> TableCounts:
    """The tokens of calibration rows at their levels, by table."""
    tables = TableCounts(classes)
    most = np.int16(len(classes) - 1)
    for known, of_group in zip(groups, levels, strict=True):
        chosen = known.chosen
        of_samples = zip(chosen.coefficients, chosen.profiles, chosen.folds, map(Levels, of_group), strict=True)
        for values, profiles, fold, level in of_samples:
            numbers = np.minimum(known.others_tables[fold, profiles] + level.classes, most)
            tables.add(values / np.float32(step) * level.gains, np.maximum(numbers, UNCODED))
        numbers = np.maximum(known.others_residual_tables[chosen.leftovers.folds], UNCODED)
        tables.add(chosen.leftovers.rows / np.float32(step), numbers)
    return tables


def chosen_levels(known: Numbered, costs: Costs, step: float) -> list[NDArray[np.int32]]:
    """The levels of calibration rows."""
    chosen, table = known.chosen, FrequencyTable(level_frequencies())
    none = np.empty(0, np.intp)
    return [
        choose_levels(values / np.float32(step), known.others_tables[fold], profiles, none, costs, table).numbers
        for values, profiles, fold in zip(chosen.coefficients, chosen.profiles, chosen.folds, strict=True)
    ]
