"""`kmeans`: the published nonuniform quantiser, a table of points a tensor name, with its indices entropy coded."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import heapq
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import as_float32
from lamofcbench.codecs.entropy import (
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    Symbols,
    frequencies_from_weights,
    least_bytes,
)
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.codecs.published_tables import read_published_tables
from lamofcbench.codecs.sensitivity import Sensitivity
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet

FIT_SAMPLES = 10
"""The published quantiser is fitted on ten samples a tensor name."""

MAX_FIT_VALUES = 2**22
LLOYD_ROUNDS = 200

Points = NDArray[np.float32]
Assignment = Literal["nearest", "published"]


@dataclass(frozen=True)
class KmeansParams:
    """Parameters of `KmeansCodec`.

    Attributes:
        points: how many points a table has; 256 is the published number.
        assignment: ``nearest``, or ``published`` for the largest point not above the value (the smallest point where
            there is none), a defect of the published quantiser that its results depend on.
        tables: path of a published ``mapping.json`` whose tables are taken instead of fitting; fitting replaces it by
            ``sha256:`` and the hash of what was read.
        backbone: which of the mapping's backbones, needed with ``tables``.
    """

    points: Annotated[int, Field(ge=2, le=4096)] = 256
    assignment: Assignment = "nearest"
    tables: str = ""
    backbone: str = ""


class KmeansCodec(Codec):
    """Replaces each value by a point of its tensor name's table and codes the point's index."""

    Params = KmeansParams
    rate_points = tuple({"points": n} for n in (256, 32, 8, 4, 3, 2))
    needs_calibration = True
    revision = 2
    paper = "https://arxiv.org/abs/2506.16495"

    def fit(self, calibration: Iterable[FeatureSet], sensitivity: Sensitivity | None = None) -> KmeansCodec:
        """A codec with fitted or published tables; what identifies it is their content, not their path."""
        fitted = super().fit(calibration, sensitivity)
        if self.params.tables:
            digest = hashlib.sha256(fitted.state["points"].numpy().tobytes()).hexdigest()
            fitted.params = dataclasses.replace(self.params, tables=f"sha256:{digest}")
        return fitted

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Points, float32 ``[tensors, points]`` ascending, and index frequencies, int32 of the same shape."""
        if self.params.tables:
            points = self._published_points()
        else:
            values = collect_values(itertools.islice(iter(calibration), FIT_SAMPLES), len(self.specs.tensors))
            points = np.stack([kmeans_points(v, self.params.points) for v in values])
        quantisers = [Quantiser(row, self.params.assignment) for row in points]
        counts = np.zeros(points.shape, np.float64)
        for features in calibration:
            for row, tensor in enumerate(features.tensors.values()):
                counts[row] += np.bincount(quantisers[row].indices(tensor).reshape(-1), minlength=points.shape[1])
        # Half an observation for each index: the estimator of Krichevsky and Trofimov.
        frequencies = np.stack([frequencies_from_weights(row + 0.5) for row in counts])
        return {"points": torch.from_numpy(points), "frequencies": torch.from_numpy(frequencies)}

    def check_state(self) -> None:
        """Each tensor has finite ascending points and a table for them."""
        points, shape = self.state["points"], (len(self.specs.tensors), self.params.points)
        ascending = bool(torch.isfinite(points).all()) and bool((points.diff(dim=1) >= 0).all())
        if tuple(points.shape) != shape or tuple(self.state["frequencies"].shape) != shape or not ascending:
            raise CodecError(f"codec {self.name!r} has no ascending points and table for each tensor")
        _ = self._coders

    @functools.cached_property
    def _coders(self) -> list[tuple[Quantiser, FrequencyTable]]:
        points, frequencies = self.state["points"].float().numpy(), self.state["frequencies"].to(torch.int32).numpy()
        return [
            (Quantiser(p, self.params.assignment), FrequencyTable(f)) for p, f in zip(points, frequencies, strict=True)
        ]

    def encode_features(self, features: FeatureSet) -> bytes:
        """The indices of all tensors in one stream."""
        encoder = SymbolEncoder(self._least_bytes(tensor.shape for tensor in features.tensors.values()))
        for tensor, (quantiser, table) in zip(features.tensors.values(), self._coders, strict=True):
            encoder.put(quantiser.indices(tensor), table)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """The points."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes.values()))
        tensors = {}
        for (name, shape), (quantiser, table) in zip(shapes.items(), self._coders, strict=True):
            values = quantiser.points[decoder.take(math.prod(shape), table)]
            tensors[name] = torch.from_numpy(values.reshape(shape))
        decoder.finish()
        return tensors

    def _least_bytes(self, shapes: Iterable[Sequence[int]]) -> int:
        return least_bytes(sum(math.prod(s) * t.least_cost for s, (_, t) in zip(shapes, self._coders, strict=True)))

    def quantise_features(self, features: FeatureSet) -> Mapping[str, Tensor]:
        """Each value's point: all that this codec loses."""
        return {
            name: torch.from_numpy(quantiser.points[quantiser.indices(tensor).reshape(-1)]).reshape(tensor.shape)
            for (name, tensor), (quantiser, _) in zip(features.tensors.items(), self._coders, strict=True)
        }

    @property
    def trained_on(self) -> Knowledge:
        """The calibration samples, or what published tables were made from."""
        return "other data" if self.params.tables else "calibration"

    def _published_points(self) -> Points:
        if self.params.tables.startswith("sha256:"):
            raise CodecError(
                "these k-means tables were read from a file that is not named any more; give tables=PATH again"
            )
        if self.params.points != 256:
            raise CodecError(f"published k-means tables have 256 points, not {self.params.points}; leave points out")
        names = [spec.name for spec in self.specs.tensors]
        tables = read_published_tables(Path(self.params.tables).expanduser(), self.params.backbone, names)
        return np.stack([tables[name] for name in names])


