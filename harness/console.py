"""Standard streams that no encoding, pipe or closed descriptor breaks.

What a stream's encoding lacks is written in plain letters: figures stay readable on an ASCII terminal. Bytes of a file
name that are not UTF-8, which Python holds as lone surrogates, go out as the bytes that they are, so that a printed
path names the file that it is of.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from lamofcbench.errors import one_line

ERRORS = "lamofcbench-plain"
"""The name of the error handler that streams are given."""

MAX_LINE = 4000
"""Letters of a message; what is longer was never meant for people."""

_PLAIN = {
    "\N{EN DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{DAGGER}": "+",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{UPWARDS ARROW}": "^",
    "\N{DOWNWARDS ARROW}": "v",
    "\N{CHECK MARK}": "*",
    "\N{MICRO SIGN}": "u",
    "\N{REPLACEMENT CHARACTER}": "?",
}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for the characters that an encoding lacks, one at a time; the codec comes back for the next."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    byte = ord(character) - 0xDC00  # of a file name, see `os.fsdecode`
    if 0x80 <= byte <= 0xFF:
        return bytes([byte]), error.start + 1
    return _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode(), error.start + 1


codecs.register_error(ERRORS, _plain)


def fitting(text: str, stream: IO[str]) -> str:
    """The text as the stream will show it, for whoever counts its letters.

    Example:
        >>> fitting("3 × ≤ 4", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        '3 x <= 4'
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, ERRORS).decode(encoding, "surrogateescape")


def tell(message: str) -> None:
    """Writes a message on one line to stderr, behind the program's name."""
    print(f"lamofcbench: {one_line(message, MAX_LINE)}", file=sys.stderr)


class OneLineFormatter(logging.Formatter):
    """Log records on one line each, except where a traceback was asked for."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        text = super().format(record)
        return text if record.exc_info else one_line(text, MAX_LINE)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Output that does not fail, for as long as this holds.

    Descriptors that the process was started without are opened on the null device, or the next file that is opened
    would be taken for one of them. Where nobody reads a pipe any more, what goes there is dropped and the work goes on.
    Streams that somebody has put in place of the process's own keep their place; they get the error handler.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        sys.stdout = stack.enter_context(_tolerant(sys.stdout, sys.__stdout__, 1))
        sys.stderr = stack.enter_context(_tolerant(sys.stderr, sys.__stderr__, 2))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    for descriptor in range(3):  # from the lowest: opening takes the lowest that is free
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # as standard streams are


@contextlib.contextmanager
def _tolerant(stream: Any, original: Any, descriptor: int) -> Iterator[Any]:
    """A stream that writes where this one writes; the given one itself where it is not the process's own."""
    if stream is not original:
        with _error_handler(stream):
            yield stream
        return
    if stream is not None:
        stream.flush()
    made = io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor, "wb", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=ERRORS,
        # Python run unbuffered writes through and has no line buffering; bars and lines would change places without.
        line_buffering=getattr(stream, "line_buffering", True) or getattr(stream, "write_through", False),
    )
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):  # whoever cares has flushed
            made.flush()


@contextlib.contextmanager
def _error_handler(stream: Any) -> Iterator[None]:
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    before = stream.errors
    stream.reconfigure(errors=ERRORS)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):  # it may be closed by now
            stream.reconfigure(errors=before)


class _Descriptor(io.FileIO):
    """A descriptor that becomes the null device once nobody reads its other end any more."""

    def write(self, data: Any) -> int:
        """Writes bytes; says how many."""
        try:
            return super().write(data)
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(memoryview(data).cast("B"))
