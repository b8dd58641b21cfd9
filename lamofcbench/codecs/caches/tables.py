"""Calibrated tables for the codes and scales of a plan: one for each component, and for each group's steps and lows.

First tokens have tables of their own: in many models they are attention sinks, and the same in every sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.caches import floats
from lamofcbench.codecs.caches.allocation import FLOAT_BITS
from lamofcbench.codecs.caches.plan import CodedRows, Plan
from lamofcbench.codecs.entropy import (
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    TableStack,
    frequencies_from_weights,
)
from lamofcbench.errors import CodecError

PRIOR_STRENGTH = 16.0
"""How many observations a prior is worth: that integers are as likely as those near them, and that first tokens are
like all others."""
FLOAT_PRIOR_STRENGTH = 128.0
"""How many the prior of floats is worth, which is distributed by their deviation: some hundred codes are in use."""
_UNIFORM_SHARE = 0.05
_REACH, _DECAY = 8, 0.6
_FIRST, _OTHERS = range(2)
_PROFILES = 2


@dataclass(frozen=True)
class PlanTables:
    """The tables of a plan.

    Attributes:
        plan: whose codes they are of.
        codes: of each profile, one for each component.
        scales: of each profile, for the upper bytes of steps and then of lows, one for each integer group.
    """

    plan: Plan
    codes: list[TableStack]
    scales: list[TableStack]

    def put(self, encoder: SymbolEncoder, coded: CodedRows, *, starts: bool) -> None:
        """Appends rows; ``starts`` where the first of them is the first of its sample."""
        for profile, rows in _profiles(len(coded.codes), starts=starts):
            scales = np.concatenate([coded.steps[rows].T, coded.lows[rows].T]).view(np.uint16)
            _put_each(encoder, scales >> 8, self.scales[profile])
            encoder.put_bits((scales & 0xFF).astype(np.int32), 8)
            _put_each(encoder, np.ascontiguousarray(coded.codes[rows].T), self.codes[profile])

    def take(self, decoder: SymbolDecoder, rows: int, *, starts: bool) -> CodedRows:
        """The rows that `put` appended."""
        groups = self.plan.integer_groups
        scales = np.zeros((2 * groups, rows), np.uint16)
        codes = np.zeros((self.plan.components, rows), np.uint8)
        for profile, part in _profiles(rows, starts=starts):
            count = part.stop - part.start
            scales[:, part] = _take_each(decoder, count, self.scales[profile]) << 8
            scales[:, part] |= decoder.take_bits(2 * groups * count, 8).reshape(-1, count).astype(np.uint16)
            codes[:, part] = _take_each(decoder, count, self.codes[profile])
        halves = scales.view(np.float16)
        return CodedRows(halves[:groups].T.copy(), halves[groups:].T.copy(), codes.T.copy())

    def least_cost(self, rows: int, *, starts: bool) -> int:
        """What rows cost at the least, for `lamofcbench.codecs.entropy.least_bytes`."""
        return sum(
            (part.stop - part.start) * (self.codes[profile].least_cost + self.scales[profile].least_cost)
            for profile, part in _profiles(rows, starts=starts)
        )

    @classmethod
    def from_state(cls, plan: Plan, index: int, state: Mapping[str, Tensor]) -> PlanTables:
        """The tables of a codec's state.

        Raises:
            CodecError: if they are missing or do not fit the plan.
        """
        widths = sorted(set(plan.bits.tolist()))
        try:
            by_width = {width: state[f"{index}.codes{width}"].to(torch.int32).numpy() for width in widths}
            scales = state[f"{index}.scales"].to(torch.int32).numpy()
        except KeyError as error:
            raise CodecError(f"the state of group {index} lacks {error}") from error
        counts = {width: int((plan.bits == width).sum()) for width in widths}
        fitting = all(by_width[width].shape == (_PROFILES, counts[width], 2**width) for width in widths)
        if not fitting or scales.shape != (_PROFILES, 2 * plan.integer_groups, 256):
            raise CodecError(f"the state of group {index} has not a table for each component and scale")
        codes = []
        for profile in range(_PROFILES):
            rows = {width: iter(by_width[width][profile]) for width in widths}
            codes.append(TableStack([FrequencyTable(next(rows[width])) for width in plan.bits.tolist()]))
        return cls(plan, codes, [TableStack([FrequencyTable(row) for row in part]) for part in scales])


def learned_tables(plan: Plan, index: int, coded: CodedRows, first: NDArray[np.bool_]) -> dict[str, Tensor]:
    """Frequencies for a codec's state, counted on rows of calibration samples.

    Args:
        plan: that coded them.
        index: of the group of tensors.
        coded: the rows.
        first: which of them are the first of their sample, ``[rows]``.
    """
    state = {}
    values = plan.decode(coded)
    exponents = np.repeat([part.exponent for part in plan.parts], [s.stop - s.start for s, _ in plan.spans])
    for width in sorted(set(plan.bits.tolist())):
        which = plan.bits == width
        codes = coded.codes[:, which]
        if width == FLOAT_BITS:
            squares = np.square(values[:, which], dtype=np.float64)
            deviations = np.sqrt(squares.mean(0)) if len(squares) else np.ones(squares.shape[1])
            priors = [_of_floats(*of) for of in zip(deviations.tolist(), exponents[which].tolist(), strict=True)]
        else:
            priors = [smoothed(np.bincount(column, minlength=2**width)) for column in codes.T]
        strength = FLOAT_PRIOR_STRENGTH if width == FLOAT_BITS else PRIOR_STRENGTH
        state[f"{index}.codes{width}"] = _frequencies(codes, first, priors, strength)
    uppers = np.concatenate([coded.steps, coded.lows], axis=1).view(np.uint16) >> np.uint16(8)
    priors = [smoothed(np.bincount(column, minlength=256)) for column in uppers.T]
    state[f"{index}.scales"] = _frequencies(uppers, first, priors, PRIOR_STRENGTH)
    return state


def _frequencies(
    symbols: NDArray[np.unsignedinteger],
    first: NDArray[np.bool_],
    priors: list[NDArray[np.float64]],
    strength: float,
) -> Tensor:
    """Of each profile and column, int32 ``[profiles, columns, alphabet]``."""
    alphabet = len(priors[0]) if priors else 256
    tables = np.zeros((_PROFILES, symbols.shape[1], alphabet), np.int32)
    for column, prior in enumerate(priors):
        counts = [np.bincount(symbols[rows, column], minlength=alphabet) for rows in (first, ~first)]
        others = with_prior(counts[_OTHERS], prior, strength)
        pooled = counts[_FIRST] + others
        tables[_OTHERS, column] = frequencies_from_weights(others)
        tables[_FIRST, column] = frequencies_from_weights(counts[_FIRST] + PRIOR_STRENGTH * pooled / pooled.sum())
    return torch.from_numpy(tables)


def with_prior(counts: NDArray[np.int64], prior: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Counts and a prior that is worth so many observations, as weights of symbols, none of which is impossible."""
    return counts + strength * ((1 - _UNIFORM_SHARE) * prior + _UNIFORM_SHARE / len(counts))


