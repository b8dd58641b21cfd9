"""Tables of results, read a few rows at a time and up to a limit: a small file may say that it holds what fills memory.

A page says a long value once, and what points to it takes next to nothing; so does a run of equal numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lamofcbench.errors import ResultsError, first_line
from lamofcbench.storage.index import PARQUET_ERRORS

MAX_TABLE_BYTES, MAX_EXPANSION = 2**28, 8
"""A table may take so much memory, and beside that so many times what its file takes."""
MAX_ROWS = 256
"""Of a table at a time."""
NUMBER_BYTES = 8


def read_table(path: Path, rows: int | None = None, leave_out: Collection[str] = ()) -> pa.Table:
    """A table of a results folder.

    Args:
        path: the file.
        rows: how many it is to have, where its result says so.
        leave_out: columns that are not read.

    Raises:
        ResultsError: if it is missing or damaged, has other rows, or would take more memory than tables may.
    """
    try:
        with pq.ParquetFile(path) as file:
            found = file.metadata.num_rows
            if rows is not None and found != rows:
                raise ResultsError(f"{path} has {found} rows where its result counts {rows} samples")
            columns = [name for name in file.schema_arrow.names if name not in leave_out]
            batches = list(bounded_batches(file, path, columns))
            schema = pa.schema([file.schema_arrow.field(name) for name in columns], file.schema_arrow.metadata)
            return pa.Table.from_batches(batches, schema)
    except PARQUET_ERRORS as error:
        raise ResultsError(f"{path} is missing or damaged: {first_line(error)}") from error


def bounded_batches(file: pq.ParquetFile, path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a table, so few at a time that they take little more than all of it may, whatever they repeat.

    Args:
        file: opened.
        path: it.
        columns: those that are read; None for all.

    Raises:
        ValueError: once they take more than `MAX_TABLE_BYTES` and `MAX_EXPANSION` allow, or if a row alone may.
    """
    allowed_bytes, read_bytes = MAX_TABLE_BYTES + MAX_EXPANSION * path.stat().st_size, 0
    leaves = range(file.metadata.num_columns)
    lists = [leaf for leaf in leaves if file.schema.column(leaf).max_repetition_level]
    if any(file.schema.column(leaf).physical_type == "BYTE_ARRAY" for leaf in lists):
        raise ValueError("it holds lists of texts, which no result does")
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        size_bytes = sum(group.column(leaf).total_uncompressed_size for leaf in leaves)
        numbers = sum(group.column(leaf).num_values for leaf in lists)
        if max(size_bytes, NUMBER_BYTES * numbers) > allowed_bytes:
            raise ValueError("it claims rows too large to read at once")
        rows = max(1, min(MAX_ROWS, allowed_bytes // max(1, size_bytes)))  # no value is larger than its column
        for batch in file.iter_batches(batch_size=rows, row_groups=[number], columns=columns, use_threads=False):
            read_bytes += batch.nbytes
            if read_bytes > allowed_bytes:
                raise ValueError(f"it takes more than {allowed_bytes} bytes of memory")
            yield batch
