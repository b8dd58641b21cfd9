"""Reads the samples of a split one by one, straight from the shards: the lean path, without `datasets`."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lamofcbench.errors import DataError, ScenarioError, UnknownNameError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.scenarios.base import FeatureSpecs, Scenario
from lamofcbench.storage.integrity import check_size, verify_file
from lamofcbench.storage.layout import SIDE_PREFIX, Manifest, SplitRecord, index_schema, shape_fits
from lamofcbench.storage.shards import Shard, open_shard
from lamofcbench.storage.sources import Source, find_source, resolve_scenario

KEPT_ROW_GROUPS = 4


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


def feature_set(row: Mapping[str, Any], specs: FeatureSpecs) -> FeatureSet:
    """The feature set of a row of `load_dataset`.

    Raises:
        ScenarioError: if the row does not hold these tensors and side information.
    """
    try:
        tensors = {spec.name: row[spec.name] for spec in specs.tensors}
        features = FeatureSet(tensors, {name: row[SIDE_PREFIX + name] for name in specs.side})
    except KeyError as error:
        raise ScenarioError(f"the row has no column {error}; it holds {', '.join(row)}") from error
    check_features(features, specs)
    return features


class SplitReader:
    """The samples of a split in their order, by position.

    Tensors are views of memory-mapped shards and are to be read only. Only a few hundred rows of the index and a few
    shards are held at a time, whatever the size of the split. A reader may be sent to other processes and used by
    several threads.

    Args:
        scenario: what the features are checked against.
        split: ``test`` or ``calibration``.
        source: where the files are.

    Attributes:
        manifest: of the scenario's folder.
    """

    def __init__(self, scenario: Scenario, split: str, source: Source) -> None:
        self.scenario, self.split, self.source = scenario, split, source
        self._specs = scenario.specs
        self.manifest: Manifest = source.manifest(scenario)
        splits: dict[str, SplitRecord] = {str(name): record for name, record in self.manifest.splits.items()}
        if split not in splits:
            raise UnknownNameError(f"split of {scenario.id}", split, splits)
        record = splits[split]
        self._length: int = record.samples
        self._index_path = source.path_of(f"{scenario.id}/{record.index.name}")
        verify_file(self._index_path, record.index)
        self._files = {f"{scenario.id}/{shard.name}" for shard in record.shards}
        if source.is_local:  # better now than in the middle of a run
            for shard in record.shards:
                check_size(source.path_of(f"{scenario.id}/{shard.name}"), shard)
        self._open_index()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[FeatureSet]:
        return (self.features(index) for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_groups", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open_index()

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
            DataError: if a shard is missing or damaged.
        """
        row = self._row(index)
        shards: dict[str, Shard] = {}
        tensors = {}
        for spec in self._specs.tensors:
            reference = row[spec.name]
            file = reference["file"]
            if file not in shards:
                shards[file] = open_shard(self.source.uri_of(file))
            tensors[spec.name] = shards[file].tensor(reference["key"], reference["dtype"], reference["shape"])
        features = FeatureSet(tensors, {name: row[SIDE_PREFIX + name] for name in self._specs.side})
        try:
            check_features(features, self._specs)
        except ScenarioError as error:
            raise DataError(f"sample {index} of {self._index_path}: {error}") from error
        return features

    def row(self, index: int) -> dict[str, Any]:
        """A sample's row of the index, where each tensor's ``file`` is a URI that any process can follow."""
        row = dict(self._row(index))
        for spec in self._specs.tensors:
            row[spec.name] = {**row[spec.name], "file": self.source.uri_of(row[spec.name]["file"])}
        return row

    def check(self) -> None:
        """Raises DataError if any row of the index is wrong; reads no tensors."""
        for group in range(len(self._starts)):
            self._group(group)

    # ------------------------------------------------------------------------------------------------- internals

    def _open_index(self) -> None:
        self._groups: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()
        try:
            with pq.ParquetFile(self._index_path) as file:
                schema, metadata = file.schema_arrow, file.metadata
                sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"index {self._index_path} cannot be read: {error}") from error
        if not schema.equals(index_schema(self._specs, self.manifest.reference)) or sum(sizes) != self._length:
            raise DataError(f"index {self._index_path} is not what its manifest describes; build the dataset again")
        self._starts = [0, *accumulate(sizes)][:-1]

    def _row(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self._length:
            raise IndexError(f"sample {index} of a split of {self._length}")
        group = bisect_right(self._starts, index) - 1
        return self._group(group)[index - self._starts[group]]

    def _group(self, group: int) -> list[dict[str, Any]]:
        with self._lock:
            if group in self._groups:
                self._groups.move_to_end(group)
                return self._groups[group]
            try:
                with pq.ParquetFile(self._index_path) as file:
                    rows = file.read_row_group(group).to_pylist()
            except (pa.ArrowException, OSError, IndexError) as error:
                raise DataError(f"index {self._index_path} cannot be read: {error}") from error
            for position, row in enumerate(rows):
                self._check_row(row, self._starts[group] + position)
            self._groups[group] = rows
            while len(self._groups) > KEPT_ROW_GROUPS:
                self._groups.popitem(last=False)
            return rows

    def _check_row(self, row: dict[str, Any], index: int) -> None:
        where = f"row {index} of {self._index_path}"
        for column, value in row.items():
            if value is None:
                raise DataError(f"{where} has no {column!r}; build the dataset again")
        for spec in self._specs.tensors:
            reference = row[spec.name]
            if reference["file"] not in self._files:
                raise DataError(
                    f"{where} places tensor {spec.name!r} in {reference['file']!r}, which is no shard of this split; "
                    "do not trust this dataset"
                )
            if reference["dtype"] != spec.dtype or not shape_fits(reference["shape"], spec):
                raise DataError(
                    f"{where} says that tensor {spec.name!r} is {reference['dtype']} {reference['shape']}, "
                    "which the scenario does not allow; build the dataset again"
                )
