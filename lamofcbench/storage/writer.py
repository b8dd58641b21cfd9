"""Writes a scenario's features as a dataset: shards, index, manifest and card."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard
from safetensors.torch import save_file
from torch import Tensor

from lamofcbench.atomic import write_errors, write_text
from lamofcbench.builders import Split
from lamofcbench.errors import DataError, LaMoFCBenchError, ScenarioError, WriteError, first_line
from lamofcbench.features import FeatureSet
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.processes import is_running, machine
from lamofcbench.references import check_sample
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.building import building
from lamofcbench.storage.columns import SIDE_PREFIX, Columns
from lamofcbench.storage.integrity import file_sha256
from lamofcbench.storage.layout import (
    CARD_FILE,
    MANIFEST_FILE,
    REFERENCE_TYPES,
    SPLITS,
    FileRecord,
    Manifest,
    ReferenceType,
    ShardRecord,
    SplitRecord,
    card_configs,
    index_name,
    index_schema,
    read_manifest,
    shard_name,
)

DEFAULT_SHARD_BYTES = 256 * 2**20
_FORMER = "-old"
INDEX_ROWS = 256
"""Rows of an index that are written, and later read, at a time; bounds memory where references are whole masks."""


class DatasetWriter:
    """Collects the samples of one scenario and publishes them as ``output/<scenario id>/`` when the block ends well.

    Everything is written into a hidden folder beside the final one, which is put in place by renaming. An error or a
    kill leaves what was there before. Memory is bounded by one shard. Until the block ends, other processes that write
    the same scenario into the same folder wait.

    Args:
        output: the dataset folder; other scenarios in it stay as they are.
        scenario: whose features these are.
        data_revision: hash of everything that decides the features.
        shard_bytes: a shard is closed once its tensors reach this size.
        builder_identity: of the code that makes them; recorded in the manifest.

    Example:
        with DatasetWriter(output, scenario, data_revision=builder.revision()) as writer:
            writer.add("test", "sample-0", features, reference=3, content_sha256=...)
    """

    def __init__(
        self,
        output: Path,
        scenario: Scenario,
        *,
        data_revision: str,
        shard_bytes: int = DEFAULT_SHARD_BYTES,
        builder_identity: str = "",
    ) -> None:
        self.output, self.scenario, self.data_revision, self.shard_bytes = output, scenario, data_revision, shard_bytes
        self.builder_identity = builder_identity
        self.reference: ReferenceType | None = None
        self._columns, self._prediction_kind = Columns.of(scenario), scenario.prediction_kind
        self._splits: dict[Split, _SplitWriter] = {}
        self._contents: dict[str, Split] = {}
        self._folder: Path

    def __enter__(self) -> DatasetWriter:
        with ExitStack() as stack:
            try:
                self.output.mkdir(parents=True, exist_ok=True)
                stack.enter_context(building(self.output, self.scenario.id))
                self._folder = new_folder(self.output, self.scenario.id)
            except WriteError:
                raise
            except OSError as error:
                raise DataError(f"cannot write to {self.output}: {first_line(error)}") from error
            self._lock = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            try:
                if kind is None:
                    with self._named_errors():
                        self._publish()
            finally:
                for split in self._splits.values():
                    split.close()
                shutil.rmtree(self._folder, ignore_errors=True)

    def add(
        self,
        split: Split,
        sample_id: str,
        features: FeatureSet,
        *,
        reference: str | int | float | bytes,
        content_sha256: str,
    ) -> None:
        """Adds the next sample of a split.

        Args:
            split: ``test`` or ``calibration``.
            sample_id: unique within the split.
            features: in the stored dtypes; the tensors are copied.
            reference: what the metric compares a prediction with; of one type throughout the dataset, one of those that
                `lamofcbench.references` lists for the scenario's predictions.
            content_sha256: hex hash of the raw sample.

        Raises:
            ScenarioError: if the features do not match the scenario.
            DataError: if the id repeats, the reference's type changes, one of them cannot be stored, or the raw sample
                is in the other split.
            WriteError: naming the dataset, if it cannot be written.
        """
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        number = len(self._splits[split].sample_ids) if split in self._splits else 0
        where = f"{self.scenario.id}, {split} sample {number}"
        sample_id, reference = check_sample(self._prediction_kind, sample_id, reference, where)
        try:
            tensors = self._columns.split(features)
        except ScenarioError as error:
            raise ScenarioError(f"{self.scenario.id}, sample {sample_id!r}: {error}") from error
        kind = REFERENCE_TYPES[type(reference)]
        self.reference = self.reference or kind
        if kind != self.reference:
            raise DataError(
                f"{where} ({sample_id!r}): the reference is of type {type(reference).__name__}; references are all "
                f"{self.reference}"
            )
        if self._contents.get(content_sha256, split) != split:
            raise DataError(f"{where} ({sample_id!r}) is in the other split, too; splits must be disjoint")
        with self._named_errors():
            if split not in self._splits:
                schema = index_schema(self._columns, self.reference)
                self._splits[split] = _SplitWriter(self._folder, split, schema, self.scenario.id, self.shard_bytes)
            self._splits[split].add(sample_id, tensors, features.side, reference, content_sha256)
            self._contents[content_sha256] = split

    # ------------------------------------------------------------------------------------------------- internals

    def _named_errors(self) -> AbstractContextManager[None]:
        return write_errors(self.output / self.scenario.id, self._folder)

    def _publish(self) -> None:
        records = {split: self._splits[split].finish() for split in SPLITS if split in self._splits}
        if "test" not in records or self.reference is None:
            raise DataError(f"{self.scenario.id}: no test samples were added, so there is no dataset to write")
        manifest = Manifest(
            scenario=self.scenario.id,
            scenario_version=self.scenario.version,
            scenario_digest=self.scenario.digest,
            data_revision=self.data_revision,
            builder=self.builder_identity,
            reference=self.reference,
            features=self.scenario.specs,
            given=self.scenario.given,
            splits=records,
        )
        put_in_place(self._folder, self.output, manifest)


class _SplitWriter:
    """The shards and the index of one split, while they grow."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema, scenario_id: str, shard_bytes: int) -> None:
        self.folder, self.split, self.schema = folder, split, schema
        self.scenario_id, self.shard_bytes = scenario_id, shard_bytes
        self.sample_ids: set[str] = set()
        self.tensors: dict[str, Tensor] = {}
        self.tensor_bytes = 0
        self.shard_samples: list[int] = [0]
        self.rows: list[dict[str, Any]] = []
        # Shard names carry the number of shards, which is known at the end only: until then the index names numbers.
        self.provisional = folder / f"{split}.rows"
        self.index = pq.ParquetWriter(self.provisional, schema)

    def add(
        self,
        sample_id: str,
        tensors: Mapping[str, Tensor],
        side: Mapping[str, int],
        reference: Any,
        content_sha256: str,
    ) -> None:
        if sample_id in self.sample_ids:
            raise DataError(f"{self.scenario_id}: two {self.split} samples have the id {sample_id!r}")
        row: dict[str, Any] = {"sample_id": sample_id, "content_sha256": content_sha256, "reference": reference}
        row.update((SIDE_PREFIX + name, value) for name, value in side.items())
        for name, tensor in tensors.items():
            key = f"{len(self.sample_ids):08d}/{name}"
            # A copy, because the model may use its buffers again, and a view would keep the whole buffer alive.
            self.tensors[key] = tensor.detach().clone().cpu().contiguous()
            self.tensor_bytes += tensor.nbytes
            dtype = str(tensor.dtype).removeprefix("torch.")
            file = str(len(self.shard_samples) - 1)
            row[name] = {"file": file, "key": key, "dtype": dtype, "shape": list(tensor.shape)}
        self.sample_ids.add(sample_id)
        self.rows.append(row)
        self.shard_samples[-1] += 1
        if len(self.rows) == INDEX_ROWS:
            self._flush_rows()
        if self.tensor_bytes >= self.shard_bytes:
            self._flush_shard()

    def finish(self) -> SplitRecord:
        """Writes what is left, gives the shards their final names, and records everything."""
        self._flush_rows()
        self.index.close()
        if self.tensors:
            self._flush_shard()
        counts = self.shard_samples[:-1]
        shards = tuple(self._named(number, count, len(counts)) for number, count in enumerate(counts))
        index = self.folder / index_name(self.split)
        self._write_index(index, [shard.name for shard in shards])
        return SplitRecord(samples=len(self.sample_ids), index=FileRecord(**_recorded(index)), shards=shards)

    def close(self) -> None:
        """Lets go of the provisional index, which is complete or not wanted any more."""
        with suppress(OSError, pa.ArrowException):
            self.index.close()

    def _shard(self, number: int) -> Path:
        return self.folder / f"{self.split}.{number}"

    def _named(self, number: int, samples: int, shards: int) -> ShardRecord:
        """Gives a shard its final name."""
        file = self._shard(number)
        known = _recorded(file)
        name = shard_name(self.split, number, shards, known["sha256"])
        file.rename(self.folder / name)
        return ShardRecord(**{**known, "name": name}, samples=samples)

    def _flush_rows(self) -> None:
        if self.rows:
            self.index.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
            self.rows = []

    def _flush_shard(self) -> None:
        shard = self._shard(len(self.shard_samples) - 1)
        save_file(self.tensors, shard)
        shutil.copymode(self.provisional, shard)  # safetensors lets nobody but the owner read what it writes
        self.tensors, self.tensor_bytes = {}, 0
        self.shard_samples.append(0)

    def _write_index(self, path: Path, names: list[str]) -> None:
        tensors = [field.name for field in self.schema if pa.types.is_struct(field.type)]
        with pq.ParquetFile(self.provisional) as provisional, pq.ParquetWriter(path, self.schema) as index:
            for group in range(provisional.num_row_groups):
                rows = provisional.read_row_group(group).to_pylist()
                for row in rows:
                    for tensor in tensors:
                        row[tensor]["file"] = f"{self.scenario_id}/{names[int(row[tensor]['file'])]}"
                index.write_table(pa.Table.from_pylist(rows, schema=self.schema))
        self.provisional.unlink()


