"""What a codec keeps of a group of tensors: its transform, and what stands before and behind it, as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor

from lamofcbench.codecs.transform.dictionary import FIRST_LEVEL, LEVELS, Dictionary
from lamofcbench.codecs.transform.familiarity import parts_of
from lamofcbench.codecs.transform.levels import COUNT
from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.weighting import Weighting
from lamofcbench.errors import CodecError


@dataclass(frozen=True)
class BlockState:
    """What a block has learnt, as tensors.

    Attributes:
        places: over how many rows the pattern of places repeats, int32 ``[1]``; 0 where their number varies.
        scale: what a column is divided by before the transform, float32 ``[C]``.
        mean: of rows by profile, before scaling, float32 ``[P or 1, C]``.
        limits: a value further than this from its mean is sent as it is, float32 ``[C]``.
        tables: of coefficients at the usual level, int16 ``[P, K]``; negative where they are taken for zero.
        residual_tables: of what the transform leaves of a column, int16 ``[C]``; likewise.
        energies: that rows are expected to have beyond the usual directions, by kind, float32 ``[kinds]``.
        usual: how many of the leading directions of the transform of features alone these are, int32 ``[1]``.
        level_frequencies: of the levels of rows, int32.
        analysis: orthonormal rows, float16 ``[K, C]``; None where the coefficients are the columns themselves.
        rows: the transform over the places of a sample, float16 ``[R, R]``; None where there is none.
        by_place: with a dictionary, whether the first and the last row have profiles of their own, uint8 ``[2]``.
        named: with a dictionary, the first column of the tensor that names rows, and the one behind it, int32 ``[2]``.
        entries: of the dictionary, int8 ``[N, C]``.
        units: of the entries' columns, float32 ``[C]``.
        levels: of the entries, int8 ``[N]``.
        entry_frequencies: of the tokens of entry numbers, int32.
        farthest: how far a row may be from the entry that names it, as a share of its square, float32 ``[1]``.
        analyses, gains, syntheses, lifts, back, units_of_steps: with a transform in the tail's metric, what a
            `Weighting` holds; its analysis over places is in ``rows``.
        foreign_tables, foreign_residual_tables, foreign_analysis, foreign_rows: what stands in place of the transform
            in the tail's metric for foreign samples.
        first_unnamed: whether first rows are transformed as rows of no entry, uint8 ``[1]``; None where none is apart.
        unnamed: what stands in place of transforms and tables for rows that the dictionary has no entry for, by name;
            empty where they are transformed like others.
    """

    places: Tensor
    scale: Tensor
    mean: Tensor
    limits: Tensor
    tables: Tensor
    residual_tables: Tensor
    energies: Tensor
    usual: Tensor
    level_frequencies: Tensor
    analysis: Tensor | None = None
    rows: Tensor | None = None
    by_place: Tensor | None = None
    named: Tensor | None = None
    entries: Tensor | None = None
    units: Tensor | None = None
    levels: Tensor | None = None
    entry_frequencies: Tensor | None = None
    farthest: Tensor | None = None
    analyses: Tensor | None = None
    gains: Tensor | None = None
    syntheses: Tensor | None = None
    lifts: Tensor | None = None
    back: Tensor | None = None
    units_of_steps: Tensor | None = None
    foreign_tables: Tensor | None = None
    foreign_residual_tables: Tensor | None = None
    foreign_analysis: Tensor | None = None
    foreign_rows: Tensor | None = None
    first_unnamed: Tensor | None = None
    unnamed: Mapping[str, Tensor] = field(default_factory=dict)

    def named_tensors(self, index: int) -> dict[str, Tensor]:
        """Those that there are, by names for a codec's state."""
        values = {name: getattr(self, name) for name in _NAMES} | {f"unnamed_{n}": t for n, t in self.unnamed.items()}
        return {f"{index}.{name}": tensor for name, tensor in values.items() if tensor is not None}

    @classmethod
    def of(cls, index: int, state: Mapping[str, Tensor]) -> BlockState:
        """What `named_tensors` put into a codec's state.

        Raises:
            CodecError: if something is missing.
        """
        values = {name: state.get(f"{index}.{name}") for name in _NAMES}
        unnamed = {name: state.get(f"{index}.unnamed_{name}") for name in _OF_TRANSFORM}
        missing = [name for name in _ALWAYS if values[name] is None]
        parts = [[values[name] is None for name in names] for names in (_OF_DICTIONARY, _OF_WEIGHTING)]
        parts += [[unnamed[name] is None for name in names] for names in (_OF_EVERY_TRANSFORM, _OF_WEIGHTING)]
        parts[-2].append(values["first_unnamed"] is None)
        if missing or any(any(part) != all(part) for part in parts):
            raise CodecError(f"the state of group {index} is incomplete" + (f": no {missing[0]}" if missing else ""))
        found = {name: tensor for name, tensor in unnamed.items() if tensor is not None}
        return cls(**values, unnamed=found)  # type: ignore[arg-type]

    def require_fit(self, group: RowGroup) -> None:
        """Checks a state that may come from a stranger's folder.

        Raises:
            CodecError: if it is not one of this group.
        """
        name = group.specs[0].name
        try:
            fits = self._fits(group)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise CodecError(f"the state of tensor {name!r} is damaged: {error}") from error
        if not fits:
            raise CodecError(f"the state of tensor {name!r} does not fit its shape")

    @property
    def profiles(self) -> Profiles:
        """Of the places of rows."""
        return Profiles(int(self.places))

    @property
    def plain_analysis(self) -> Tensor | None:
        """The transform of features alone, if there is one, which foreign samples have."""
        return self.analysis if self.foreign_tables is None else self.foreign_analysis

    @property
    def weighting(self) -> Weighting:
        """The transform in the tail's metric of a state that has one."""
        stored = (self.analyses, self.gains, self.syntheses, self.lifts, self.rows, self.back, self.units_of_steps)
        arrays = [None if tensor is None else tensor.numpy() for tensor in stored]
        return Weighting(*arrays)  # type: ignore[arg-type]

    @property
    def dictionary(self) -> Dictionary | None:
        """The dictionary; None where there is none."""
        if self.entries is None or self.units is None or self.levels is None or self.entry_frequencies is None:
            return None
        assert self.named is not None and self.farthest is not None
        return Dictionary(
            slice(*self.named.tolist()),
            self.entries.numpy(),
            self.units.numpy(),
            self.levels.numpy(),
            self.entry_frequencies.to(torch.int32).numpy(),
            float(self.farthest),
        )

    def of_foreign(self) -> BlockState:
        """With the transform of foreign samples in place of that in the tail's metric."""
        assert self.foreign_tables is not None and self.foreign_residual_tables is not None
        return replace(
            self,
            tables=self.foreign_tables,
            residual_tables=self.foreign_residual_tables,
            analysis=self.foreign_analysis,
            rows=self.foreign_rows,
            first_unnamed=None,
            unnamed={},
            **dict.fromkeys((*_OF_WEIGHTING, "back", "foreign_analysis", "foreign_rows")),  # type: ignore[arg-type]
        )

    def of_unnamed(self) -> BlockState:
        """With the transforms of rows that the dictionary has no entry for, and without it."""
        others = dict.fromkeys((*_OF_DICTIONARY, *_OF_TRANSFORM))
        usual = torch.zeros_like(self.usual)  # whether a sample is foreign is told with the transform of all others
        mine = others | {"usual": usual, **self.unnamed, "first_unnamed": None, "unnamed": {}}
        return replace(self, **mine)  # type: ignore[arg-type]

    def _fits(self, group: RowGroup) -> bool:
        width, profiles, dictionary = group.width, self.profiles, self.dictionary
        kept = len(self.analysis) if self.analysis is not None else width
        if self.analyses is not None:
            kept = self.analyses.shape[1]
        count = profiles.count if self.entries is None else FIRST_LEVEL + len(LEVELS)
        may_be_floats = (
            *(self.scale, self.mean, self.limits, self.energies),
            *(self.gains, self.lifts, self.units_of_steps, self.farthest),
        )
        may_be_halves = (self.analysis, self.rows, self.analyses, self.syntheses, self.back)
        floats, halves = ([t for t in tensors if t is not None] for tensors in (may_be_floats, may_be_halves))
        return (
            profiles.places >= 0
            and self.scale.shape == self.limits.shape == self.residual_tables.shape == (width,)
            and self.mean.shape in ((profiles.count, width), (1, width))
            and (self.analysis is None or self.analysis.shape == (kept, width))
            and self.tables.shape == (count, kept)
            and self.energies.shape == (parts_of(profiles),)
            and bool((self.energies > 0).all())
            and self._usual_fit()
            and self.level_frequencies.shape == (COUNT,)
            and (self.rows is None or self.rows.shape == (profiles.places,) * 2)
            and self.tables.dtype == self.residual_tables.dtype == torch.int16
            and all(t.dtype is torch.float32 for t in floats)
            and all(t.dtype is torch.float16 for t in halves)
            and all(bool(torch.isfinite(t).all()) for t in (*floats, *halves))
            and bool((self.scale > 0).all())
            and (dictionary is None or self._dictionary_fits(dictionary, group))
            and (self.first_unnamed is None or self._unnamed_fit(self.first_unnamed, group))
            and (self.analyses is None or self._weights_fit(self.analyses, width))
        )

    def _usual_fit(self) -> bool:
        most = 0 if self.plain_analysis is None else len(self.plain_analysis)
        return self.usual.shape == (1,) and self.usual.dtype == torch.int32 and 0 <= int(self.usual) <= most

    def _weights_fit(self, analyses: Tensor, width: int) -> bool:
        places = self.profiles.places
        assert self.gains is not None and self.lifts is not None
        assert self.syntheses is not None and self.units_of_steps is not None
        return (
            self.analysis is None
            and len(self.gains) in (1, 1 if places else 3)
            and len(analyses) in (1, len(self.gains))
            and self.syntheses.shape == analyses.shape == (len(analyses), *self.gains.shape[1:], width)
            and self.lifts.shape == self.gains.shape
            and (self.rows is None) == (self.back is None)
            and (self.back is None or self.back.shape == (places,) * 2)
            and self.units_of_steps.shape == (width,)
            and bool((self.units_of_steps > 0).all())
        )

    def _unnamed_fit(self, first: Tensor, group: RowGroup) -> bool:
        return (
            self.entries is not None
            and first.shape == (1,)
            and first.dtype == torch.uint8
            and self.of_unnamed()._fits(group)
        )

    def _dictionary_fits(self, dictionary: Dictionary, group: RowGroup) -> bool:
        count, width, named = len(dictionary.entries), group.width, self.named
        return (
            self.profiles.places == 0
            and self.mean.shape[0] == self.profiles.count
            and dictionary.entries.dtype == dictionary.levels.dtype == np.int8
            and dictionary.entries.shape == (count, width)
            and dictionary.units.shape == (width,)
            and dictionary.units.dtype == np.float32
            and bool(np.isfinite(dictionary.units).all())
            and dictionary.levels.shape == (count,)
            and bool(((dictionary.levels >= 0) & (dictionary.levels < len(LEVELS))).all())
            and named is not None
            and slice(*named.tolist()) in group.columns.values()
            and self.by_place is not None
            and self.by_place.shape == (2,)
            and dictionary.farthest >= 0
            and dictionary.table is not None
        )


