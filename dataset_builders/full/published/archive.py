"""The zip archive that ``torch.save`` writes, read while it is still being decompressed.

A zip's directory comes last, so waiting for it would keep hashing and writing idle meanwhile. The pickle, however,
comes first, and tells how many bytes each storage has; the records follow in its order, each behind a header of its
own. What was found that way is checked against the directory in the end.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataset_builders.full.published.decompression import FIRST_BYTES
from dataset_builders.full.published.growing import GrowingBytes
from dataset_builders.full.published.pickles import Storage, TensorRecord, read_pickle
from lamofcbench.errors import DataError, first_line

MAX_PICKLE_BYTES = 2**26
"""Of a pickle; files of features after coding also hold the coded strings in it."""
_PICKLE = "/data.pkl"
_HEADER = struct.Struct("<4s5H3I2H")
_OTHER_RECORDS, _RECORD_BYTES = 1024, 1024
"""How many records an archive may have beside the tensors', and what one may take beside a tensor's values."""
_BETWEEN_BYTES = 4096
"""Within so many bytes after a record the next one is looked for; small ones of the format stand in between."""


class TorchArchive:
    """A file of ``torch.save`` in a buffer that still grows.

    Args:
        content: its bytes.

    Raises:
        DataError: from any method, if it is damaged or no such file.
    """

    def __init__(self, content: GrowingBytes) -> None:
        self._content = content
        self._places: dict[str, int] = {}
        self._storages: dict[str, Storage] = {}
        self._directory: dict[str, tuple[int, int]] | None = None
        self._folder = ""
        self._next = 0

    def tree(self) -> Any:
        """The object that was saved, with a `TensorRecord` for each tensor."""
        name, start = self._header(0)
        if not name.endswith(_PICKLE):
            return read_pickle(_Window(self._content, *self._listed(_PICKLE)), self._storages)
        self._folder = name.removesuffix(_PICKLE)
        window = _Window(self._content, start, min(MAX_PICKLE_BYTES, self._content.limit - start))
        tree = read_pickle(window, self._storages)
        self._next = start + window.position
        records = len(self._storages) + _OTHER_RECORDS
        tensors = sum(storage.nbytes for storage in self._storages.values())
        self._content.expect(self._next + tensors + records * _RECORD_BYTES)
        return tree

    def wait(self, stop: int) -> memoryview:
        """All bytes, once those before ``stop`` are there."""
        self._content.wait(stop)
        return self._content.view

    def place(self, storage: Storage) -> int:
        """Where a storage's bytes begin; they need not be there yet."""
        if storage.key not in self._places:
            if self._directory is None:
                self._look_ahead(storage.key)
            if storage.key not in self._places:
                self._places[storage.key] = self._checked_place(storage.key)
        return self._places[storage.key]

    def tensor(self, record: TensorRecord) -> Tensor:
        """A tensor, once it is there: a view of the buffer, to be used before the next file is read."""
        start = self.place(record.storage)
        view = self.wait(start + record.storage.nbytes)[start : start + record.storage.nbytes]
        if not record.count:
            return torch.empty(record.shape, dtype=record.storage.dtype)
        values = torch.from_numpy(np.frombuffer(view, np.uint8)).view(record.storage.dtype)
        return values.as_strided(record.shape, record.stride, record.offset)

    def check(self) -> None:
        """Waits for the end, and compares what was read with the archive's directory."""
        for key, start in self._places.items():
            if self._checked_place(key) != start:
                raise DataError("has a directory that does not fit its content")
        order = self._entries().get(f"{self._folder}/byteorder")
        if order is not None and bytes(self._content.view[order[0] : order[0] + order[1]]) != b"little":
            raise DataError("was written on a machine of another byte order")

    # ------------------------------------------------------------------------------------------------- internals

    def _header(self, at: int) -> tuple[str, int]:
        """The name of the record whose header is there, and where its bytes begin."""
        view = self.wait(at + _HEADER.size)
        signature, *_, name_bytes, extra_bytes = _HEADER.unpack_from(view, at)
        if signature != FIRST_BYTES:
            raise DataError("holds no archive of torch.save")
        end = at + _HEADER.size + name_bytes
        name = bytes(self.wait(end)[at + _HEADER.size : end]).decode("utf-8", "replace")
        return name, end + extra_bytes

    def _look_ahead(self, key: str) -> None:
        """Goes on from record to record until that of a storage is found, or nothing more can be told."""
        folder, at = f"{self._folder}/data/", self._next
        try:
            while self._folder and key not in self._places:
                view = self.wait(at + _BETWEEN_BYTES)
                ahead = bytes(view[at : at + _BETWEEN_BYTES]).find(FIRST_BYTES)
                if ahead < 0:
                    return
                name, at = self._header(at + ahead)
                storage = self._storages.get(name.removeprefix(folder)) if name.startswith(folder) else None
                if storage is not None:
                    self._places.setdefault(storage.key, at)
                    at += storage.nbytes
                self._next = at
        except DataError:  # the end is near, or something is wrong, which the directory tells
            return

    def _checked_place(self, key: str) -> int:
        """Where the directory says that a storage's bytes begin."""
        start, size = self._listed(f"/data/{key}")
        if size != self._storages[key].nbytes:
            raise DataError(f"holds {size} bytes for a tensor of {self._storages[key].nbytes}")
        return start

    def _listed(self, ending: str) -> tuple[int, int]:
        """Where the directory says that a record's bytes begin, and how many there are."""
        entries = self._entries()
        names = [f"{self._folder}{ending}"] if self._folder else [name for name in entries if name.endswith(ending)]
        if len(names) != 1 or names[0] not in entries:
            raise DataError(f"holds no record {ending[1:]!r}, so it is no file of torch.save")
        self._folder = names[0].removesuffix(ending)
        return entries[names[0]]

    def _entries(self) -> dict[str, tuple[int, int]]:
        if self._directory is None:
            total = self._content.wait_for_end()
            try:
                with zipfile.ZipFile(_Window(self._content, 0, total)) as archive:
                    listed = archive.infolist()
                    if any(entry.compress_type != zipfile.ZIP_STORED for entry in listed):
                        raise DataError("holds compressed records, which torch.save does not write")
                    entries = {e.filename: (self._header(e.header_offset)[1], e.file_size) for e in listed}
            except DataError:
                raise
            except Exception as error:  # zipfile raises many kinds for hostile files
                raise DataError(f"is no whole archive of torch.save: {first_line(error)}") from error
            if any(start + size > total for start, size in entries.values()):
                raise DataError("has a directory that reaches beyond its end")
            self._directory = entries
        return self._directory


class _Window(io.RawIOBase):
    """Part of a growing buffer as a file; a read waits for its bytes."""

    def __init__(self, content: GrowingBytes, start: int, length: int) -> None:
        self._content, self._start, self._length, self.position = content, start, length, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning")
        self.position = base + offset
        return self.position

    def read(self, count: int = -1) -> bytes:
        left = self._length - self.position
        if count < 0 or count > left:
            count = max(left, 0)
        start = self._start + self.position
        self._content.wait(start + count)
        self.position += count
        return self._content.view[start : start + count].tobytes()

    def readline(self, size: int | None = -1) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and len(line) < 512 and (one := self.read(1)):
            line += one
        return bytes(line)
