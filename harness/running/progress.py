"""What a run tells of its progress, to whoever shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.results.result import Result
from harness.running.plan import Batch
from lamofcbench.codecs.base import Codec
from lamofcbench.scenarios.base import Scenario


@dataclass(frozen=True)
class Finished:
    """A result, the folder that it is in, and what it took, which makes it no other.

    Attributes:
        seconds: from fitting to verification, by this run.
        resumed: batches of samples that an earlier run had computed; all of them where nothing was left to do.
        batches: of the whole result.
    """

    folder: Path
    result: Result
    seconds: float = field(default=0.0, compare=False)
    resumed: int = field(default=0, compare=False)
    batches: int = field(default=0, compare=False)

    @property
    def is_old(self) -> bool:
        """Whether an earlier run had finished it."""
        return self.resumed == self.batches


class Progress:
    """Shows nothing; subclasses do. Rate points come one at a time: begun, computed batch by batch, finished."""

    def begin(self, scenario: Scenario, codec: Codec) -> None:
        """A rate point begins, by fitting its codec or by finding that it is there."""

    def consult_tail(self, scenario: Scenario) -> None:
        """The sensitivity of a scenario's tail is computed, for this point and all that ask for it later."""

    def batches(self, batches: Sequence[Batch]) -> Iterable[Batch]:
        """Yields the batches of the rate point that this process computes, in their order."""
        return batches

    def finish(self, scenario: Scenario, finished: Finished) -> None:
        """The rate point's result is on disk."""


class BatchBars(Progress):
    """A bar for each rate point, on stderr where that is a terminal."""

    def begin(self, scenario: Scenario, codec: Codec) -> None:
        """Takes the label of the bar."""
        self._label = f"{scenario.id} {codec!r}"

    def batches(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Moves the bar."""
        from tqdm import tqdm

        yield from tqdm(batches, desc=self._label, unit="batch", disable=None, leave=False)
