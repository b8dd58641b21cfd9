"""One sample as a safetensors shard: written and hashed while the rest of it is still being decompressed."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dataset_builders.full.published.archive import TorchArchive
from dataset_builders.full.published.pickles import TensorRecord
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.columns import GIVEN_PREFIX

PIECE_BYTES = 2**20
_WAITING_PIECES = 32
_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "uint8": "U8"}


class WrittenShard(NamedTuple):
    """A shard on disk.

    Attributes:
        size_bytes: of the file.
        sha256: of the file, hex.
        tensors: dtype and shape of each, by column.
        widened: a stored dtype that is float32 here, such as ``bfloat16``; empty where there is none.
    """

    size_bytes: int
    sha256: str
    tensors: dict[str, tuple[str, list[int]]]
    widened: str


def write_shard(
    path: Path,
    scenario: Scenario,
    records: Mapping[str, TensorRecord],
    archive: TorchArchive,
    given: Mapping[str, Tensor],
) -> WrittenShard:
    """Writes a sample.

    Args:
        path: of the shard; not complete before this returns.
        scenario: declares the dtypes.
        records: the features, by name.
        archive: where their values are.
        given: what the tail is handed besides, by name.

    Raises:
        DataError: if the values are not there.
    """
    columns: dict[str, TensorRecord | Tensor] = dict(records)
    columns.update((GIVEN_PREFIX + name, tensor) for name, tensor in given.items())
    dtypes: dict[str, str] = {spec.name: spec.dtype for spec in scenario.tensors}
    dtypes.update((GIVEN_PREFIX + spec.name, spec.dtype) for spec in scenario.given)
    order = sorted(columns, key=lambda name: _place(columns[name]))  # as the file has them, so that nothing waits
    header, end = {}, 0
    for name in order:
        shape = list(columns[name].shape)
        nbytes = torch.Size(shape).numel() * TORCH_DTYPES[dtypes[name]].itemsize
        header[name] = {"dtype": _NAMES[dtypes[name]], "shape": shape, "data_offsets": [end, end + nbytes]}
        end += nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb", buffering=0) as file, _Hashing() as hashing:
        size = 0
        for piece in _pieces(text, order, columns, dtypes, archive):
            hashing.add(piece)
            size += len(piece)
            _write(file, piece)
        archive.check()
    widened = {record.storage.dtype for name, record in records.items() if _differs(record, dtypes[name])}
    return WrittenShard(
        size,
        hashing.hexdigest(),
        {name: (dtypes[name], list(columns[name].shape)) for name in columns},
        ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in widened)),
    )


def _pieces(
    text: bytes,
    order: list[str],
    columns: Mapping[str, TensorRecord | Tensor],
    dtypes: Mapping[str, str],
    archive: TorchArchive,
) -> Iterator[memoryview]:
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in order:
        value = columns[name]
        if isinstance(value, Tensor):
            yield _bytes(value)
        elif not value.count:
            continue
        elif value.contiguous:
            yield from _contiguous(value, dtypes[name], archive)
        else:
            yield _bytes(archive.tensor(value).to(TORCH_DTYPES[dtypes[name]]))


def _contiguous(record: TensorRecord, dtype: str, archive: TorchArchive) -> Iterator[memoryview]:
    """The values of a tensor as they come."""
    start = archive.place(record.storage) + record.offset * record.storage.dtype.itemsize
    end = start + record.count * record.storage.dtype.itemsize
    for at in range(start, end, PIECE_BYTES):
        stop = min(at + PIECE_BYTES, end)
        piece = archive.wait(stop)[at:stop]
        if _differs(record, dtype):
            values = torch.frombuffer(piece, dtype=torch.uint8).view(record.storage.dtype)
            piece = _bytes(values.to(TORCH_DTYPES[dtype]))
        yield piece


def _differs(record: TensorRecord, dtype: str) -> bool:
    return record.storage.dtype is not TORCH_DTYPES[dtype]


def _place(value: TensorRecord | Tensor) -> tuple[int, int]:
    return (int(value.storage.key), value.offset) if isinstance(value, TensorRecord) else (10**9, 0)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data.cast("B")


def _write(file: Any, piece: memoryview) -> None:
    while piece:
        piece = piece[file.write(piece) :]


class _Hashing:
    """Sha256 in a thread of its own, which takes as long as decompression and runs beside it."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[memoryview | None] = queue.Queue(_WAITING_PIECES)
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Hashing:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._pieces.put(None)
        self._thread.join()

    def add(self, piece: memoryview) -> None:
        self._pieces.put(piece)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._hash.update(piece)