class Quantiser:
    """Maps values to indices of points.

    The upper half of a float's bits, which is a bfloat16, nearly always settles the index: a table over all of them
    leaves a search to the few values whose upper half straddles an edge.
    """

    def __init__(self, points: Points, assignment: Assignment) -> None:
        self.points = points
        if assignment == "nearest":
            # In float64 the sum cannot overflow; rounding the midpoint then moves nothing but near-ties.
            self._edges = ((points[:-1].astype(np.float64) + points[1:]) / 2).astype(np.float32)
        else:
            self._edges = points[1:]
        patterns = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
        ends = [np.nan_to_num(bits.view(np.float32)) for bits in (patterns, patterns | np.uint32(0xFFFF))]
        first, last = (np.searchsorted(self._edges, end, side="right") for end in ends)
        self._by_upper_half = np.where(first == last, first, -1).astype(np.int32)

    def indices(self, tensor: Tensor) -> Symbols:
        """The index of each value's point, int32, in the tensor's shape."""
        values = as_float32(tensor).reshape(-1)
        indices = self._by_upper_half[values.view(np.uint32) >> np.uint32(16)]
        unsettled = np.flatnonzero(indices < 0)
        indices[unsettled] = np.searchsorted(self._edges, values[unsettled], side="right")
        return indices.reshape(tensor.shape)


def collect_values(samples: Iterable[FeatureSet], tensors: int) -> list[NDArray[np.float32]]:
    """The values of each tensor over the samples, sorted; evenly thinned out where they are very many."""
    parts: list[list[NDArray[np.float32]]] = [[] for _ in range(tensors)]
    for features in samples:
        for part, tensor in zip(parts, features.tensors.values(), strict=True):
            part.append(np.sort(as_float32(tensor).reshape(-1)))
    collected = []
    for part in parts:
        values = np.sort(np.concatenate(part))
        # Both ends stay in, because a lost extreme would be clipped ever after.
        keep = np.linspace(0, len(values) - 1, MAX_FIT_VALUES).astype(np.int64) if len(values) > MAX_FIT_VALUES else ...
        collected.append(values[keep])
    return collected


def kmeans_points(values: NDArray[np.float32], count: int) -> Points:
    """The points of a one-dimensional k-means quantiser: deterministic, by splitting and Lloyd's iterations.

    Starting from one cluster, the one of the largest squared error is split at its mean until there are enough, so
    that far tails get points of their own; Lloyd's iterations (doi.org/10.1109/TIT.1982.1056489) then lower the error.
    Sorted values and their running sums make an iteration a binary search for each point.

    Args:
        values: sorted ascending; may be empty.
        count: how many points; where there are fewer distinct values, the last point repeats.
    """
    if not values.size:
        return np.zeros(count, np.float32)
    centre = float(values[len(values) // 2])  # near zero the sums of squares cancel least
    shifted = values.astype(np.float64) - centre
    sums = np.concatenate([[0.0], np.cumsum(shifted)])
    squares = np.concatenate([[0.0], np.cumsum(shifted**2)])
    edges = _split_clusters(shifted, sums, squares, count)
    for _ in range(LLOYD_ROUNDS):
        means = (sums[edges[1:]] - sums[edges[:-1]]) / (edges[1:] - edges[:-1])
        inner = np.searchsorted(shifted, (means[:-1] + means[1:]) / 2)
        moved = np.unique(np.concatenate([[0], inner, [len(shifted)]]))
        if np.array_equal(moved, edges):
            break
        edges = moved
    means = (sums[edges[1:]] - sums[edges[:-1]]) / (edges[1:] - edges[:-1])
    # Running sums round; a mean outside of its cluster would be a rounding error.
    points = np.sort(np.clip(means + centre, values[edges[:-1]], values[edges[1:] - 1]).astype(np.float32))
    return np.concatenate([points, np.repeat(points[-1:], count - len(points))])


def _split_clusters(
    values: NDArray[np.float64], sums: NDArray[np.float64], squares: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Positions in the sorted values at which clusters start, and the end: ``[clusters + 1]``."""

    def candidate(start: int, end: int) -> tuple[float, int, int]:
        total = sums[end] - sums[start]
        return -(squares[end] - squares[start] - total**2 / (end - start)), start, end

    heap: list[tuple[float, int, int]] = [candidate(0, len(values))]
    done: list[tuple[Any, int, int]] = []
    while heap and len(heap) + len(done) < count:
        error, start, end = heapq.heappop(heap)
        if values[start] == values[end - 1]:
            done.append((error, start, end))
            continue
        mean = (sums[end] - sums[start]) / (end - start)
        middle = start + int(np.searchsorted(values[start:end], mean, side="right"))
        middle = min(max(middle, start + 1), end - 1)
        heapq.heappush(heap, candidate(start, middle))
        heapq.heappush(heap, candidate(middle, end))
    return np.array([*sorted(start for _, start, _ in [*heap, *done]), len(values)], np.int64)
