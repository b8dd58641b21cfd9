"""A sample's record: one row of ``samples.parquet``, and the same as JSON in the journal.

A record is a flat mapping whose keys are the table's columns (`harness.results.result.SAMPLE_COLUMNS`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.metrics.predictions import cell_type
from harness.results.result import TIMING_COLUMNS
from harness.results.tables import allowed_bytes
from lamofcbench.atomic import write_errors
from lamofcbench.errors import ResultsError, first_line
from lamofcbench.prediction_kinds import PredictionKind
from lamofcbench.scenarios.base import PredictionType
from lamofcbench.storage.batches import PARQUET_ERRORS, bounded_batches

Record = dict[str, Any]

ROWS_A_GROUP = 64
"""Bounds the memory of writing and reading; a constant, so that equal records give equal files."""

STATISTIC = "statistic."
SHAPE = b"shape"
"""Of the array that a column holds, in the metadata of its field."""
MAX_SHAPE_BYTES = 100
DIGEST = "decoded_sha256"
DIVERGENCE, POSITIONS = "response_divergence_nats", "response_positions"
RESPONSE_ERROR, RESPONSE_ENERGY = "response_squared_error", "response_energy"
_INTEGERS = ("index", "coded_bytes", "elements", "raw_bits", "given_bytes", POSITIONS)
_REFERENCE_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bytes: pa.binary(),
}


def to_json(record: Mapping[str, Any]) -> Record:
    """A record of JSON values only; `from_json` gives back the same record, floats to the last bit."""
    return {name: _to_json(value) for name, value in record.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "values": value.ravel().tolist()}
    return value


def from_json(record: Mapping[str, Any]) -> Record:
    """The record that `to_json` wrote."""
    return {name: _from_json(value) for name, value in record.items()}


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "base64" in value:
        return base64.b64decode(value["base64"])
    return np.array(value["values"], dtype=np.float64).reshape(value["shape"])


def as_statistics(statistics: Mapping[str, Any]) -> Record:
    """A metric's statistics of one sample as columns: floats, and float64 arrays."""
    return {
        f"{STATISTIC}{name}": float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)
        for name, value in statistics.items()
    }


def sample_schema(record: Record, kind: PredictionType | PredictionKind) -> pa.Schema:
    """The columns of ``samples.parquet``, as the first record shows them."""
    fields = []
    for name, value in record.items():
        metadata = None
        if name == "prediction":
            column = cell_type(kind)
        elif name == "reference":
            column = _REFERENCE_TYPES[type(value)]
        elif name in ("sample_id", DIGEST):
            column = pa.string()
        elif name in _INTEGERS or name.startswith(("elements.", "payload_bytes.")):
            column = pa.int64()
        elif isinstance(value, np.ndarray):
            column, metadata = pa.list_(pa.float64()), {SHAPE: json.dumps(value.shape).encode()}
        else:
            column = pa.float64()
        fields.append(pa.field(name, column, metadata=metadata))
    return pa.schema(fields)


TIMING_SCHEMA = pa.schema([(name, pa.int64() if name == "index" else pa.float64()) for name in TIMING_COLUMNS])


class TableWriter:
    """Writes records to a parquet file in row groups of a fixed size; a context manager that completes it.

    Args:
        path: the file.
        schema: its columns, or what gives them for the first record.

    Raises:
        WriteError: naming the file, if it cannot be written.
    """

    def __init__(self, path: Path, schema: pa.Schema | Callable[[Record], pa.Schema]) -> None:
        self._path, self._declared, self._rows = path, schema, list[Record]()
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema

    def __enter__(self) -> TableWriter:
        if isinstance(self._declared, pa.Schema):
            self._open(self._declared)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._rows:
                self._flush()
            if error is None and self._writer is not None:
                with write_errors(self._path):
                    self._writer.close()
        finally:
            if self._writer is not None and self._writer.is_open:  # the file is lost, its handle is let go of
                with contextlib.suppress(OSError, pa.ArrowException):
                    self._writer.close()

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        with write_errors(self._path):
            self._writer = pq.ParquetWriter(self._path, schema, compression="zstd", write_page_checksum=True)

    def append(self, record: Record) -> None:
        """Adds a row."""
        if self._writer is None:
            self._open(self._declared(record))
        if record.keys() != set(self._schema.names):
            odd = sorted(record.keys() ^ set(self._schema.names))
            raise ResultsError(
                f"sample {record.get('sample_id')!r} has other columns than the first: {', '.join(odd)}; "
                "an older version began this run, --overwrite always computes it anew"
            )
        self._rows.append(record)
        if len(self._rows) == ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        columns = []
        for field in self._schema:
            values = [row[field.name] for row in self._rows]
            if values and isinstance(values[0], np.ndarray):
                values = [value.ravel() for value in values]
            columns.append(pa.array(values, field.type))
        assert self._writer is not None
        with write_errors(self._path):
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows.clear()


def iterate_records(path: Path) -> Iterator[Record]:
    """The rows of ``samples.parquet`` in order, a few in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in bounded_batches(file, allowed_bytes(path)):
                yield from batch.to_pylist()
    except PARQUET_ERRORS as error:
        raise ResultsError(f"{path} is missing or damaged: {first_line(error)}") from error


def column(table: pa.Table, name: str) -> np.ndarray:
    """A column stacked over samples: ``[samples]``, or ``[samples, ...]`` in the shape the metric gave.

    Raises:
        ResultsError: if it has no shape, or not so many values for each sample.
    """
    field, values = table.schema.field(name), table.column(name)
    if not pa.types.is_list(field.type):
        return values.to_numpy()
    shape = _shape_of(field)
    flat = values.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    try:
        return flat.reshape(len(values), *shape)
    except ValueError as error:
        raise ResultsError(f"column {name!r} does not hold the same number of values for each sample") from error


def _shape_of(field: pa.Field) -> list[int]:
    """The shape of a sample's values, which stands in the column's metadata; -1 for as many as there are."""
    try:
        stated = (field.metadata or {}).get(SHAPE, b"[-1]")
        shape = json.loads(stated) if len(stated) <= MAX_SHAPE_BYTES else None
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise ValueError("it is no list of sizes")
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"column {field.name!r} does not say the shape of its values") from error
    return shape


def statistics_of(table: pa.Table) -> dict[str, np.ndarray]:
    """The metric's statistics in a table of samples, as `Metric.score` takes them."""
    names = [name for name in table.column_names if name.startswith(STATISTIC)]
    return {name.removeprefix(STATISTIC): column(table, name) for name in names}


def stack_statistics(records: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The same from records in memory."""
    records = list(records)
    names = [name for name in records[0] if name.startswith(STATISTIC)]
    return {name.removeprefix(STATISTIC): np.stack([np.asarray(r[name]) for r in records]) for name in names}


def total(values: np.ndarray) -> float:
    """A sum that does not depend on the order of summation; NaN where a value is not finite."""
    numbers = [float(value) for value in values]
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else math.nan