def new_folder(output: Path, scenario_id: str) -> Path:
    """Makes the hidden folder beside a scenario's final one in which its dataset is written, for `put_in_place`.

    What killed builds of the scenario on this machine left behind is removed, and what one took away is put back. The
    caller holds `lamofcbench.storage.building.building`.

    Args:
        output: the dataset folder.
        scenario_id: of the dataset.

    Raises:
        OSError: if it cannot be made.
    """
    place, prefix = output / scenario_id, f".{scenario_id}.building-{machine()}-"
    for folder in output.glob(f"{prefix}*"):
        if folder.name.endswith(_FORMER) and not place.exists():
            folder.rename(place)
        match = re.match(r"(\d+)-", folder.name.removeprefix(prefix))
        if match is not None and not is_running(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)
    made = output / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
    made.mkdir()
    return made


def put_in_place(folder: Path, output: Path, manifest: Manifest) -> None:
    """Makes a folder that holds a scenario's shards and indices the dataset of that scenario, in place of any other.

    Args:
        folder: beside its final place; gone afterwards.
        output: the dataset folder.
        manifest: of the folder's files.
    """
    (folder / MANIFEST_FILE).write_text(manifest.sealed(), encoding="utf-8")
    place = output / manifest.scenario
    former = folder.with_name(f"{folder.name}{_FORMER}")
    if place.exists():  # a folder cannot be renamed onto a full one
        place.rename(former)
    folder.rename(place)
    shutil.rmtree(former, ignore_errors=True)
    write_card(output)


