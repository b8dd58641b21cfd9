"""The calibration samples of several scenarios as one: a mixture of tasks to fit on."""

from __future__ import annotations

from collections.abc import Sequence

from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.storage.calibration import CalibrationSplit

REVISION = 1
"""Raised when the same splits would make another mixture."""
RUN = 4
"""So many samples of a scenario stand together. Codecs deal samples into halves, or four folds, by their numbers: so
each of these holds every task, and a scenario's even samples stay even ones, which sensitivities are halved by too."""


class MixedCalibration(CalibrationSplit):
    """The calibration splits of scenarios whose features one backbone has made.

    Scenarios take turns, in proportion to how many samples they have, so that even the first few samples of the
    mixture, which is all that some codecs look at, are of several tasks. A sample that several scenarios share is there
    once: codecs check on some samples what they have learned from the others.

    Args:
        parts: the splits, each once.
    """

    def __init__(self, parts: Sequence[CalibrationSplit]) -> None:
        self._parts = parts
        own = _each_once(parts)
        runs = sorted(
            (_place(run, len(kept)), number, run) for number, kept in enumerate(own) for run in _runs(len(kept))
        )
        self._order = [(number, own[number][index]) for _, number, run in runs for index in run]

    @property
    def data_revision(self) -> str:
        """Those of all parts, joined."""
        return "+".join(part.data_revision for part in self._parts)

    @property
    def builder_identity(self) -> str:
        """Those of all parts, joined."""
        return "+".join(part.builder_identity for part in self._parts)

    def features(self, index: int) -> FeatureSet:
        """Those of one sample."""
        part, own = self._order[index]
        return self._parts[part].features(own)

    def content_sha256(self, index: int) -> str:
        """As the sample's part states it."""
        part, own = self._order[index]
        return self._parts[part].content_sha256(own)

    def __len__(self) -> int:
        return len(self._order)


def _each_once(parts: Sequence[CalibrationSplit]) -> list[list[int]]:
    """The samples of each part that no earlier one has: of another raw sample, or with other features of the same."""
    known: dict[str, list[tuple[CalibrationSplit, int]]] = {}
    kept: list[list[int]] = []
    for part in parts:
        kept.append([])
        for index in range(len(part)):
            others = known.setdefault(part.content_sha256(index), [])
            if not any(other is not part and _same(part, index, other, at) for other, at in others):
                kept[-1].append(index)
                others.append((part, index))
    return kept


def _same(part: CalibrationSplit, index: int, other: CalibrationSplit, at: int) -> bool:
    first, second = part.features(index).tensors, other.features(at).tensors
    return first.keys() == second.keys() and all(
        tensor.shape == second[name].shape and tensor_bytes(tensor) == tensor_bytes(second[name])
        for name, tensor in first.items()
    )


def _runs(samples: int) -> list[tuple[int, ...]]:
    """The numbers of samples in runs; an odd one at the end is a run of its own."""
    even = samples - samples % 2
    runs = [tuple(range(start, min(start + RUN, even))) for start in range(0, even, RUN)]
    return runs + [(even,)] * (samples % 2)


def _place(run: Sequence[int], samples: int) -> float:
    """Where in its split the middle of a run is; behind all others for a single sample, which would make even odd."""
    return (run[0] + run[-1] + 1) / (2 * samples) if len(run) > 1 else 1.0
