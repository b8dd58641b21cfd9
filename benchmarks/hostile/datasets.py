"""Datasets with a manifest, an index or a shard that nobody wrote so, most of them with hashes that fit."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hostile.files import Files, written
from benchmarks.hostile.honest import made_up_features
from benchmarks.hostile.json_mutations import mutate_json
from benchmarks.hostile.judge import message_fault
from benchmarks.hostile.mutations import mutate
from benchmarks.hostile.safetensors_mutations import mutate_safetensors
from lamofcbench.audit import Audit
from lamofcbench.codecs.conformance_samples import SPECS
from lamofcbench.scenarios.base import Backbone, Scenario
from lamofcbench.storage import DatasetWriter, load_dataset, open_split
from lamofcbench.storage.layout import MANIFEST_FILE, json_checksum, shard_name
from lamofcbench.storage.verification import verify_dataset

SIZES = {"test": ((17, 2), (1, 0), (5, 1)), "calibration": ((9, 1),)}
SCENARIO = Scenario(
    id="hostile-dataset",
    version=1,
    edition="user",
    category="other",
    title="Made-up features of every role and dtype",
    backbone=Backbone(adapter="none", source="none"),
    splits=(),
    tensors=SPECS.tensors,
    side=SPECS.side,
    prediction="text",
    metric="none",
    direction="up",
    batch_size=1,
    test_samples=3,
    calibration_samples=1,
    licence="CC0-1.0",
)
ODD_CELLS: tuple[Any, ...] = (
    None, "", "__metadata__", "../x", "/etc/passwd", "x" * 100_000, "a\nb", "\0", -1, 0, 1, 2**31, 2**62, [], [-1], [0],
    [2**62, 2**62], [1] * 1000, "float32", "int8", b"\xff",
)  # fmt: skip


class DatasetTemplate:
    """A dataset folder of several shards.

    Args:
        target: which file is damaged: ``manifest``, ``index`` or ``shard``.
    """

    readers: Mapping[str, float] = {"open_split": 0.8, "verify": 0.18, "load_dataset": 0.02}

    def __init__(self, target: str) -> None:
        self._target = target
        with tempfile.TemporaryDirectory() as folder:
            with DatasetWriter(Path(folder), SCENARIO, data_revision="1", shard_bytes=1000) as writer:
                for split, samples in SIZES.items():
                    for number, sizes in enumerate(samples):
                        features = made_up_features(SPECS, sizes, number)
                        digest = hashlib.sha256(f"{split} {number}".encode()).hexdigest()
                        writer.add(split, f"sample-{number}", features, reference="yes", content_sha256=digest)  # type: ignore[arg-type]
            self.files: Files = {
                name: content for name, content in written(Path(folder)).items() if name.startswith(f"{SCENARIO.id}/")
            }

    def damage(self, random: Random) -> tuple[str, Files]:
        """The file changed, and mostly hashes and names that fit."""
        files = dict(self.files)
        endings = {"manifest": ".json", "index": ".parquet", "shard": ".safetensors"}
        name = random.choice([name for name in files if name.endswith(endings[self._target])])
        donor = files[random.choice(list(files))]
        as_bytes = random.random() < 0.3
        if self._target == "shard":
            files[name] = mutate_safetensors(files[name], random)
        elif as_bytes:
            files[name] = mutate(files[name], donor, random)
        elif self._target == "manifest":
            files[name] = mutate_json(files[name], random)
        else:
            files[name] = _other_rows(files[name], random)
        if random.random() < 0.02:
            del files[name]
        forged = random.random() < 0.85 and _forge(files)
        return f"{name}{' with forged hashes' if forged else ''}", files

    def read(self, folder: Path, reader: str) -> str | None:
        """Reads every row and every tensor of every split, or verifies every byte."""
        if reader == "verify":
            return _verified(folder)
        for split in SIZES:
            if reader == "load_dataset":
                for row in load_dataset(SCENARIO, split=split, data_dir=str(folder), streaming=True):
                    row[SPECS.tensors[0].name].clone()
                continue
            opened = open_split(SCENARIO, split, folder)
            opened.check()
            for index in range(len(opened)):
                opened.row(index), opened.sample_id(index), opened.reference(index)
                for tensor in opened.features(index).tensors.values():
                    tensor.clone()  # reads what is mapped
        return None


def _verified(folder: Path) -> str | None:
    audit = Audit()
    verify_dataset(folder, audit)
    lines = map(str, [*audit.damage, *audit.notes])
    return next((fault for fault in map(message_fault, lines) if fault is not None), None)


def _other_rows(data: bytes, random: Random) -> bytes:
    """The index with a few cells changed, a row doubled or left out, or a column's name or type changed."""
    table = pq.read_table(io.BytesIO(data))
    rows, schema = table.to_pylist(), table.schema
    for _ in range(random.randint(1, 3)):
        kind = random.random()
        if kind < 0.8 and rows:
            _change_cell(random.choice(rows), random)
        elif kind < 0.9 and rows:
            rows.append(random.choice(rows)) if random.random() < 0.5 else rows.pop()
        else:
            at = random.randrange(len(schema))
            field = schema.field(at)
            other = random.choice(
                (field.with_name("other"), pa.field(field.name, pa.string()), pa.field(field.name, pa.null()))
            )
            schema = schema.set(at, other)
    buffer = io.BytesIO()
    pq.write_table(_table(rows, schema, table.schema), buffer)
    return buffer.getvalue()