def write_card(folder: Path) -> None:
    """Lists every scenario of a dataset folder in its card; everything else in an existing card stays."""
    with locked(folder / LOCKS_DIRECTORY / f"{CARD_FILE}.lock", f"writing {folder / CARD_FILE}"):
        manifests: dict[str, Manifest] = {}
        for path in sorted(folder.glob(f"[!.]*/{MANIFEST_FILE}")):
            try:
                manifests[path.parent.name] = read_manifest(path)
            except LaMoFCBenchError:
                continue  # not readable, so not offered either; opening it says why
        card_path = folder / CARD_FILE
        try:
            card = DatasetCard(card_path.read_text(encoding="utf-8") if card_path.is_file() else _new_card(manifests))
        except ValueError as error:
            raise DataError(
                f"the front matter of {card_path} is not valid YAML ({first_line(error)}); mend or remove the file"
            ) from error
        card.data["configs"] = card_configs(manifests)
        write_text(card_path, str(card))


def _new_card(manifests: Mapping[str, Manifest]) -> str:
    example = next(iter(manifests))
    return f"""---
pretty_name: LaMoFCBench features
tags:
- lamofcbench
- feature-coding
---

# Features for LaMoFCBench

Intermediate features of large models at their split points, a configuration a scenario, splits `test` and
`calibration`. An index row refers to the tensors of one sample, which lie in safetensors shards beside it. Columns
`given.*` refer to what a scenario hands its tail beside the features, such as the image that a published head looks at
once more: no codec sees it, and no rate counts it.

```python
import lamofcbench

dataset = lamofcbench.load_dataset("{example}", split="test", data_dir="THIS FOLDER")
```
"""


def _recorded(path: Path) -> dict[str, Any]:
    return {"name": path.name, "size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
