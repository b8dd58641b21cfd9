"""Tables of results, read a few rows at a time and up to a limit (`lamofcbench.storage.batches`)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lamofcbench.errors import ResultsError, first_line
from lamofcbench.storage.batches import PARQUET_ERRORS, bounded_batches

MAX_TABLE_BYTES, MAX_EXPANSION = 2**28, 8
"""A table may take so much memory, and beside that so many times what its file takes."""


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
            batches = list(bounded_batches(file, allowed_bytes(path), columns=columns))
            schema = pa.schema([file.schema_arrow.field(name) for name in columns], file.schema_arrow.metadata)
            return pa.Table.from_batches(batches, schema)
    except PARQUET_ERRORS as error:
        raise ResultsError(f"{path} is missing or damaged: {first_line(error)}") from error


def allowed_bytes(path: Path) -> int:
    """The memory that a table of results may take."""
    return MAX_TABLE_BYTES + MAX_EXPANSION * path.stat().st_size
