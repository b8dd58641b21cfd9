"""Anchors and deltas: each group of neighbouring rows as its first row, and what the others differ from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.caches.channel_tables import ChannelCounts, ChannelTables
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder

Matrix = NDArray[np.float32]
Values = NDArray[np.float64]

SHRINKAGE = 2.0
"""How many observations the deviation of all anchors is worth in the estimate of that of first rows, and the typical
channel's in that of each channel's deltas."""
_LARGEST = float(np.finfo(np.float32).max)


class Steps(NamedTuple):
    """The steps of anchors and of deltas."""

    anchor: float
    delta: float


class AnchorMoments:
    """Means and deviations of anchors, those in the first rows of samples and all others, and deviations of deltas.

    Args:
        width: how many channels rows have.
    """

    def __init__(self, width: int) -> None:
        self._counts = np.zeros(3)
        self._sums, self._squares = np.zeros((3, width)), np.zeros((3, width))

    def add(self, rows: Matrix, group: int) -> None:
        """Counts the rows of one sample in."""
        values = rows.astype(np.float64)
        anchors = values[::group]
        deltas = (values - np.repeat(anchors, group, axis=0)[: len(values)])[np.arange(len(values)) % group > 0]
        for kind, part in enumerate((anchors[:1], anchors[1:], deltas)):
            self._counts[kind] += len(part)
            self._sums[kind] += part.sum(0)
            self._squares[kind] += np.square(part).sum(0)

    def means(self) -> Values:
        """Of first anchors and of all others, ``[2, C]``; each that of both where it was not seen."""
        count = self._counts[:2].sum()
        pooled = self._sums[:2].sum(0) / max(count, 1)
        return np.stack([s / n if n else pooled for n, s in zip(self._counts[:2], self._sums[:2], strict=True)])

    def anchor_deviations(self) -> Values:
        """From these means, ``[2, C]``."""
        counts = self._counts[:2, None]
        within = np.maximum(self._squares[:2] - counts * np.square(self.means()), 0)
        count = max(float(counts.sum()), 1.0)
        pooled = self._sums[:2].sum(0) / count
        typical = np.maximum(self._squares[:2].sum(0) / count - np.square(pooled), 0)
        return np.sqrt((within + SHRINKAGE * typical) / (counts + SHRINKAGE))

    def delta_deviations(self) -> Values:
        """Root mean squares, ``[C]``."""
        powers = self._squares[2]
        typical = np.median(powers) / max(self._counts[2], 1) if powers.size else 0.0
        deviations = np.sqrt((powers + SHRINKAGE * typical) / (self._counts[2] + SHRINKAGE))
        return deviations if self._counts[2] else self.anchor_deviations()[1]


@dataclass(frozen=True)
class AnchoredRows:
    """Codes the rows of one tensor.

    Attributes:
        group: how many rows share an anchor.
        steps: of anchors and deltas.
        means: of anchors in first rows and of all others, float64 ``[2, C]``.
        anchors: the tables of first anchors and of all others.
        deltas: the tables of deltas.
        inner: whether the rows go on from others, so that none of them is the first.
    """

    group: int
    steps: Steps
    means: Values
    anchors: Sequence[ChannelTables]
    deltas: ChannelTables
    inner: bool = False

    def put(self, encoder: SymbolEncoder, rows: Matrix) -> None:
        """Appends rows ``[rows, C]``."""
        self._code(rows, lambda tables, scaled: tables.put(encoder, scaled))

    def count(self, rows: Matrix, counts: ChannelCounts) -> None:
        """Counts rows ``[rows, C]`` into tables that are yet to be made."""

        def code(tables: ChannelTables, scaled: Values) -> Values:
            counts.add(scaled, tables.numbers)
            return np.rint(scaled)

        self._code(rows, code)

    def _code(self, rows: Matrix, code: Callable[[ChannelTables, Values], Values]) -> None:
        """Calls what codes values in steps by tables, and returns what will be decoded, for anchors and for deltas."""
        values = rows.astype(np.float64)
        decoded = np.zeros((self._anchor_count(len(rows)), rows.shape[1]))
        for kind, at in self._kinds(len(rows)):
            scaled = (values[:: self.group][at] - self.means[kind]) / self.steps.anchor
            decoded[at] = self._anchor(kind, code(self.anchors[kind], scaled))
        code(self.deltas, (values - self._near(decoded, len(rows)))[self._others(len(rows))] / self.steps.delta)

    def take(self, decoder: SymbolDecoder, rows: int) -> Matrix:
        """The rows ``[rows, C]`` that `put` appended."""
        decoded = np.zeros((self._anchor_count(rows), self.means.shape[1]))
        for kind, at in self._kinds(rows):
            decoded[at] = self._anchor(kind, self.anchors[kind].take(decoder, at.stop - at.start))
        near = self._near(decoded, rows)
        others = self._others(rows)
        near[others] += self.deltas.take(decoder, int(others.sum())) * self.steps.delta
        return np.clip(near, -_LARGEST, _LARGEST).astype(np.float32)

    def least_cost(self, rows: int) -> int:
        """What rows cost at the least, for `lamofcbench.codecs.entropy.least_bytes`."""
        anchors = sum((at.stop - at.start) * self.anchors[kind].least_cost for kind, at in self._kinds(rows))
        return anchors + (rows - self._anchor_count(rows)) * self.deltas.least_cost

    def _anchor_count(self, rows: int) -> int:
        return -(-rows // self.group)

    def _kinds(self, rows: int) -> Iterator[tuple[int, slice]]:
        """First anchors and others, with their places among anchors."""
        count = self._anchor_count(rows)
        first = 0 if self.inner else min(count, 1)
        yield 0, slice(0, first)
        yield 1, slice(first, count)

    def _anchor(self, kind: int, integers: Values) -> Values:
        return np.clip(integers * self.steps.anchor + self.means[kind], -_LARGEST, _LARGEST)

    def _others(self, rows: int) -> NDArray[np.bool_]:
        return np.arange(rows) % self.group > 0

    def _near(self, anchors: Values, rows: int) -> Values:
        """The anchor of each row."""
        return np.repeat(anchors, self.group, axis=0)[:rows]
