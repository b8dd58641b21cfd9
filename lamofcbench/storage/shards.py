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
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lamofcbench.errors import DataError
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.storage.integrity import verify_file
from lamofcbench.storage.layout import MANIFEST_FILE, Manifest, read_manifest
from lamofcbench.storage.sources import locate

MAX_OPEN_SHARDS = 8

_STORED_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_LENGTH_BYTES = 8

_local = threading.local()


class Shard:
    """One mapped shard.

    Args:
        uri: what messages call it.
        path: the file, whose content was verified.

    Raises:
        DataError: if it is no safetensors file.
    """

    def __init__(self, uri: str, path: Path) -> None:
        self.uri = uri
        try:
            with safe_open(path, framework="pt", device="cpu"):
                pass  # length, offsets, dtypes and overlaps are sound
            with path.open("rb") as file:
                self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (SafetensorError, OSError, ValueError) as error:
            raise DataError(f"shard {path} cannot be read: {error}") from error
        header_bytes = int.from_bytes(self._mapping[:_LENGTH_BYTES], "little")
        self._start = _LENGTH_BYTES + header_bytes
        self._header: dict[str, Any] = json.loads(self._mapping[_LENGTH_BYTES : self._start])

    def tensor(self, key: str, dtype: str, shape: list[int]) -> Tensor:
        """A tensor, which the index says to have this dtype and shape.

        Raises:
            DataError: if the shard holds something else.
        """
        entry = self._header.get(key)
        if entry is None:
            raise DataError(f"shard {self.uri} does not hold the tensor {key!r} that its index names")
        if entry["shape"] != shape or _STORED_DTYPES.get(entry["dtype"]) != dtype:
            raise DataError(
                f"tensor {key!r} of shard {self.uri} is {entry['dtype']} {entry['shape']}; "
                f"its index says {dtype} {shape}"
            )
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
        offset = self._start + entry["data_offsets"][0]
        return torch.frombuffer(self._mapping, dtype=TORCH_DTYPES[dtype], count=count, offset=offset).view(shape)


def open_shard(uri: str) -> Shard:
    """The shard of a URI, an absolute path or ``hf://datasets/org/name@commit/...``; verified when it is first opened.

    Raises:
        DataError: if it is missing or damaged.
    """
    shards: OrderedDict[str, tuple[tuple[int, int, int] | None, Shard]]
    shards = _local.__dict__.setdefault("shards", OrderedDict())
    path = locate(uri)
    state = _state(path)
    known = shards.get(uri)
    if known is not None and known[0] == state:  # a dataset may be built again in the same place
        shards.move_to_end(uri)
        return known[1]
    folder, _, name = uri.rpartition("/")
    records = _shards_of(Path(locate(f"{folder}/{MANIFEST_FILE}")))
    if name not in records:
        raise DataError(f"the manifest beside {uri} does not name this shard; build or download the dataset again")
    verify_file(Path(path), records[name])
    shard = Shard(uri, Path(path))
    shards[uri] = state, shard
    while len(shards) > MAX_OPEN_SHARDS:
        shards.popitem(last=False)
    return shard


def _state(path: str | Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib doubles the cost of what happens for every sample
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _shards_of(manifest_path: Path) -> dict[str, Any]:
    try:
        status = manifest_path.stat()
    except OSError as error:
        raise DataError(f"{manifest_path} is missing; build or download the dataset again") from error
    manifest = _manifest(manifest_path, status.st_mtime_ns, status.st_size)
    return {shard.name: shard for split in manifest.splits.values() for shard in split.shards}


@functools.lru_cache(maxsize=16)
def _manifest(path: Path, modified_ns: int, size_bytes: int) -> Manifest:
    return read_manifest(path)
