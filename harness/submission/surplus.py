"""What a result's files hold beside what results hold: room for anything, which nobody would ever look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from harness.results.record import MAX_SHAPE_BYTES, SHAPE, STATISTIC
from harness.results.store import SAMPLES_FILE, TIMINGS_FILE
from harness.submission.bitstreams import BITSTREAMS_FILE, HASHES
from lamofcbench.codecs.saving import STATE_FILE
from lamofcbench.storage.batches import PARQUET_ERRORS

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.submission.claims import Claim
    from harness.submission.findings import Findings

PARQUET_FRAME_BYTES = 12
"""Magic at both ends, and the length of the footer."""
MAX_UNREAD_BYTES = 2**12
"""Of a table; pages and footer leave none, an index of pages that another version may write a little."""


def check_surplus(claim: Claim, findings: Findings) -> None:
    """Tables are pages and a footer, with no metadata but the shapes of statistics; bitstreams have their hashes.

    Args:
        claim: the result. Of a file that cannot be read others tell.
        findings: takes what is wrong.
    """
    for name in (SAMPLES_FILE, TIMINGS_FILE):
        path = claim.folder.path / name
        try:
            objection = _of_table(path)
        except PARQUET_ERRORS:
            continue
        if objection:
            findings.fault(path, objection)
    for path, known in ((claim.folder.path / BITSTREAMS_FILE, {HASHES}), (claim.folder.codec_path / STATE_FILE, set())):
        try:
            with safe_open(path, framework="numpy") as file:
                surplus = set(file.metadata() or {}) - known
        except (OSError, SafetensorError):
            continue
        if surplus:
            findings.fault(path, "holds metadata that nothing reads")


def _of_table(path: Path) -> str:
    """What a table holds that it should not; empty where there is nothing."""
    with pq.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
    if schema.metadata or not all(_is_plain(field) for field in _fields(schema)):
        return "holds metadata that nothing reads"
    chunks = (metadata.row_group(group).column(at) for group, at in _chunks(metadata))
    known = sum(chunk.total_compressed_size for chunk in chunks) + metadata.serialized_size + PARQUET_FRAME_BYTES
    unread = path.stat().st_size - known
    return f"holds {unread} bytes that belong to no column" if unread > MAX_UNREAD_BYTES else ""


def _chunks(metadata: pq.FileMetaData) -> Iterator[tuple[int, int]]:
    return ((group, at) for group in range(metadata.num_row_groups) for at in range(metadata.num_columns))


def _fields(parent: pa.Schema | pa.DataType) -> Iterator[pa.Field]:
    """All fields of a table's columns, those within others too."""
    count = parent.num_fields if hasattr(parent, "num_fields") else len(parent)
    for field in (parent.field(at) for at in range(count)):
        yield field
        yield from _fields(field.type)


def _is_plain(field: pa.Field) -> bool:
    """Whether a column has no metadata, or the shape of a statistic."""
    known = field.metadata or {}
    allowed = {SHAPE} if field.name.startswith(STATISTIC) else set()
    return set(known) <= allowed and sum(map(len, known.values())) <= MAX_SHAPE_BYTES
