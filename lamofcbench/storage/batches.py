"""Parquet that anybody may have written, read a few rows at a time and up to a limit.

A small file may say that it holds what fills memory: a page says a long value once, and what points to it takes next to
nothing; so does a run of equal numbers, or of none. So tables hold numbers, texts, bytes and lists of numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

_NUMBERS = ("BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE")
_VALUES = (*_NUMBERS, "BYTE_ARRAY")
MAX_ROWS = 256
"""Of a table at a time."""
NUMBER_BYTES = 8

# What pyarrow raises for files that are no parquet, or that a hostile writer made: its own errors, text that is no
# UTF-8, and sizes that do not fit.
PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError)


def bounded_batches(
    file: pq.ParquetFile,
    allowed_bytes: int,
    *,
    columns: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a table, so few at a time that they take little more than all of it may, whatever they repeat.

    Args:
        file: opened.
        allowed_bytes: that all rows may take in memory. A value that is nothing counts like a number.
        columns: those that are read; None for all.
        groups: the row groups that are read; None for all.

    Raises:
        ValueError: once they take more, or if a row alone may.
    """
    read_bytes, leaves = 0, range(file.metadata.num_columns)
    lists = [leaf for leaf in leaves if file.schema.column(leaf).max_repetition_level]
    for leaf in leaves:
        column = file.schema.column(leaf)
        allowed = _NUMBERS if leaf in lists else _VALUES
        if column.physical_type not in allowed or column.max_repetition_level > 1:
            what = "texts" if column.physical_type == "BYTE_ARRAY" else f"{column.physical_type} values"
            raise ValueError(f"it holds {'lists of ' if leaf in lists else ''}{what}, which no table here does")
    if any(map(_is_odd, file.schema_arrow.types)):
        raise ValueError("it holds columns of a kind that no table here has")
    names = None if columns is None else list(columns)
    for number in range(file.num_row_groups) if groups is None else groups:
        group = file.metadata.row_group(number)
        size_bytes = sum(group.column(leaf).total_uncompressed_size for leaf in leaves)
        numbers = sum(group.column(leaf).num_values for leaf in lists)
        if max(size_bytes, NUMBER_BYTES * numbers) > allowed_bytes:
            raise ValueError("it claims rows too large to read at once")
        rows = max(1, min(MAX_ROWS, allowed_bytes // max(1, size_bytes)))  # no value is larger than its column
        for batch in file.iter_batches(batch_size=rows, row_groups=[number], columns=names, use_threads=False):
            read_bytes += max(batch.nbytes, NUMBER_BYTES * batch.num_rows * batch.num_columns)
            if read_bytes > allowed_bytes:
                raise ValueError(f"it takes more than {allowed_bytes} bytes of memory")
            yield batch


def _is_odd(kind: pa.DataType) -> bool:
    """Whether a column would be read as a dictionary, a map or something else that a few bytes may blow up."""
    if pa.types.is_struct(kind) or pa.types.is_list(kind):
        return any(_is_odd(kind.field(at).type) for at in range(kind.num_fields))
    return not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or pa.types.is_string(kind)
        or pa.types.is_binary(kind)
    )
