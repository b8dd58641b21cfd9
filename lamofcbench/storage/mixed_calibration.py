"""The calibration samples of several scenarios as one: a mixture of tasks to fit on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.calibration import Calibration

RUN = 4
"""So many samples of a scenario stand together. Codecs deal samples into halves, or four folds, by their numbers: so
each of these holds every task, and a scenario's even samples stay even ones, which sensitivities are halved by too."""


class MixedCalibration(Calibration):
    """The calibration splits of scenarios whose features one backbone has made.

    Scenarios take turns, in proportion to how many samples they have, so that the first few samples of the mixture,
    which is all that some codecs look at, hold every task.

    Args:
        scenarios: whose calibration samples, each once.
        data: dataset folder with all of them; None for where their data are by default.

    Raises:
        DataError: if the data of one are missing or damaged.
        UnknownNameError: if one has no calibration split.
    """

    def __init__(self, scenarios: Sequence[Scenario], data: str | Path | None = None) -> None:
        self._parts = [Calibration(scenario, data) for scenario in scenarios]
        runs = sorted(
            (_place(run, len(part)), number, run) for number, part in enumerate(self._parts) for run in _runs(len(part))
        )
        self._order = [(number, index) for _, number, run in runs for index in run]

    @property
    def data_revision(self) -> str:
        """Those of all scenarios, joined."""
        return "+".join(part.data_revision for part in self._parts)

    @property
    def builder_identity(self) -> str:
        """Those of all scenarios, joined."""
        return "+".join(part.builder_identity for part in self._parts)

    def features(self, index: int) -> FeatureSet:
        """The stored features of a sample."""
        part, own = self._order[index]
        return self._parts[part].features(own)

    def content_sha256(self, index: int) -> str:
        """Hex hash of the raw sample."""
        part, own = self._order[index]
        return self._parts[part].content_sha256(own)

    def __len__(self) -> int:
        return len(self._order)


def _runs(samples: int) -> list[tuple[int, ...]]:
    """The numbers of samples in runs; an odd one at the end is a run of its own."""
    even = samples - samples % 2
    runs = [tuple(range(start, min(start + RUN, even))) for start in range(0, even, RUN)]
    return runs + [(even,)] * (samples % 2)


def _place(run: Sequence[int], samples: int) -> float:
    """Where in its split the middle of a run is; behind all others for a single sample, which would make even odd."""
    return (run[0] + run[-1] + 1) / (2 * samples) if len(run) > 1 else 1.0
