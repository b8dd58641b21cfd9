"""Reads the samples of a split one by one, straight from the shards: the lean path, without `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lamofcbench.errors import DataError, ScenarioError, UnknownNameError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs, GivenSpec, Scenario
from lamofcbench.storage.columns import Columns
from lamofcbench.storage.index import SplitIndex
from lamofcbench.storage.integrity import check_size
from lamofcbench.storage.layout import Manifest, ShardRecord, SplitRecord
from lamofcbench.storage.shards import Shard, open_shard
from lamofcbench.storage.sources import Source, find_source, resolve_scenario


def open_split(
    scenario: str | Scenario,
    split: str = "test",
    data_dir: str | Path | None = None,
    *,
    repo: str | None = None,
    revision: str | None = None,
) -> SplitReader:
    """The reader of a scenario's split.

    Args:
        scenario: registered id, ``file.py:NAME`` or the scenario itself.
        split: ``test`` or ``calibration``.
        data_dir: a dataset folder. With neither it nor ``repo``, a mini scenario's data are built once into the cache.
        repo: a dataset repository on the Hub; its shards are downloaded when first read.
        revision: branch, tag or commit of the repository.

    Raises:
        DataError: if the data are missing, damaged or of another scenario.
        UnknownNameError: for a scenario or split that does not exist.
    """
    scenario = resolve_scenario(scenario)
    return SplitReader(scenario, split, find_source(scenario, data_dir=data_dir, repo=repo, revision=revision))


def feature_set(row: Mapping[str, Any], specs: FeatureSpecs, given: Sequence[GivenSpec] = ()) -> FeatureSet:
    """The feature set of a row of `load_dataset`.

    Args:
        row: the row.
        specs: of the scenario.
        given: what the scenario hands its tail besides, where that is wanted too.

    Raises:
        ScenarioError: if the row does not hold these tensors and side information.
    """
    columns = Columns(specs, tuple(given))
    missing = [name for name in (*columns.names, *columns.side) if name not in row]
    if missing:
        raise ScenarioError(f"the row has no column {missing[0]!r}; it holds {', '.join(row)}")
    tensors = {name: row[name] for name in columns.names}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ScenarioError(
                f"column {name!r} of the row holds a {type(tensor).__name__}, not a tensor; "
                "use the format of load_dataset, with_format('safetensors')"
            )
    return columns.joined({name: tensor.as_subclass(Tensor) for name, tensor in tensors.items()}, row)


class SplitReader:
    """The samples of a split in their order, by position.

    Tensors are views of memory-mapped shards and are to be read only. Only a few hundred rows of the index and a few
    shards are held at a time, whatever the size of the split. A reader may be sent to other processes and used by
    several threads.

    A reader holds to the build of the data that it opened: once others are built in their place, what it has not read
    yet is refused, also by its copies in other processes, and never mixed with the new.

    Args:
        scenario: what the features are checked against.
        split: ``test`` or ``calibration``.
        source: where the files are.
        manifest: the build to read, where the caller has looked already; None for the one that is there now.

    Attributes:
        manifest: of the scenario's folder.
    """

    def __init__(self, scenario: Scenario, split: str, source: Source, manifest: Manifest | None = None) -> None:
        self.scenario, self.split, self.source = scenario, split, source
        self._columns = Columns.of(scenario)
        self.manifest: Manifest = manifest or source.manifest(scenario)
        splits: dict[str, SplitRecord] = {str(name): record for name, record in self.manifest.splits.items()}
        if split not in splits:
            raise UnknownNameError(f"split of {scenario.id}", split, splits)
        record = splits[split]
        self._shards: dict[str, ShardRecord] = {f"{scenario.id}/{shard.name}": shard for shard in record.shards}
        try:
            self._index = SplitIndex(
                source.path_of(f"{scenario.id}/{record.index.name}"),
                record.index,
                samples=record.samples,
                columns=self._columns,
                reference=self.manifest.reference,
                files=frozenset(self._shards),
            )
            if source.is_local:  # better now than in the middle of a run
                for file, shard in self._shards.items():
                    check_size(source.path_of(file), shard)
        except DataError as error:
            self._check_build(error)
            raise

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[FeatureSet]:
        return (self.features(index) for index in range(len(self)))

    @property
    def data_revision(self) -> str:
        """The builder's hash of everything that decides the features."""
        return self.manifest.data_revision

    @property
    def builder_identity(self) -> str:
        """The identity of the code that made the features; empty where the data do not say."""
        return self.manifest.builder

    def sample_id(self, index: int) -> str:
        """The id of a sample, unique within the split."""
        return self._row(index)["sample_id"]

    def reference(self, index: int) -> str | int | float | bytes:
        """What the metric compares a prediction with, in its native type."""
        return self._row(index)["reference"]

    def content_sha256(self, index: int) -> str:
        """Hex hash of the raw sample."""
        return self._row(index)["content_sha256"]

    def features(self, index: int) -> FeatureSet:
        """The features of a sample, checked against the scenario.

        Raises:
            DataError: if a shard is missing or damaged, or if other data have been built in its place.
        """
        row = self._row(index)
        shards: dict[str, Shard] = {}
        tensors = {}
        try:
            for name in self._columns.tensors:
                reference = row[name]
                file = reference["file"]
                if file not in shards:
                    shards[file] = open_shard(self.source.uri_of(file), self._shards[file])
                tensors[name] = shards[file].tensor(reference["key"], reference["dtype"], reference["shape"])
        except DataError as error:
            self._check_build(error)
            raise
        try:
            return self._columns.joined(tensors, row)
        except ScenarioError as error:
            raise DataError(f"sample {index} of {self._index.path}: {error}") from error

    def row(self, index: int) -> dict[str, Any]:
        """A sample's row of the index; each tensor's ``file`` is a URI that any process can follow.

        Each tensor also has the ``sha256`` of its shard, by which a reference to data that are gone is recognised.
        """
        row = dict(self._row(index))
        for name in self._columns.tensors:
            file = row[name]["file"]
            row[name] = {
                **row[name], "file": self.source.uri_of(file), "sha256": self._shards[file].sha256
            }  # fmt: skip
        return row

    def check(self) -> None:
        """Raises DataError if any row of the index is wrong; reads no tensors."""
        try:
            self._index.check()
        except DataError as error:
            self._check_build(error)
            raise

    # ------------------------------------------------------------------------------------------------- internals

    def _row(self, index: int) -> dict[str, Any]:
        try:
            return self._index.row(index)
        except DataError as error:
            self._check_build(error)
            raise

    def _check_build(self, error: DataError) -> None:
        """Raises a better error where data are refused because others were built in their place."""
        if self.source.is_local and self.source.manifest_sha256(self.scenario) != self.manifest.sha256:
            folder = self.source.path_of(self.scenario.id)
            raise DataError(f"{folder} was built again or removed since it was opened; open it again") from error
