"""The index of a split: its rows, a few hundred in memory at a time, each checked before it is believed."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Set
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lamofcbench.errors import DataError, first_line, one_line, shown
from lamofcbench.storage.batches import PARQUET_ERRORS, bounded_batches
from lamofcbench.storage.columns import Columns
from lamofcbench.storage.integrity import open_verified
from lamofcbench.storage.layout import FileRecord, ReferenceType, index_schema, shape_fits

KEPT_ROW_GROUPS = 4
MAX_GROUP_ROWS = 2**16
MAX_GROUP_BYTES = 2**29
"""A row group that is larger is not read; the writer's hold 256 rows, of which a mask may take a megabyte."""


class SplitIndex:
    """The rows of a split by position.

    The file is checked against its record whenever it is opened, so all rows are of one build of the data.

    Args:
        path: the parquet file.
        record: its size and sha256.
        samples: how many rows it should hold.
        columns: of the scenario's tensors and side information.
        reference: Arrow type of the references.
        files: the shards that rows may name, relative to the dataset folder.

    Raises:
        DataError: here and from any method, if the file is missing, changed or damaged, or a row is wrong.
    """

    def __init__(
        self,
        path: Path,
        record: FileRecord,
        *,
        samples: int,
        columns: Columns,
        reference: ReferenceType,
        files: Set[str],
    ) -> None:
        self.path, self._record, self._length = path, record, samples
        self._columns, self._reference, self._files = columns, reference, files
        self._starts = self._positions()
        self._forget()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_groups", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def row(self, index: int) -> dict[str, Any]:
        """The row of a sample."""
        if not 0 <= index < self._length:
            raise IndexError(f"sample {index} of a split of {self._length}")
        group = bisect_right(self._starts, index) - 1
        return self._group(group)[index - self._starts[group]]

    def check(self) -> None:
        """Reads and checks every row; reads no tensors."""
        for group in range(len(self._starts)):
            self._group(group)

    # ------------------------------------------------------------------------------------------------- internals

    def _forget(self) -> None:
        self._groups: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def _positions(self) -> list[int]:
        """The position of each row group's first row."""
        with self._opened() as file:
            schema, metadata = file.schema_arrow, file.metadata
            groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
            sizes = [group.num_rows for group in groups]
            if max(sizes, default=0) > MAX_GROUP_ROWS or any(_claimed_bytes(g) > MAX_GROUP_BYTES for g in groups):
                raise DataError(f"index {self.path} claims rows too large to read at once; do not trust this dataset")
        if not schema.equals(index_schema(self._columns, self._reference)) or sum(sizes) != self._length:
            raise DataError(f"index {self.path} is not what its manifest describes; build the dataset again")
        return [0, *accumulate(sizes)][:-1]

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with open_verified(self.path, self._record) as raw:
            try:
                with pq.ParquetFile(raw) as file:
                    yield file
            except PARQUET_ERRORS as error:
                raise DataError(f"index {self.path} cannot be read: {first_line(error)}") from error

    def _group(self, group: int) -> list[dict[str, Any]]:
        with self._lock:
            if group in self._groups:
                self._groups.move_to_end(group)
                return self._groups[group]
            with self._opened() as file:
                batches = bounded_batches(file, MAX_GROUP_BYTES, groups=[group])
                rows = [row for batch in batches for row in batch.to_pylist()]
                if len(rows) != file.metadata.row_group(group).num_rows:
                    raise ValueError("a row group holds another number of rows than it says")
            for position, row in enumerate(rows):
                self._check_row(row, self._starts[group] + position)
            self._groups[group] = rows
            while len(self._groups) > KEPT_ROW_GROUPS:
                self._groups.popitem(last=False)
            return rows

    def _check_row(self, row: dict[str, Any], index: int) -> None:
        where = f"row {index} of {self.path}"
        for column, value in row.items():
            if value is None:
                raise DataError(f"{where} has no {column!r}; build the dataset again")
        for name, spec in self._columns.tensors.items():
            reference = row[name]
            if reference["file"] not in self._files:
                raise DataError(
                    f"{where} places tensor {name!r} in {shown(reference['file'])}, which is no shard of this "
                    "split; do not trust this dataset"
                )
            if reference["dtype"] != spec.dtype or not shape_fits(reference["shape"], spec):
                raise DataError(
                    f"{where} says that tensor {name!r} is {one_line(str(reference['dtype']))} "
                    f"{shown(reference['shape'])}, which the scenario does not allow; build the dataset again"
                )


def _claimed_bytes(group: pq.RowGroupMetaData) -> int:
    return sum(group.column(column).total_uncompressed_size for column in range(group.num_columns))
