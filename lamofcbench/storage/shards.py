"""Tensors out of safetensors shards, as views of memory-mapped files.

`safetensors` itself opens each shard and so refuses whatever its own reader refuses; the views are then made here,
because its ``get_tensor`` costs some 50 microseconds a tensor, which small features would feel. A few shards stay open
in each thread. Tensors keep their mapping alive, so a closed shard does not invalidate them. The mapping is private:
writing to a tensor never changes the file, but may show in other tensors read in this process, so do not.
"""

from __future__ import annotations

import functools
import json
import math
import mmap
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lamofcbench.errors import DataError, first_line, one_line, shown
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.storage.integrity import FileState, open_verified, state_of
from lamofcbench.storage.layout import MANIFEST_FILE, FileRecord, Manifest, read_manifest
from lamofcbench.storage.sources import locate

MAX_OPEN_SHARDS = 8

_STORED_DTYPES = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "U8": "uint8",
}
_LENGTH_BYTES = 8
_METADATA = "__metadata__"

_local = threading.local()


class Shard:
    """One mapped shard.

    Args:
        uri: what messages call it.
        path: the file.
        file: the same, opened and verified; may be closed afterwards.

    Raises:
        DataError: if it is no safetensors file.
    """

    def __init__(self, uri: str, path: Path, file: BinaryIO) -> None:
        self.uri = uri
        try:
            with safe_open(path, framework="pt", device="cpu"):
                pass  # length, offsets, dtypes and overlaps are sound
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            header_bytes = int.from_bytes(self._mapping[:_LENGTH_BYTES], "little")
            self._start = _LENGTH_BYTES + header_bytes
            header = json.loads(self._mapping[_LENGTH_BYTES : self._start])
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            raise DataError(f"shard {path} cannot be read: {first_line(error)}") from error
        self._entries: dict[str, Any] = {key: entry for key, entry in header.items() if key != _METADATA}

    @property
    def keys(self) -> set[str]:
        """The names of its tensors."""
        return set(self._entries)

    def tensor(self, key: str, dtype: str, shape: list[int]) -> Tensor:
        """A tensor, which the index says to have this dtype and shape.

        Raises:
            DataError: if the shard holds something else.
        """
        entry = self._entries.get(key)
        if entry is None:
            raise DataError(f"shard {self.uri} does not hold the tensor {shown(key)} that its index names")
        try:
            if entry["shape"] != shape or _STORED_DTYPES.get(entry["dtype"]) != dtype:
                found = f"{one_line(str(entry['dtype']))} {shown(entry['shape'])}"
                raise DataError(
                    f"tensor {shown(key)} of shard {self.uri} is {found}; its index says {dtype} {shown(shape)}"
                )
            count = math.prod(shape)
            if count == 0:
                return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
            offset = self._start + entry["data_offsets"][0]
            return torch.frombuffer(self._mapping, dtype=TORCH_DTYPES[dtype], count=count, offset=offset).view(shape)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:  # a hostile header
            raise DataError(f"tensor {shown(key)} of shard {self.uri} cannot be read: {first_line(error)}") from error


def open_shard(uri: str, record: FileRecord) -> Shard:
    """The shard of a URI, an absolute path or ``hf://datasets/org/name@commit/...``; verified when it is first opened.

    A shard that this thread has open is that of the record for good, also when its file is no longer there.

    Raises:
        DataError: if it is missing or is not that of the record.
    """
    path = locate(uri)
    shard = _kept(uri, path, record.sha256)
    if shard is None:
        with open_verified(Path(path), record) as file:
            shard = Shard(uri, Path(path), file)
            _shards()[uri, record.sha256] = state_of(os.fstat(file.fileno())), shard
        while len(_shards()) > MAX_OPEN_SHARDS:
            _shards().popitem(last=False)
    return shard


def open_referenced(uri: str, sha256: str | None) -> Shard:
    """The shard that a reference means: that of this URI and content.

    Args:
        uri: of the shard.
        sha256: of the shard when the reference was made; None for references of older versions, which do not say.

    Raises:
        DataError: if it is missing or damaged, or if other data have been built in its place since.
    """
    shard = _kept(uri, locate(uri), sha256) if sha256 is not None else None
    if shard is not None:
        return shard
    record = _meant(uri, sha256)
    try:
        return open_shard(uri, record)
    except DataError:
        _meant(uri, sha256)  # a build may have come in between, which then is the better reason
        raise


def _shards() -> OrderedDict[tuple[str, str], tuple[FileState | None, Shard]]:
    """This thread's open shards, the least recently used first."""
    return _local.__dict__.setdefault("shards", OrderedDict())


def _kept(uri: str, path: str | Path, sha256: str) -> Shard | None:
    """A shard that this thread has open, unless its file was changed in place."""
    known = _shards().get((uri, sha256))
    if known is None or _state(path) not in (known[0], None):
        return None
    _shards().move_to_end((uri, sha256))
    return known[1]


def _meant(uri: str, sha256: str | None) -> FileRecord:
    """What the manifest beside a shard says of it now, if it is the shard that was meant."""
    record = _record_of(uri)
    if record is None or sha256 not in (None, record.sha256):
        folder, _, name = uri.rpartition("/")
        raise DataError(
            f"{folder} was built again since this reference to {name} was made; load the dataset again from there"
        )
    return record


def _state(path: str | Path) -> FileState | None:
    try:
        return state_of(os.stat(path))  # noqa: PTH116 - pathlib doubles the cost of what happens for every sample
    except OSError:
        return None


def _record_of(uri: str) -> FileRecord | None:
    """What the manifest beside a shard says of it now; None where it does not name the shard."""
    folder, _, name = uri.rpartition("/")
    path = Path(locate(f"{folder}/{MANIFEST_FILE}"))
    state = _state(path)
    if state is None:
        raise DataError(f"{path} is missing; build or download the dataset again")
    return _records(path, state).get(name)


@functools.lru_cache(maxsize=16)
def _records(manifest_path: Path, state: FileState) -> dict[str, FileRecord]:
    manifest: Manifest = read_manifest(manifest_path)
    return {shard.name: shard for split in manifest.splits.values() for shard in split.shards}
