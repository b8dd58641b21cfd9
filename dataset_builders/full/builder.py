"""What the builders of the full edition share: raw data that the user has, fronts of any size, any number of processes.

Every sample becomes a shard in a working folder, whoever computes it; a build that is started again goes on with what
is missing, and when all are there they become one dataset, which is not made again while it is what would come out. The
files are the same whatever the number of processes.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from dataset_builders.base import stored_features
from dataset_builders.full.raw import RawData
from dataset_builders.full.work_folder import Record, Slot, WorkFolder
from dataset_builders.packaged import PackagedBuilder
from lamofcbench.atomic import write_errors
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError
from lamofcbench.models.base import SplitModel
from lamofcbench.models.loading import load_model
from lamofcbench.models.placement import WHOLE, Placement
from lamofcbench.provenance import features_identity
from lamofcbench.references import check_sample
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.building import building
from lamofcbench.storage.columns import Columns
from lamofcbench.storage.integrity import file_sha256
from lamofcbench.storage.layout import SPLITS
from lamofcbench.storage.writer import DEFAULT_SHARD_BYTES, write_card

T = TypeVar("T")


class Team(Protocol):
    """The processes of a build, as `harness.running.launch` has them."""

    rank: int
    size: int

    def from_leader(self, work: Callable[[], T]) -> T:
        """What ``work`` returns in process 0, in every process."""

    def together(self, work: Callable[[], T]) -> T:
        """Runs ``work`` in every process and waits for all."""


class Alone:
    """One process."""

    rank, size = 0, 1

    def from_leader(self, work: Callable[[], T]) -> T:
        """What ``work`` returns."""
        return work()

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` returns."""
        return work()


