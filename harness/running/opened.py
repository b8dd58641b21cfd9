"""A scenario with what a run of it works on: samples, model and metric, each opened when it is first asked for."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.results import scoring
from harness.results.result import PROTOCOL_VERSION
from harness.running import environment, fitting, plan, sensitivity, transfer
from harness.running.fidelity import Fidelity
from harness.running.launch import Team
from harness.running.mixed_sensitivity import MixedTailSensitivity
from harness.running.pipeline import Pipeline
from harness.running.sensitivity import TailSensitivity
from harness.running.settings import RunSettings
from lamofcbench import provenance
from lamofcbench.codecs.base import Codec
from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.calibration import Calibration, CalibrationSplit
from lamofcbench.storage.mixed_calibration import MixedCalibration

if TYPE_CHECKING:
    from lamofcbench.models.base import SplitModel
    from lamofcbench.storage.reader import SplitReader

LOGGER = logging.getLogger("lamofcbench")


class OpenScenario:
    """A scenario under the settings of a run, and everything but codecs and processes.

    Args:
        scenario: to open.
        settings: say where its data are, how much of them is used, and where the model goes.
        team: the processes that share the work, of which each takes a device and one warns; None for this one alone.

    Attributes:
        metric: the scenario's, made once.
        code: the identities of metric and split model, as they were when this was opened.
        device: a torch device.

    Raises:
        ScenarioError: if the tail needs what the data do not hold.
    """

    def __init__(self, scenario: Scenario, settings: RunSettings, team: Team | None = None) -> None:
        if scenario.needs_raw_input and not scenario.given:
            raise ScenarioError(
                f"{scenario.id}: its tail needs the raw input beside the features; declare it among the tensors that "
                "the tail is given (Scenario.given)"
            )
        self.scenario, self.settings, self.team = scenario, settings, team or Team()
        self.metric = scoring.make_metric(scenario)
        # Taken now, while the metric is what was just loaded: its file may be edited during the run.
        self.code = scoring.code_of(scenario, self.metric)
        self.device = environment.choose_device(settings.device, self.team.local_rank)

    @functools.cached_property
    def test(self) -> SplitReader:
        """The test split."""
        from lamofcbench.storage import open_split

        split = open_split(self.scenario, "test", self.settings.data)
        if len(split) != self.scenario.test_samples:
            raise DataError(
                f"{self.scenario.id} declares {self.scenario.test_samples} test samples; its data hold {len(split)}"
            )
        self._warn_of_other_builder(split.builder_identity)
        return split

    @functools.cached_property
    def calibration(self) -> CalibrationSplit:
        """The calibration samples, the only ones that codecs may learn from."""
        parts = [Calibration(source, self.settings.data) for source in self.sources]
        for part in parts:
            if part.scenario is self.scenario:
                self.require_one_build((part.data_revision, part.builder_identity))
        return parts[0] if len(parts) == 1 else MixedCalibration(parts)

    @functools.cached_property
    def sources(self) -> tuple[Scenario, ...]:
        """The scenarios whose calibration samples codecs are fitted on, each once, in the order of their ids."""
        named = {source.id: source for source in self.settings.fit_on}
        if self.scenario.id in named or not named:
            named[self.scenario.id] = self.scenario
        return tuple(named[name] for name in sorted(named))

    @property
    def fits_at_home(self) -> bool:
        """Whether codecs are fitted on nothing but what they code."""
        return self.sources == (self.scenario,)

    @functools.cached_property
    def model(self) -> SplitModel:
        """The split model, loaded when the first batch needs it.

        Raises:
            PluginError: if its files were edited after the run had begun.
        """
        from lamofcbench.models.loading import load_model

        model = load_model(self.scenario, device=self.device, placement=self.settings.placement)
        if provenance.adapter_identity(self.scenario) != self.code["adapter_identity"]:
            raise PluginError(
                f"the files of split model {self.scenario.backbone.adapter!r} were edited during the run; rerun the "
                "same command"
            )
        return model

    @functools.cached_property
    def fidelity(self) -> Fidelity | None:
        """Compares responses, whatever the codec; None where the model shows none."""
        return None if self.model.response_kind is None else Fidelity(self.model)

    @functools.cached_property
    def _tail_sensitivity(self) -> TailSensitivity | MixedTailSensitivity:
        parts = [self._sensitivity_on(source) for source in self.sources]
        return parts[0] if len(parts) == 1 else MixedTailSensitivity(parts, transfer.widest(self.sources))

    def _sensitivity_on(self, source: Scenario) -> TailSensitivity:
        from lamofcbench.models.loading import load_model

        def model() -> SplitModel:
            if source is self.scenario:
                return self.model
            return load_model(source, device=self.device, placement=self.settings.placement)

        folder = self.settings.results / sensitivity.FOLDER
        return TailSensitivity(source, self.settings.data, model, folder, self.settings.seed, self.device)

    def tail_of(self, codec: Codec) -> TailSensitivity | MixedTailSensitivity | None:
        """What tells a codec of the tail's sensitivity; None where it does not ask.

        Raises:
            ScenarioError: if it does, and the model shows no responses.
        """
        return self._tail_sensitivity if codec.needs_sensitivity and not codec.state else None

    @property
    def samples(self) -> int:
        """How many samples the report covers."""
        return min(self.settings.limit or len(self.test), len(self.test))

    def require_one_build(self, build: tuple[str, str]) -> None:
        """Raises DataError where others read other data than the test split that is open here.

        Args:
            build: data revision and builder's identity of what others read.
        """
        if (self.test.data_revision, self.test.builder_identity) != build:
            raise DataError(f"the data of {self.scenario.id} were built again while they were opened; run it again")

    def config_of(self, fingerprint: bytes) -> dict[str, Any]:
        """Everything that decides the figures of a result of the codec with this fingerprint."""
        return {
            "scenario": self.scenario.id,
            "scenario_version": self.scenario.version,
            "scenario_digest": self.scenario.digest,
            "data_revision": self.test.data_revision,
            "builder_identity": self.test.builder_identity,
            **self.code,
            "fingerprint": fingerprint.hex(),
            "batch_size": self.scenario.batch_size,
            "dtype": str(self.scenario.backbone.options.get("compute_dtype", "float32")),
            "device_type": self.device.partition(":")[0],
            "seed": self.settings.seed,
            "protocol_version": PROTOCOL_VERSION,
        }

    def batches(self) -> list[plan.Batch]:
        """The batches that hold the reported samples."""
        return plan.batch_plan(len(self.test), self.scenario.batch_size, self.settings.limit)

    def pipeline(self, codec: Codec, saved: Path) -> Pipeline:
        """The pipeline of a codec, with an encoder and a decoder loaded from its saved folder."""
        encoder, decoder = fitting.load_again(codec, saved), fitting.load_again(codec, saved)
        return Pipeline(
            self.scenario,
            self.test,
            self.model,
            self.metric,
            encoder,
            decoder,
            self.device,
            self.settings.seed,
            self.fidelity,
        )

    def _warn_of_other_builder(self, built_by: str) -> None:
        """Says that the data were made by other code than the scenario's: what counts is what made them."""
        now = provenance.features_identity(self.scenario)
        if self.team.leads and built_by and now and built_by != now:
            LOGGER.warning(
                "%s: the data were built by %s, its code is now %s; build them again if that changes them",
                self.scenario.id,
                built_by,
                now,
            )