def _change_cell(row: dict[str, Any], random: Random) -> None:
    column = random.choice(list(row))
    if isinstance(row[column], dict) and random.random() < 0.9:
        row[column] = {**row[column], random.choice(list(row[column])): random.choice(ODD_CELLS)}
    else:
        row[column] = random.choice(ODD_CELLS)


def _table(rows: list[dict[str, Any]], *schemas: pa.Schema) -> pa.Table:
    """The rows in the first schema that can hold them; columns that none can hold become null."""
    for schema in schemas:
        try:
            return pa.Table.from_pylist(rows, schema=schema)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    arrays = [_column([row.get(field.name) for row in rows], field.type) for field in schemas[-1]]
    return pa.Table.from_arrays(arrays, schema=schemas[-1])


def _column(cells: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(cells, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.nulls(len(cells), kind)


def _forge(files: dict[str, bytes]) -> bool:
    """Makes names, sizes and hashes fit the content, as far as the manifest can be read."""
    place = f"{SCENARIO.id}/"
    try:
        manifest = json.loads(files[place + MANIFEST_FILE])
        for split, record in manifest["splits"].items():
            renamed = {}
            for number, shard in enumerate(record["shards"]):
                sha256 = hashlib.sha256(files.get(place + shard["name"], b"")).hexdigest()
                new = shard_name(split, number, len(record["shards"]), sha256)
                renamed[place + shard["name"]] = place + new
                _move(files, place + shard["name"], place + new)
                shard.update(name=new, sha256=sha256, size_bytes=len(files.get(place + new, b"")))
            index = place + record["index"]["name"]
            if any(old != new for old, new in renamed.items()):
                files[index] = _with_files(files[index], renamed)
            content = files[index]
            record["index"].update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        manifest["checksum"] = json_checksum(manifest)
        files[place + MANIFEST_FILE] = json.dumps(manifest).encode()
    except (Exception, RecursionError):  # damaged beyond forging
        return False
    return True


def _move(files: dict[str, bytes], old: str, new: str) -> None:
    if old in files:
        files[new] = files.pop(old)


def _with_files(index: bytes, renamed: dict[str, str]) -> bytes:
    table = pq.read_table(io.BytesIO(index))
    rows = table.to_pylist()
    for row in rows:
        for cell in row.values():
            if isinstance(cell, dict) and "file" in cell:
                cell["file"] = renamed.get(cell["file"], cell["file"])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), buffer)
    return buffer.getvalue()