class FullBuilder(PackagedBuilder):
    """A builder of raw data that do not come with a package.

    A subclass defines ``name``, the id of the track, `chosen` and, where a sample's inputs are kept encoded,
    `model_inputs`. The backbone's weights come from where the scenario says.

    Args:
        raw: what the user names; by default the repositories of the task.
    """

    def __init__(self, raw: RawData | None = None) -> None:
        self.raw = raw or RawData()
        self.counts: dict[Split, int] = {"test": 100, "calibration": 50}
        self._samples: dict[Split, Sequence[Sample]] = {}

    @abstractmethod
    def chosen(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, ``self.counts[split]`` of them; inputs may be encoded, see `model_inputs`.

        Raises:
            DataError: if there are too few, or they cannot be read.
        """

    def model_inputs(self, inputs: Any) -> Any:
        """What the front takes, decoded from a sample's inputs."""
        return inputs

    def check(self, scenario: Scenario) -> None:
        """Refuses a scenario that the raw data do not fit; nothing here."""

    def samples(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, read once."""
        if split not in self._samples:
            self._samples[split] = self.chosen(split) if self.counts[split] else []
        return self._samples[split]

    def weight_hashes(self) -> Iterable[tuple[str, str]]:
        """None: the declaration and the user's pins tie them to commits."""
        return ()

    def build(
        self,
        scenario: Scenario,
        output: Path,
        *,
        progress: bool = True,
        device: str = "cpu",
        shard_bytes: int = DEFAULT_SHARD_BYTES,
        team: Team | None = None,
        placement: Placement = WHOLE,
    ) -> Path:
        """Runs the front over both splits and writes ``output/<scenario id>/`` as a dataset; returns that folder.

        Nothing is computed where that folder already holds what would come out.

        Args:
            scenario: which tensors to store, in which dtypes.
            output: the dataset folder, which all processes see; other scenarios in it stay.
            progress: show a bar on standard error.
            device: a torch device for this process's front.
            shard_bytes: does not count: a sample is a shard.
            team: the processes that share the samples; None for this one alone.
            placement: of the model.

        Raises:
            DataError: if samples are missing, repeat, or occur in both splits, or if an id or a reference cannot be
                stored; most of it before the model is loaded.
            ScenarioError: if the front gives other tensors than the scenario declares.
        """
        team = team or Alone()
        self.counts = {"test": scenario.test_samples, "calibration": scenario.calibration_samples}
        work = WorkFolder(output / f".{scenario.id}.extracting")
        code = features_identity(scenario, self)
        share = _Share(self, scenario, work, device, placement)
        with contextlib.ExitStack() as held:

            def begin() -> bool:
                """Prepares the work; true where there is none, since what it would come to is there."""
                held.enter_context(building(output, scenario.id))
                held.enter_context(write_errors(output / scenario.id, work.path))
                self.check(scenario)
                self._check_splits(scenario, {split: self.samples(split) for split in SPLITS})
                if self._is_built(scenario, output / scenario.id):
                    work.remove()
                    write_card(output)
                    return True
                work.prepare({"scenario": scenario.digest, "code": code})
                return False

            def compute() -> None:
                slots = share.slots()
                mine = tqdm(slots[team.rank :: team.size], desc=f"build {scenario.id}", disable=not progress or None)
                with write_errors(output / scenario.id, work.path):
                    for slot in mine:
                        share.record(slot)

            def publish() -> None:
                rows = [(slot, share.record(slot)) for slot in share.slots()]
                work.publish(scenario, output, rows, revision=self.revision(), builder=code)

            if not team.from_leader(begin):
                team.together(compute)
                team.from_leader(publish)
        return output / scenario.id


class _Share:
    """Makes samples one by one; the model is loaded when the first has to be computed."""

    def __init__(
        self, builder: FullBuilder, scenario: Scenario, work: WorkFolder, device: str, placement: Placement
    ) -> None:
        self.builder, self.scenario, self.work = builder, scenario, work
        self.device, self.placement = device, placement
        self._model: SplitModel | None = None

    def slots(self) -> list[Slot]:
        """The places of all samples."""
        return [Slot(split, number) for split in SPLITS for number in range(len(self.builder.samples(split)))]

    def record(self, slot: Slot) -> Record:
        """The record of a sample, which is computed unless it is there."""
        sample = self.builder.samples(slot.split)[slot.number]
        content = self.builder.content_hash(sample)
        state = [sample.id, content, self.builder.reference_digest(sample)]
        return self.work.finished(slot, state) or self._computed(slot, sample, content, state)

    def _computed(self, slot: Slot, sample: Sample, content: str, state: list[str]) -> Record:
        from safetensors.torch import save_file

        if self._model is None:
            self._model = load_model(self.scenario, device=self.device, builder=self.builder, placement=self.placement)
        decoded = Sample(sample.id, self.builder.model_inputs(sample.inputs), sample.reference)
        features = stored_features(self._model, decoded, self.scenario)
        (reference,) = self.builder.references(self._model, [decoded], [features])
        where = f"{self.scenario.id}, {slot.split} sample {slot.number}"
        id, reference = check_sample(self.scenario.prediction_kind, sample.id, reference, where)
        columns = {name: tensor.contiguous() for name, tensor in Columns.of(self.scenario).split(features).items()}
        shard = self.work.shard(slot)
        save_file(columns, shard)
        record = {
            "state": state,
            "sample_id": id,
            "content_sha256": content,
            "side": dict(features.side),
            "size_bytes": shard.stat().st_size,
            "sha256": file_sha256(shard),
            "tensors": {
                name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in columns.items()
            },
        }
        return self.work.keep(slot, record, reference)


def in_order(samples: Mapping[str, T], count: int, names: Sequence[str] | None, what: str) -> list[tuple[str, T]]:
    """Those that are named, or the first ones.

    Args:
        samples: by id, in the task's order.
        count: how many are wanted.
        names: ids; None for the first ``count``.
        what: they are, for messages.

    Raises:
        DataError: if there are too few, or a name is unknown or comes twice.
    """
    if names is None:
        if len(samples) < count:
            raise DataError(f"there are {len(samples)} {what}; {count} are needed")
        names = list(samples)[:count]
    for name in names:
        if name not in samples:
            raise DataError(f"the sample list names {name!r}, which is none of the {len(samples)} {what}")
    if len(set(names)) != len(names) or len(names) != count:
        raise DataError(f"the sample list names {len(set(names))} different {what} of {len(names)}; {count} are needed")
    return [(name, samples[name]) for name in names]