def smoothed(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities by the counts near each code: neighbours are near in value, in upper bytes of floats too."""
    kernel = _DECAY ** np.abs(np.arange(-_REACH, _REACH + 1))
    spread = np.convolve(counts, kernel)[_REACH:-_REACH]
    return spread / spread.sum() if counts.any() else np.full(len(counts), 1 / len(counts))


def _of_floats(deviation: float, exponent: int) -> NDArray[np.float64]:
    """Probabilities of the codes of floats under a logistic distribution of this deviation."""
    codes = np.arange(256, dtype=np.uint8)
    numbers = codes[codes & 0x7F != 0x7F]
    values = floats.from_codes(numbers, exponent).astype(np.float64)
    order = np.argsort(values, kind="stable")
    edges = (values[order][1:] + values[order][:-1]) / 2
    scale = max(deviation, float(2.0**exponent) / 1024) * np.sqrt(3) / np.pi
    with np.errstate(over="ignore"):
        cumulative = np.concatenate([[0.0], 1 / (1 + np.exp(-edges / scale)), [1.0]])
    probabilities = np.zeros(256)
    probabilities[numbers[order]] = np.diff(cumulative)
    return probabilities


def _put_each(encoder: SymbolEncoder, symbols: NDArray[np.integer], tables: TableStack) -> None:
    """Appends symbols ``[tables, rows]``, those of the first table first: one call, however many tables there are."""
    encoder.put_indexed(symbols.astype(np.int32), np.arange(len(tables)), tables)


def _take_each(decoder: SymbolDecoder, rows: int, tables: TableStack) -> NDArray[np.int32]:
    """The symbols that `_put_each` appended, ``[tables, rows]``."""
    return decoder.take_indexed(np.arange(len(tables)), tables, rows).reshape(len(tables), rows)


def _profiles(rows: int, *, starts: bool) -> Iterator[tuple[int, slice]]:
    if starts and rows:
        yield _FIRST, slice(0, 1)
    if rows > starts:
        yield _OTHERS, slice(int(starts), rows)
