"""Scores on calibration samples: what may be looked at before a test split is.

A codec is fitted on one half of the samples and scored on the other, so that none is scored on features that it was
fitted to. What codecs that ask know of the tail is from all of them, as in a run.
The halves are drawn at random, always the same: samples may come in pairs, such as a sentence with each of its two
answers. Anchor and floor are scored on the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.results.record import stack_statistics
from harness.results.result import ANCHOR, FLOOR
from harness.results.scoring import code_of, make_metric
from harness.running import environment
from harness.running.launch import Team
from harness.running.pipeline import Pipeline
from harness.running.plan import batch_plan
from harness.running.references import check_references
from harness.running.sensitivity import TailSensitivity
from lamofcbench import rates
from lamofcbench.codecs.base import CODECS, Codec
from lamofcbench.codecs.sensitivity import Sensitivity
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.reader import SplitReader, open_split


@dataclass(frozen=True)
class CalibrationScore:
    """A codec on calibration samples.

    Attributes:
        ebpfp: the rate.
        score: of the task.
        retention: between floor (0) and anchor (1), both of the same samples.
    """

    ebpfp: float
    score: float
    retention: float


class CalibrationScores:
    """Scores codecs on half of a scenario's calibration split.

    Args:
        scenario: whose split and task.
        model: gives the split model, when it is first needed.
        data: dataset folder; None for where the scenario's data are by default.
        limit: the most samples that are scored; None for all.
        seed: of every random generator.
        device: a torch device.
        folder: where the tail's sensitivity is kept, for codecs that ask for it.

    Raises:
        DataError: if a calibration sample has no reference that the metric can compare anything with.
    """

    def __init__(
        self,
        scenario: Scenario,
        model: Callable[[], SplitModel],
        data: str | Path | None = None,
        limit: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        folder: Path | None = None,
    ) -> None:
        self.scenario, self.seed, self.device = scenario, seed, device
        self._model, self._data, self._folder = model, data, folder
        self._metric = make_metric(scenario)
        self._code = code_of(scenario, self._metric)
        split = open_split(scenario, "calibration", data)
        order = np.random.default_rng(0).permutation(len(split)).tolist()
        fitted = -(-len(split) // 2)
        self._fitted, self._scored = _Part(split, sorted(order[:fitted])), _Part(split, sorted(order[fitted:]))
        if not len(self._scored):
            raise DataError(f"{scenario.id} has {len(split)} calibration samples; scores on them take two at least")
        try:
            check_references(self._scored, scenario, self._metric)
        except DataError as error:
            raise DataError(f"calibration samples cannot be scored: {error}; build the data with references") from error
        self.samples = min(limit or len(self._scored), len(self._scored))
        self._sensitivity: Sensitivity | None = None
        self._ends: tuple[float, float] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the scores of a codec, beside the codec."""
        split = self._scored.split
        return {
            "scenario": self.scenario.ref,
            "scenario_digest": self.scenario.digest,
            "data_revision": split.data_revision,
            "builder_identity": split.builder_identity,
            **self._code,
            "samples": self.samples,
            "seed": self.seed,
        }

    def of(self, codec: Codec) -> CalibrationScore:
        """The rate and the score of a codec, which is fitted here where it needs to be."""
        anchor, floor = self._anchor_and_floor()
        ebpfp, score = self._measured(codec)
        return CalibrationScore(ebpfp, score, (score - floor) / (anchor - floor))

    def _anchor_and_floor(self) -> tuple[float, float]:
        if self._ends is None:
            anchor, floor = (self._measured(CODECS.get(name)(self.scenario.specs))[1] for name in (ANCHOR, FLOOR))
            gain = anchor - floor if self.scenario.direction == "up" else floor - anchor
            if not gain > 0 or not math.isfinite(gain):
                raise ScenarioError(
                    f"{self.scenario.id}: uncoded features and their mean score {anchor:.4g} and {floor:.4g} on "
                    f"{self.samples} calibration samples, which tells no codecs apart; score more of them"
                )
            self._ends = anchor, floor
        return self._ends

    def _measured(self, codec: Codec) -> tuple[float, float]:
        if codec.needs_calibration and not codec.state:
            environment.seed_everything(self.seed)
            codec = codec.fit(self._fitted.features_alone(), self._tail(codec))
        pipeline = Pipeline(
            self.scenario, self._scored, self._model(), self._metric, codec, codec, self.device, self.seed
        )
        batches = batch_plan(len(self._scored), self.scenario.batch_size, self.samples)
        records = [record for batch in batches for record in pipeline.run(batch).records][: self.samples]
        coded_bits, raw_bits = (sum(record[name] for record in records) for name in ("coded_bytes", "raw_bits"))
        ebpfp = rates.ebpfp(8 * coded_bits, raw_bits)
        return ebpfp, float(self._metric.score(stack_statistics(records)))

    def _tail(self, codec: Codec) -> Sensitivity | None:
        """How the tail responds, for codecs that ask; from all calibration samples, as in a run."""
        if not codec.needs_sensitivity:
            return None
        if self._sensitivity is None:
            assert self._folder is not None
            tail = TailSensitivity(self.scenario, self._data, self._model, self._folder, self.seed, self.device)
            self._sensitivity = tail.computed(Team())
        return self._sensitivity


class _Part:
    """Some samples of a split, as the pipeline reads one."""

    def __init__(self, split: SplitReader, indices: Sequence[int]) -> None:
        self.split, self._indices = split, indices

    @property
    def data_revision(self) -> str:
        return self.split.data_revision

    def __len__(self) -> int:
        return len(self._indices)

    def features(self, index: int) -> FeatureSet:
        return self.split.features(self._indices[index])

    def sample_id(self, index: int) -> str:
        return self.split.sample_id(self._indices[index])

    def reference(self, index: int) -> Any:
        return self.split.reference(self._indices[index])

    def features_alone(self) -> list[FeatureSet]:
        """What a codec may learn from."""
        return [self.features(index).with_given(None).clone() for index in range(len(self))]
