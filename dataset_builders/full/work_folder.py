"""Samples that are made one by one, a shard each, by any number of processes, and become one dataset.

Each finished sample is a shard and a record beside it, in a hidden folder; work that is started again takes them over.
When all are there the dataset's own folder is put in place by renaming. The same samples give the same files whoever
made which of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping, Sequence
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
from lamofcbench.storage.writer import INDEX_ROWS, put_in_place

Record = dict[str, Any]
"""What is known of a finished sample: ``sample_id``, ``reference`` or ``reference_file``, ``side``, ``size_bytes``,
``sha256`` (of the shard), ``tensors`` (dtype and shape by column), ``state`` (of what it was made from), and
``content_sha256`` where that is not the shard's."""


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
            shard = self.shard(slot)
            whole = shard.is_file() and file_sha256(shard) == record["sha256"]
            named = record["reference_file"]
        except LookupError:
            return None
        return record if whole and (not named or (self.path / named).is_file()) else None

    def keep(self, slot: Slot, record: Record, reference: Any) -> Record:
        """Lets another process take the sample over; what the disk has not got yet shows by the shard's hash.

        Args:
            slot: of the sample, whose shard is written.
            record: without its reference.
            reference: bytes go to a file of their own.

        Returns:
            The record with its reference.
        """
        file = None
        if isinstance(reference, bytes):
            file = f"{slot.name}.reference"
            (self.path / file).write_bytes(reference)
        record = {**record, "reference": None if file else reference, "reference_file": file}
        temporary = self.path / f"{slot.name}.new"
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self.path / f"{slot.name}.json")
        return record

    def reference(self, record: Record) -> Any:
        """A sample's reference."""
        return (self.path / record["reference_file"]).read_bytes() if record["reference_file"] else record["reference"]

    def publish(
        self, scenario: Scenario, output: Path, rows: Sequence[tuple[Slot, Record]], *, made_by: str, builder: str
    ) -> None:
        """Moves the shards into a folder with an index and a manifest, and that into its place; removes this folder.

        Args:
            scenario: whose samples these are.
            output: the dataset folder.
            rows: all samples, each split in its order.
            made_by: what beside the samples decides the data's revision.
            builder: the identity that the manifest records.

        Raises:
            DataError: if there is no test sample, or two of a split have one id.
        """
        if not any(slot.split == "test" for slot, _ in rows):
            raise DataError(f"{scenario.id}: there is no test sample, so there is no dataset to write")
        folder = output / f".{scenario.id}.building-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            reference = REFERENCE_TYPES[type(self.reference(rows[0][1]))]
            schema = index_schema(Columns.of(scenario), reference)
            digest = hashlib.sha256(made_by.encode())
            splits = {
                split: self._write_split(
                    scenario, folder, schema, [row for row in rows if row[0].split == split], digest
                )
                for split in dict.fromkeys(slot.split for slot, _ in rows)
            }
            manifest = Manifest(
                scenario=scenario.id,
                scenario_version=scenario.version,
                scenario_digest=scenario.digest,
                data_revision=digest.hexdigest(),
                builder=builder,
                reference=reference,
                features=scenario.specs,
                given=scenario.given,
                splits=splits,
            )
            put_in_place(folder, output, manifest)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _write_split(
        self, scenario: Scenario, folder: Path, schema: pa.Schema, rows: Sequence[tuple[Slot, Record]], digest: Any
    ) -> SplitRecord:
        """Moves a split's shards, writes its index, and lets the digest know its samples."""
        split, shards = rows[0][0].split, []
        for number, (slot, row) in enumerate(rows):
            name = shard_name(split, number, len(rows), row["sha256"])
            self.shard(slot).rename(folder / name)
            shards.append(ShardRecord(name=name, size_bytes=row["size_bytes"], sha256=row["sha256"], samples=1))
        index = folder / index_name(split)
        with pq.ParquetWriter(index, schema) as writer:
            for start in range(0, len(rows), INDEX_ROWS):
                stop = start + INDEX_ROWS
                table = [
                    self._index_row(scenario, shard.name, row)
                    for shard, (_, row) in zip(shards[start:stop], rows[start:stop], strict=True)
                ]
                for one in table:
                    said = hashlib.sha256(repr(one["reference"]).encode()).hexdigest()
                    digest.update(f"{split} {one['sample_id']} {one['content_sha256']} {said}\n".encode())
                writer.write_table(pa.Table.from_pylist(table, schema=schema))
        record = FileRecord(name=index.name, size_bytes=index.stat().st_size, sha256=file_sha256(index))
        return SplitRecord(samples=len(rows), index=record, shards=tuple(shards))

    def _index_row(self, scenario: Scenario, shard: str, row: Record) -> dict[str, Any]:
        columns = {
            name: {"file": f"{scenario.id}/{shard}", "key": name, "dtype": dtype, "shape": shape}
            for name, (dtype, shape) in row["tensors"].items()
        }
        side = {SIDE_PREFIX + name: value for name, value in row["side"].items()}
        content = row.get("content_sha256", row["sha256"])
        sample = {"sample_id": row["sample_id"], "content_sha256": content, "reference": self.reference(row)}
        return {**sample, **side, **columns}


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
