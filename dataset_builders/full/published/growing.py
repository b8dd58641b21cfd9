"""A buffer that one thread fills while another reads what is there already."""

from __future__ import annotations

import threading

import numpy as np

from lamofcbench.errors import DataError


class GrowingBytes:
    """Bytes of a published file, readable from the beginning while the rest is still being decompressed.

    Memory is taken from the system as it is written to, not when the buffer is made.

    Args:
        capacity: the most bytes that there may be in any file.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.view = np.empty(capacity, np.uint8).data.cast("B")
        self.restart()

    def restart(self) -> None:
        """Forgets the content, for another file; memory that was written to stays taken."""
        self.available, self.limit = 0, self.capacity
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self.unwanted = threading.Event()

    def expect(self, most: int) -> None:
        """Lowers the limit for this file, of which it has become known how long it can be."""
        self.limit = min(self.limit, most)

    def advance(self, count: int) -> None:
        """Tells that so many more bytes have been written."""
        with self._changed:
            self.available += count
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """Tells that no more bytes come, and why if that is wrong."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def wait(self, stop: int) -> None:
        """Waits until the bytes before ``stop`` are there.

        Raises:
            DataError: if they never will be, or whatever else ended the filling.
        """
        if self.available >= stop:
            return
        with self._changed:
            self._changed.wait_for(lambda: self.available >= stop or self._ended)
            if self._error is not None:
                raise self._error
            if self.available < stop:
                raise DataError(f"ends after {self.available} decompressed bytes; at least {stop} are needed")

    def wait_for_end(self) -> int:
        """Waits until all is there; returns how many bytes that is.

        Raises:
            DataError: if decompression failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
            if self._error is not None:
                raise self._error
            return self.available
