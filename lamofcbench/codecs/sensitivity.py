"""Sensitivity: in which directions of a row of features the tail's response changes, and how much.

For tensors that share their rows (`lamofcbench.codecs.transform.rows`), it is the mean outer product of gradients,
E[g g^T], over the columns of a row: ``e^T E[g g^T] e`` says, to first order, how far an error ``e`` moves the response.
Where a row stands matters: the first, the last and all other rows have matrices of their own where the number of rows
varies; where it never does, there is one matrix over columns, and one over places, E[G G^T].

Gradients stand to the row as features do: those of keys are turned back to position 0 (the rotation is orthogonal), and
all are in units of the tensors' root mean square deviations, so that tensors of different magnitudes compare.

Whoever has a tail computes it, from calibration samples alone, and hands it to `Codec.fit`; here is only what is held.
Samples are dealt into two halves, so that what one half says can be checked on the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from lamofcbench.atomic import write_bytes
from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.rows import RowGroup, row_groups
from lamofcbench.errors import CodecError, first_line, one_line
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs

HALVES = 2
MAX_MATRIX_WIDTH = 3072
"""Of wider rows no matrix is formed, but a factor of `FACTOR_ROWS` rows whose outer product it is on average."""
FACTOR_ROWS = 1024
MAX_PLACES = 2048
"""Over more places than these there is no matrix."""
FORMAT = "lamofcbench sensitivity 1"

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class RowSensitivity:
    """What is known of the tensors of one group.

    M is the number of kinds of rows: first, middle and last ones (`FIRST`, `MIDDLE`, `LAST` of
    `lamofcbench.codecs.transform.profiles`) where their number varies, else 1.

    Attributes:
        group: the tensors.
        places: over how many rows the pattern of places repeats; 0 where their number varies.
        scale: the unit of each column, by which gradients were multiplied, float32 ``[C]``.
        counts: how many rows went into each matrix, float64 ``[2, M]``.
        squares: mean outer products of gradients, float32 ``[2, M, C, C]``; for wide rows factors ``[2, M, r, C]``.
        across: mean products of gradients over places, float32 ``[2, R, R]``; None where there are none.
    """

    group: RowGroup
    places: int
    scale: Matrix
    counts: Wide
    squares: Matrix
    across: Matrix | None

    @property
    def kinds(self) -> int:
        """M, the number of kinds of rows."""
        return self.counts.shape[1]

    @property
    def is_factored(self) -> bool:
        """Whether `squares` holds factors."""
        return self.group.width > MAX_MATRIX_WIDTH

    @property
    def has_halves(self) -> bool:
        """Whether each half has seen rows."""
        return bool((self.counts.sum(1) > 0).all())

    def metric(self, kind: int, half: int | None = None) -> Wide:
        """E[g g^T] of a kind of rows, float64 ``[C, C]``, of one half or of both; zeros where no such row was seen.

        For factored sensitivities it is a factor F of it, ``[r, C]``: the matrix is ``F^T F``.
        """
        halves = range(HALVES) if half is None else [half]
        total = sum(float(self.counts[h, kind]) for h in halves)
        shares = {h: float(self.counts[h, kind]) / total if total else 0.0 for h in halves}
        if self.is_factored:
            return np.concatenate([self.squares[h, kind].astype(np.float64) * np.sqrt(s) for h, s in shares.items()])
        return np.asarray(sum(s * self.squares[h, kind].astype(np.float64) for h, s in shares.items()))

    def metric_across(self) -> Wide | None:
        """E[G G^T] over places, float64 ``[R, R]``, with mean 1 on its diagonal; None where there is none."""
        if self.across is None:
            return None
        matrix = self.across.astype(np.float64).sum(0)
        mean = float(np.trace(matrix)) / max(len(matrix), 1)
        return matrix / mean if mean > 0 else np.eye(len(matrix))


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivities of a scenario's groups of tensors, in the order of `row_groups`.

    Attributes:
        groups: of tensors that share their rows.
        origin: of what it was computed: a hash of scenario, data, model and code; of the values where nobody says.
    """

    groups: tuple[RowSensitivity, ...]
    origin: str

    @property
    def mean_weight(self) -> float:
        """The mean square of a column's gradient over all rows of all groups; 0 where no gradient arrives."""
        squares = values = 0.0
        for each in self.groups:
            rows = each.counts.sum(0)
            for kind in range(each.kinds):
                metric = each.metric(kind)
                squares += float(rows[kind]) * float(np.square(metric).sum() if each.is_factored else np.trace(metric))
            values += float(rows.sum()) * each.group.width
        return squares / values if values else 0.0

    def of(self, name: str) -> RowSensitivity:
        """That of the group which a tensor belongs to.

        Raises:
            KeyError: if there is no such tensor.
        """
        for each in self.groups:
            if name in each.group.columns:
                return each
        raise KeyError(name)

    def require_specs(self, specs: FeatureSpecs) -> None:
        """Raises `CodecError` where it is of other tensors than these."""
        if [each.group for each in self.groups] != row_groups(specs):
            raise CodecError("the sensitivity is of other tensors than the codec's; compute it for this scenario")

    def save(self, file: Path) -> None:
        """Writes a safetensors file, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for index, each in enumerate(self.groups):
            arrays = {"scale": each.scale, "counts": each.counts, "squares": each.squares, "across": each.across}
            tensors |= {f"{index}.{n}": torch.from_numpy(a).contiguous() for n, a in arrays.items() if a is not None}
            tensors[f"{index}.places"] = torch.tensor([each.places])
        write_bytes(file, safetensors_bytes(tensors, {"format": FORMAT, "origin": self.origin}))

    @classmethod
    def load(cls, file: Path, specs: FeatureSpecs) -> Sensitivity:
        """What `save` wrote for a scenario of these tensors.

        Raises:
            CodecError: if the file is missing, damaged, or of other tensors.
        """
        place = one_line(str(file), 300)
        try:
            with safe_open(file, "pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except Exception as error:  # whatever the format's reader makes of damaged bytes
            raise CodecError(f"cannot read a sensitivity from {place}: {first_line(error)}") from error
        if metadata.get("format") != FORMAT:
            raise CodecError(f"{place} holds no sensitivity of this version; compute it anew")
        groups = row_groups(specs)
        if not all(name.partition(".")[0] in map(str, range(len(groups))) for name in tensors):
            raise CodecError(f"the sensitivity in {place} is of other tensors than the codec's")
        return cls(
            tuple(_stored(group, index, tensors, place) for index, group in enumerate(groups)),
            one_line(metadata.get("origin", "")),
        )


def digest_of(groups: Sequence[RowSensitivity]) -> str:
    """Hex sha256 of all values, for a sensitivity of which nobody says where it is from."""
    digest = hashlib.sha256()
    for each in groups:
        for array in (each.scale, each.counts, each.squares, each.across):
            if array is not None:
                digest.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class SensitivitySums:
    """Sums of outer products of gradients, sample by sample, in float64 and bounded memory.

    Args:
        specs: the tensors.
        places: of each group of `row_groups`, over how many rows its places repeat; see `Profiles`.
        scales: the unit of each column of each group, float32 ``[C]``.
    """

    def __init__(self, specs: FeatureSpecs, places: Sequence[int], scales: Sequence[Matrix]) -> None:
        self._groups = [_GroupSums(*each) for each in zip(row_groups(specs), places, scales, strict=True)]

    def norm(self, gradients: FeatureSet) -> float:
        """The length of a sample's gradient, in units of the columns."""
        return float(np.sqrt(sum(each.square(gradients) for each in self._groups)))

    def add(self, gradients: FeatureSet, weight: float, seed: Sequence[int] = ()) -> None:
        """Adds a sample.

        Args:
            gradients: of the response, by tensor, in the shapes of the features.
            weight: that they are multiplied by.
            seed: tells samples apart where factors are drawn.
        """
        for number, each in enumerate(self._groups):
            each.add(gradients, weight, (*seed, number))

    def tensors(self) -> dict[str, Tensor]:
        """The sums, for `add_tensors` of another process."""
        return {
            f"{index}.{name}": torch.from_numpy(array)
            for index, each in enumerate(self._groups)
            for name, array in each.arrays().items()
        }

    def add_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Adds the sums of another object for the same tensors.

        Raises:
            CodecError: if they are not.
        """
        for index, each in enumerate(self._groups):
            for name, array in each.arrays().items():
                given = tensors.get(f"{index}.{name}")
                if given is None or tuple(given.shape) != array.shape or not bool(torch.isfinite(given).all()):
                    raise CodecError("stored sums of gradients are damaged, or of other tensors; compute them anew")
                array += given.numpy()


def sensitivity_of(halves: Sequence[SensitivitySums], origin: str | None = None) -> Sensitivity:
    """The sensitivity that two halves of the samples make.

    Args:
        halves: their sums.
        origin: see `Sensitivity`; None for a hash of the values.

    Raises:
        CodecError: if gradients were NaN or infinite, or too large to be squared.
    """
    groups = tuple(_joined(sums) for sums in zip(*(half._groups for half in halves), strict=True))
    values = (array for each in groups for array in (each.squares, each.across) if array is not None)
    if not all(np.isfinite(array).all() for array in values):
        raise CodecError("gradients are NaN, infinite or too large to be squared; leave out samples that have such")
    return Sensitivity(groups, digest_of(groups) if origin is None else origin)


class _GroupSums:
    """The sums of one group."""

    def __init__(self, group: RowGroup, places: int, scale: Matrix) -> None:
        self.group, self.profiles, self.scale = group, Profiles(places), scale
        self.kinds = 1 if places else 3
        rows = group.width if group.width <= MAX_MATRIX_WIDTH else FACTOR_ROWS
        self.counts = np.zeros(self.kinds)
        self.squares = np.zeros((self.kinds, rows, group.width), np.float64 if rows == group.width else np.float32)
        self.across = np.zeros((places, places) if 1 < places <= MAX_PLACES else (0, 0))

    def arrays(self) -> dict[str, NDArray]:
        return {"counts": self.counts, "squares": self.squares, "across": self.across}

    def rows(self, gradients: FeatureSet) -> Matrix:
        return self.group.gather(gradients) * self.scale

    def square(self, gradients: FeatureSet) -> float:
        return float(np.square(self.rows(gradients), dtype=np.float64).sum())

    def add(self, gradients: FeatureSet, weight: float, seed: Sequence[int]) -> None:
        rows = self.rows(gradients) * np.float32(weight)
        kinds = kinds_of(self.profiles, len(rows))
        for kind in np.unique(kinds):
            chosen = rows[kinds == kind]
            self.counts[kind] += len(chosen)
            if self.squares.shape[1] == self.group.width:
                self.squares[kind] += _product(chosen.T, chosen)
                continue
            # Each row goes to a random place with a random sign: what differs cancels in the mean, and sums stay small.
            draw = np.random.default_rng([*seed, int(kind)])
            signs = draw.choice(np.array([-1.0, 1.0], np.float32), len(chosen))
            np.add.at(self.squares[kind], draw.integers(FACTOR_ROWS, size=len(chosen)), chosen * signs[:, None])
        places = self.profiles.places
        if self.across.size and self.profiles.fits(len(rows)):
            for pattern in rows.reshape(len(rows) // places, places, rows.shape[1]):
                self.across += _product(pattern, pattern.T)


def kinds_of(profiles: Profiles, rows: int) -> NDArray[np.intp]:
    """The kind of each row of a sample of so many, ``[rows]``: `FIRST`, `MIDDLE` or `LAST`; 0 where places repeat."""
    return np.zeros(rows, np.intp) if profiles.places else profiles.of(rows)


def _joined(sums: Sequence[_GroupSums]) -> RowSensitivity:
    first = sums[0]
    counts = np.stack([each.counts for each in sums])
    rows = np.maximum(counts, 1)[:, :, None, None]
    power = 0.5 if first.squares.shape[1] != first.group.width else 1.0  # the square of a factor is the mean
    squares = np.stack([each.squares for each in sums]) / rows**power
    across = np.stack([each.across for each in sums]) if first.across.size else None
    return RowSensitivity(
        first.group,
        first.profiles.places,
        first.scale,
        counts,
        squares.astype(np.float32),
        None if across is None else across.astype(np.float32),
    )


def _stored(group: RowGroup, index: int, tensors: Mapping[str, Tensor], place: str) -> RowSensitivity:
    def array(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> NDArray:
        tensor = tensors.get(f"{index}.{name}")
        if tensor is None or tensor.dtype is not dtype or tuple(tensor.shape) != shape:
            raise CodecError(f"the sensitivity in {place} is damaged, or of other tensors than the codec's")
        if not bool(torch.isfinite(tensor).all()):
            raise CodecError(f"the sensitivity in {place} is damaged: not all of it is finite")
        return tensor.numpy()

    places = int(array("places", torch.int64, (1,))[0])
    if not 0 <= places < 2**31:
        raise CodecError(f"the sensitivity in {place} is damaged: {places} places")
    kinds, width = (1 if places else 3), group.width
    rows = width if width <= MAX_MATRIX_WIDTH else FACTOR_ROWS
    across = array("across", torch.float32, (HALVES, places, places)) if f"{index}.across" in tensors else None
    found = RowSensitivity(
        group,
        places,
        array("scale", torch.float32, (width,)),
        array("counts", torch.float64, (HALVES, kinds)),
        array("squares", torch.float32, (HALVES, kinds, rows, width)),
        across,
    )
    if not ((found.scale > 0).all() and (found.counts >= 0).all()):
        raise CodecError(f"the sensitivity in {place} is damaged: units and counts must be positive")
    return found


def _product(first: Matrix, second: Matrix) -> Matrix:
    return (torch.from_numpy(np.ascontiguousarray(first)) @ torch.from_numpy(np.ascontiguousarray(second))).numpy()
