"""Pipes to another process that nobody waits at for longer than agreed."""

from __future__ import annotations

import os
import select
import time
from typing import IO

_MOST_MILLISECONDS = 2**31 - 1


class TimedPipe:
    """One end of a pipe, with the methods of a raw file that `send` and `receive` of a decoding worker need.

    A thread that waits in our place would cost several times what coding a small sample does. Where the system cannot
    wait for pipes, as Windows cannot, deadlines are not kept: a worker also ends itself when it takes too long.

    Args:
        file: unbuffered; it stays open as long as this is used.

    Attributes:
        deadline: on the clock of `time.monotonic`; None for none.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.deadline: float | None = None
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            os.set_blocking(file.fileno(), False)
            self._poll.register(file.fileno(), select.POLLOUT if file.writable() else select.POLLIN)

    def write(self, data: memoryview) -> int:
        """Writes some bytes; returns how many.

        Raises:
            TimeoutError: if none could be written until the deadline.
            OSError: if nobody reads.
        """
        while True:
            self._wait()
            written = self._file.write(data)
            if written is not None:  # None: it would block, though it was said to be ready
                return written

    def readinto(self, view: memoryview) -> int:
        """Reads some bytes; returns how many, 0 at the end.

        Raises:
            TimeoutError: if none came until the deadline.
        """
        while True:
            self._wait()
            read: int | None = self._file.readinto(view)  # type: ignore[attr-defined]  # of raw files
            if read is not None:
                return read

    def flush(self) -> None:
        """Nothing is held back."""

    def _wait(self) -> None:
        if self._poll is None:
            return
        left = None if self.deadline is None else 1000 * (self.deadline - time.monotonic())
        if left is not None and not (left > 0 and self._poll.poll(min(left, _MOST_MILLISECONDS))):
            raise TimeoutError
        if left is None:
            self._poll.poll()
