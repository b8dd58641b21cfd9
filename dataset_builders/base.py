"""The builder that most scenarios share: run the front over raw samples, and write what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from lamofcbench.builders import Sample, ScenarioBuilder, Split
from lamofcbench.errors import DataError, LaMoFCBenchError, PluginError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.loading import load_model
from lamofcbench.provenance import features_identity
from lamofcbench.references import check_id, check_sample
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.building import building
from lamofcbench.storage.integrity import FileState, check_size, state_of
from lamofcbench.storage.layout import MANIFEST_FILE, SPLITS, read_manifest
from lamofcbench.storage.writer import DEFAULT_SHARD_BYTES, DatasetWriter


class Builder(ScenarioBuilder):
    """Builds any scenario whose raw samples, hashes and weights a subclass brings.

    A subclass defines ``name``, `samples`, `content_hash`, `revision` and, for weights of its own, `model_directory`.
    """

    def build(
        self,
        scenario: Scenario,
        output: Path,
        *,
        progress: bool = True,
        device: str = "cpu",
        shard_bytes: int = DEFAULT_SHARD_BYTES,
    ) -> Path:
        """Runs the front over both splits and writes ``output/<scenario id>/`` as a dataset; returns that folder.

        A second process that builds the same scenario into the same folder waits for the first, and then takes what
        that has built where it is what it would build itself.

        Args:
            scenario: which tensors to store, in which dtypes.
            output: the dataset folder; other scenarios in it stay.
            progress: show a bar on standard error.
            device: a torch device for the front.
            shard_bytes: shards are closed once they reach this size.

        Raises:
            DataError: if samples are missing, repeat, or occur in both splits, or if an id or a reference cannot be
                stored; before the model is loaded, save for references that it makes itself.
            ScenarioError: if the front gives other tensors than the scenario declares.
        """
        samples: dict[Split, Sequence[Sample]] = {split: self.samples(split) for split in SPLITS}
        contents = self._check_splits(scenario, samples)
        folder = output / scenario.id
        before = _state(folder / MANIFEST_FILE)
        with building(output, scenario.id) as waited:
            if not (waited and self._was_built(scenario, folder, before)):
                self._build(
                    scenario, output, samples, contents, progress=progress, device=device, shard_bytes=shard_bytes
                )
        return folder

    def _was_built(self, scenario: Scenario, folder: Path, before: FileState | None) -> bool:
        """True where what building would write was put in place since the manifest was in state ``before``."""
        return _state(folder / MANIFEST_FILE) != before and self._is_built(scenario, folder)

    def _is_built(self, scenario: Scenario, folder: Path) -> bool:
        """True where a dataset of this scenario, these raw data and this code is there, its files as long as told."""
        try:
            built = read_manifest(folder / MANIFEST_FILE)
            for split in built.splits.values():
                for file in (split.index, *split.shards):
                    check_size(folder / file.name, file)
        except (DataError, OSError):
            return False
        made_of = (built.scenario_digest, built.data_revision, built.builder)
        return made_of == (scenario.digest, self.revision(), features_identity(scenario, self))

    def _build(
        self,
        scenario: Scenario,
        output: Path,
        samples: Mapping[Split, Sequence[Sample]],
        contents: Mapping[Split, Sequence[str]],
        *,
        progress: bool,
        device: str,
        shard_bytes: int,
    ) -> None:
        model = load_model(scenario, device=device, builder=self)
        with (
            DatasetWriter(
                output,
                scenario,
                data_revision=self.revision(),
                shard_bytes=shard_bytes,
                builder_identity=features_identity(scenario, self),
            ) as writer,
            tqdm(
                total=sum(map(len, samples.values())), desc=f"build {scenario.id}", disable=None if progress else True
            ) as bar,
        ):
            for split in SPLITS:
                hashes = iter(contents[split])
                for batch in _batches(samples[split], scenario.batch_size):
                    features = [stored_features(model, sample, scenario) for sample in batch]
                    references = self.references(model, batch, features)
                    if len(references) != len(batch):
                        raise PluginError(
                            f"builder {self.name!r} brings {len(references)} references for {len(batch)} samples"
                        )
                    for sample, stored, reference in zip(batch, features, references, strict=True):
                        writer.add(split, sample.id, stored, reference=reference, content_sha256=next(hashes))
                        bar.update()

    def references(
        self, model: SplitModel, batch: Sequence[Sample], features: Sequence[FeatureSet]
    ) -> Sequence[str | int | float | bytes]:
        """What the metric compares the predictions of a batch with: the samples' own references.

        Overridden where the reference is what the model itself makes of uncoded features.

        Args:
            model: the scenario's model.
            batch: consecutive samples, as many as a run's batches hold.
            features: theirs, in the stored dtypes.
        """
        return [sample.reference for sample in batch]

    def _check_splits(self, scenario: Scenario, samples: Mapping[Split, Sequence[Sample]]) -> dict[Split, list[str]]:
        """Finds what is wrong with the samples before a front has worked for hours; returns their content hashes."""
        declared: dict[Split, int] = {"test": scenario.test_samples, "calibration": scenario.calibration_samples}
        for split in SPLITS:
            brought = len(samples[split])
            if brought != declared[split]:
                raise DataError(
                    f"{scenario.id} declares {declared[split]} {split} samples; its builder brings {brought}"
                )
            self._check_samples(scenario, split, samples[split])
        owners: dict[str, tuple[Split, str]] = {}
        contents: dict[Split, list[str]] = {split: [] for split in SPLITS}
        for split in SPLITS:
            for sample in samples[split]:
                contents[split].append(self.content_hash(sample))
                owner, id = owners.setdefault(contents[split][-1], (split, sample.id))
                if owner != split:
                    raise DataError(
                        f"{scenario.id}: sample {sample.id!r} of {split} is also in {owner}, as {id!r}; splits must "
                        "not share content"
                    )
        return contents

    def _check_samples(self, scenario: Scenario, split: Split, samples: Sequence[Sample]) -> None:
        references_known, kind = type(self).references is Builder.references, scenario.prediction_kind
        owners: dict[str, int] = {}
        first: type | None = None
        for number, sample in enumerate(samples):
            where = f"{scenario.id}, {split} sample {number}"
            if references_known:
                sample_id, reference = check_sample(kind, sample.id, sample.reference, where)
                first = first or type(reference)
                if type(reference) is not first:
                    raise DataError(
                        f"{where} ({sample_id!r}): the reference is of type {type(reference).__name__}, those before "
                        f"it are {first.__name__}"
                    )
            else:
                sample_id = check_id(sample.id, where)
            if owners.setdefault(sample_id, number) != number:
                raise DataError(
                    f"{scenario.id}: two {split} samples have the id {sample_id!r}, numbers {owners[sample_id]} and "
                    f"{number}"
                )


def _state(path: Path) -> FileState | None:
    try:
        return state_of(path.stat())
    except OSError:
        return None


def _batches(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def stored_features(model: SplitModel, sample: Sample, scenario: Scenario) -> FeatureSet:
    """A sample's features in the stored dtypes.

    Raises:
        PluginError: if the front fails on the sample.
        ScenarioError: if a declared tensor is absent, or a finite value does not fit the stored dtype.
    """
    try:
        with torch.inference_mode():
            features = model.front(sample.inputs)
    except LaMoFCBenchError:
        raise
    except Exception as error:
        raise PluginError(
            f"the front of {scenario.backbone.adapter!r} fails on sample {sample.id!r} of {scenario.id}: "
            f"{type(error).__name__}: {error}"
        ) from error
    absent = [spec.name for spec in scenario.tensors if spec.name not in features.tensors]
    if absent:
        raise ScenarioError(f"the front gives {list(features)}; {scenario.id} also declares {', '.join(absent)}")
    stored = features.cast(scenario.specs)
    for name, tensor in stored.tensors.items():
        if bool(torch.isinf(tensor).any()) and not bool(torch.isinf(features[name]).any()):
            raise ScenarioError(
                f"tensor {name!r} of sample {sample.id!r} overflows {scenario.specs[name].dtype}, in which "
                f"{scenario.id} stores it; declare a dtype of more range"
            )
    return stored
