"""Samples that are made one by one, a shard each, by any number of processes, and become one dataset.

Each finished sample is a shard and a record beside it, in a hidden folder; work that is started again takes them over.
When all are there the dataset's own folder is put in place by renaming. The same samples give the same files whoever
made which of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lamofcbench.atomic import write_json
from lamofcbench.builders import Split
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.columns import SIDE_PREFIX, Columns
from lamofcbench.storage.integrity import file_sha256
from lamofcbench.storage.layout import (
    REFERENCE_TYPES,
    FileRecord,
    Manifest,
    ShardRecord,
    SplitRecord,
    index_name,
    index_schema,
    shard_name,
)
from lamofcbench.storage.writer import INDEX_ROWS, new_folder, put_in_place

Record = dict[str, Any]
"""What is known of a finished sample: ``sample_id``, ``reference``, or ``reference_file`` and ``reference_sha256``,
``side``, ``size_bytes``, ``sha256`` (of the shard), ``tensors`` (dtype and shape by column), ``state`` (of what it was
made from), and ``content_sha256`` where that is not the shard's."""


@dataclass(frozen=True)
class Slot:
    """The place of one sample in a dataset.

    Attributes:
        split: where it goes.
        number: its place among the split's samples.
    """

    split: Split
    number: int

    @property
    def name(self) -> str:
        """Of what is made of it, in the working folder."""
        return f"{self.split}-{self.number:06d}"


class WorkFolder:
    """A hidden folder of finished samples.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, stamp: Mapping[str, Any]) -> None:
        """Makes the folder, or empties one in which other samples were begun.

        Args:
            stamp: what must be the same for finished samples to be taken over.
        """
        file = self.path / "stamp.json"
        if read_json(file) != stamp:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            write_json(file, stamp)

    def shard(self, slot: Slot) -> Path:
        """Where a sample's shard is written."""
        return self.path / f"{slot.name}.safetensors"

    def finished(self, slot: Slot, state: Any) -> Record | None:
        """The record of a sample that is whole and was made from what there is now; else None.

        Args:
            slot: of the sample.
            state: of what it is made from; lists and plain values.
        """
        record = read_json(self.path / f"{slot.name}.json")
        try:
            if not isinstance(record, dict) or record["state"] != state:
                return None
            files = [(self.shard(slot), record["sha256"])]
            if record["reference_file"]:
                files.append((self.path / record["reference_file"], record["reference_sha256"]))
        except LookupError:
            return None
        return record if all(file.is_file() and file_sha256(file) == sha256 for file, sha256 in files) else None

    def keep(self, slot: Slot, record: Record, reference: Any) -> Record:
        """Lets another process take the sample over; what the disk has not got yet shows by the files' hashes.

        Args:
            slot: of the sample, whose shard is written.
            record: without its reference.
            reference: bytes go to a file of their own.

        Returns:
            The record with its reference.
        """
        if isinstance(reference, bytes):
            file = self.path / f"{slot.name}.reference"
            file.write_bytes(reference)
            sha256 = hashlib.sha256(reference).hexdigest()
            record = {**record, "reference_file": file.name, "reference_sha256": sha256}
        else:
            record = {**record, "reference": reference, "reference_file": None}
        temporary = self.path / f"{slot.name}.new"
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self.path / f"{slot.name}.json")
        return record

    def reference(self, record: Record) -> Any:
        """A sample's reference."""
        return (self.path / record["reference_file"]).read_bytes() if record["reference_file"] else record["reference"]

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(
        self, scenario: Scenario, output: Path, rows: Sequence[tuple[Slot, Record]], *, revision: str, builder: str
    ) -> None:
        """Makes the samples the scenario's dataset, and removes this folder.

        Shards are moved when all else is written, and back if the dataset cannot be put in place then: whatever fails,
        no computed sample is lost.

        Args:
            scenario: whose samples these are.
            output: the dataset folder.
            rows: all samples, each split in its order.
            revision: of the data, for the manifest.
            builder: the identity that the manifest records.

        Raises:
            DataError: if there is no test sample.
        """
        if not any(slot.split == "test" for slot, _ in rows):
            raise DataError(f"{scenario.id}: there is no test sample, so there is no dataset to write")
        folder = new_folder(output, scenario.id)
        try:
            reference = REFERENCE_TYPES[type(self.reference(rows[0][1]))]
            schema = index_schema(Columns.of(scenario), reference)
            splits: dict[Split, SplitRecord] = {}
            moves: list[tuple[Path, Path]] = []
            for split in dict.fromkeys(slot.split for slot, _ in rows):
                own = [row for row in rows if row[0].split == split]
                splits[split] = record = self._write_index(scenario, folder / index_name(split), schema, own)
                moves += [
                    (self.shard(slot), folder / shard.name) for (slot, _), shard in zip(own, record.shards, strict=True)
                ]
            manifest = Manifest(
                scenario=scenario.id,
                scenario_version=scenario.version,
                scenario_digest=scenario.digest,
                data_revision=revision,
                builder=builder,
                reference=reference,
                features=scenario.specs,
                given=scenario.given,
                splits=splits,
            )
            with _moved(moves):
                put_in_place(folder, output, manifest)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.remove()

    def _write_index(
        self, scenario: Scenario, path: Path, schema: pa.Schema, rows: Sequence[tuple[Slot, Record]]
    ) -> SplitRecord:
        """Writes the index of a split, which names the shards as they will be."""
        shards = [
            ShardRecord(
                name=shard_name(slot.split, number, len(rows), row["sha256"]),
                size_bytes=row["size_bytes"],
                sha256=row["sha256"],
                samples=1,
            )
            for number, (slot, row) in enumerate(rows)
        ]
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, len(rows), INDEX_ROWS):
                stop = start + INDEX_ROWS
                table = [
                    self._index_row(scenario, shard.name, row)
                    for shard, (_, row) in zip(shards[start:stop], rows[start:stop], strict=True)
                ]
                writer.write_table(pa.Table.from_pylist(table, schema=schema))
        index = FileRecord(name=path.name, size_bytes=path.stat().st_size, sha256=file_sha256(path))
        return SplitRecord(samples=len(rows), index=index, shards=tuple(shards))

    def _index_row(self, scenario: Scenario, shard: str, row: Record) -> dict[str, Any]:
        columns = {
            name: {"file": f"{scenario.id}/{shard}", "key": name, "dtype": dtype, "shape": shape}
            for name, (dtype, shape) in row["tensors"].items()
        }
        side = {SIDE_PREFIX + name: value for name, value in row["side"].items()}
        content = row.get("content_sha256", row["sha256"])
        sample = {"sample_id": row["sample_id"], "content_sha256": content, "reference": self.reference(row)}
        return {**sample, **side, **columns}


@contextlib.contextmanager
def _moved(moves: Sequence[tuple[Path, Path]]) -> Iterator[None]:
    """Renames files, and where the block fails and they are still there, back."""
    try:
        for source, target in moves:
            source.rename(target)
        yield
    except BaseException:
        for source, target in moves:
            with contextlib.suppress(OSError):
                target.rename(source)
        raise


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