_ALWAYS = (
    *("places", "scale", "mean", "limits", "tables", "residual_tables"),
    *("energies", "usual", "level_frequencies"),
)
_OF_EVERY_TRANSFORM = ("tables", "residual_tables", "level_frequencies")
_OF_DICTIONARY = ("by_place", "named", "entries", "units", "levels", "entry_frequencies", "farthest")
_OF_WEIGHTING = (
    *("analyses", "gains", "syntheses", "lifts", "units_of_steps"),
    *("foreign_tables", "foreign_residual_tables"),
)
_OF_TRANSFORM = (
    *(*_OF_EVERY_TRANSFORM, "analysis", "rows", *_OF_WEIGHTING, "back"),
    *("foreign_analysis", "foreign_rows"),
)
_NAMES = tuple(each.name for each in fields(BlockState) if each.name != "unnamed")


def stored_weighting(weighting: Weighting) -> dict[str, Tensor]:
    """The fields of a `BlockState` that hold a transform in the tail's metric."""
    arrays = {
        "analyses": weighting.analyses,
        "gains": weighting.gains,
        "syntheses": weighting.syntheses,
        "lifts": weighting.lifts,
        "rows": weighting.across,
        "back": weighting.back,
        "units_of_steps": weighting.units,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items() if a is not None}
