"""What a validator brings along, data, model and processes, whose failures are no fault of a submission."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.running.opened import OpenScenario
from harness.running.sensitivity import TailSensitivity
from lamofcbench.errors import LaMoFCBenchError, first_line, lacks_memory
from lamofcbench.features import FeatureSet

if TYPE_CHECKING:
    from lamofcbench.storage.reader import SplitReader


class NotAtHandError(Exception):
    """Something that is needed here fails, so that nothing can be said of the submission.

    It is none of the package's errors, for those are what a submission may cause, and come to a fault.
    """


@contextlib.contextmanager
def at_hand(what: str) -> Iterator[None]:
    """Tells what fails within from what a submission causes."""
    try:
        yield
    except (LaMoFCBenchError, OSError) as error:
        raise NotAtHandError(f"{what}: {error}") from error


def require_memory(error: BaseException) -> None:
    """Tells a tail that does not fit into this machine, by the cause of its error, from one that a submission broke.

    What a tail takes follows from the shapes of features, which are those of the test split.

    Raises:
        NotAtHandError: if the cause is a lack of memory.
    """
    if lacks_memory(error):
        raise NotAtHandError(f"{first_line(error)}; validate where there is more memory, or with --device") from error


class OwnScenario(OpenScenario):
    """A scenario on the data of whoever validates."""

    @functools.cached_property
    def test(self) -> SplitReader:
        """The test split, whose samples are told from a submission's where they cannot be read."""
        return _OwnSplit(super().test)  # type: ignore[return-value]  # as far as validation reads it

    def sensitivity(self, seed: int) -> TailSensitivity:
        """That of this machine's tail, kept in a temporary folder as long as this object is.

        Args:
            seed: of the run.

        Raises:
            ScenarioError: if the model shows no responses.
        """
        return TailSensitivity(
            self.scenario, self.settings.data, lambda: self.model, self._temporary, seed, self.device
        )

    @functools.cached_property
    def _temporary(self) -> Path:
        folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder


KEPT_BYTES = 2**28
"""Of uncoded features that are kept: each check of each result asks for all samples of a split."""


class _OwnSplit:
    def __init__(self, split: SplitReader) -> None:
        self._split = split
        self._kept: dict[int, FeatureSet] = {}
        self._spare = KEPT_BYTES

    def __len__(self) -> int:
        return len(self._split)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._split, name)

    def features(self, index: int, /) -> FeatureSet:
        """The features of a sample."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        with at_hand("a sample of the test split cannot be read here"):
            features = self._split.features(index)
        if features.raw_bits // 8 <= self._spare:
            self._spare -= features.raw_bits // 8
            self._kept[index] = features
        return features

    def reference(self, index: int, /) -> Any:
        """What a prediction is compared with."""
        with at_hand("a reference of the test split cannot be read here"):
            return self._split.reference(index)
