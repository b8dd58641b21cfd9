"""The errors that users meet: each message is one clear line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_FEW_NAMES = 12
"""So many names a message may list."""
_MOST_CAUSES = 20
_CONTAINERS = reprlib.Repr()
_CONTAINERS.maxlevel = 3
_CONTAINERS.maxlist = _CONTAINERS.maxtuple = _CONTAINERS.maxdict = _CONTAINERS.maxset = _CONTAINERS.maxfrozenset = 40
_CONTAINERS.maxstring = _CONTAINERS.maxother = _CONTAINERS.maxlong = 300


def shown(value: object, limit: int = 80) -> str:
    r"""A value as a message may echo it: its `repr` on one printable line, cut with an ellipsis.

    Example:
        >>> shown("two\nlines"), shown("x" * 100, limit=8)
        ("'two\\nlines'", "'xxxxxx…")
    """
    if isinstance(value, (str, bytes)):
        value = value[: limit + 1]  # what follows is cut anyway, so it need not be escaped first
    try:
        # Of containers a part is enough: one that holds itself twice over takes for ever to be written out.
        text = _CONTAINERS.repr(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else repr(value)
    except Exception:  # nested too deeply, or an object whose repr is broken
        text = f"<{type(value).__name__}>"
    return one_line(text, limit)


def first_line(error: BaseException, limit: int = 300) -> str:
    """What an error of another library says, on one printable line: its first line that says anything, cut."""
    try:
        lines = [line for line in str(error).splitlines() if line.strip()]
    except Exception:
        lines = []
    return one_line(lines[0] if lines else type(error).__name__, limit)


def one_line(text: str, limit: int = 80) -> str:
    """A text on one printable line, cut with an ellipsis."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def broken_field(error: ValidationError, whole: str = "it") -> str:
    """What a schema's first complaint is about and what it says, on one printable line.

    Args:
        error: pydantic's.
        whole: what to call it where the complaint is about no field; empty leaves the name out.

    Example:
        >>> from pydantic import TypeAdapter, ValidationError
        >>> try:
        ...     TypeAdapter(dict[str, int]).validate_python({"step": "coarse"})
        ... except ValidationError as error:
        ...     broken_field(error)
        'step: Input should be a valid integer, unable to parse string as an integer'
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = one_line(".".join(map(str, first["loc"]))) or whole
    message = one_line(first["msg"].removeprefix("Value error, "), 300)
    return f"{where}: {message}" if where else message


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is a lack of memory, of this machine or of its device.

    Example:
        >>> lacks_memory(MemoryError()), lacks_memory(KeyError("DefaultCPUAllocator"))
        (True, False)
    """
    for _ in range(_MOST_CAUSES):
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):  # torch has no class for that
            return True
        error = None if error is None else error.__cause__
    return False


class LaMoFCBenchError(Exception):
    """Base of every error raised on purpose; the command line prints its message without a traceback."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrives whole from another process: an exception is by default made anew, from its message alone."""
        return _restored, (type(self), self.args, self.__dict__)

    def located(self, where: str) -> LaMoFCBenchError:
        """The same error, whose message says first where it arose, whatever its class is made with.

        Example:
            >>> str(WriteError("results/x", "no space left").located("sample 3"))
            'sample 3: cannot write results/x: no space left'
        """
        return _restored(type(self), (f"{where}: {self}",), self.__dict__)


def _restored(kind: type[LaMoFCBenchError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> LaMoFCBenchError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class UnknownNameError(LaMoFCBenchError, LookupError):
    """A name that nothing is registered under; the message lists near matches, or all names where they are few.

    Args:
        kind: what it was to be the name of.
        name: the name.
        known: all names.
        hint: what else could be named, in brackets.
        listing: the command that lists all names; empty where none does.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "", listing: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if near:
            advice = f"did you mean {' or '.join(map(repr, near))}?"
        elif len(known) <= _FEW_NAMES:
            advice = f"known: {', '.join(known) or 'none'}"
        elif listing:
            advice = f"`{listing}` lists the {len(known)} that are known"
        else:
            advice = f"known: {', '.join(known[:_FEW_NAMES])} and {len(known) - _FEW_NAMES} more"
        super().__init__(f"unknown {kind} {shown(name)}; {advice}{' ' + hint if hint else ''}")


class PluginError(LaMoFCBenchError):
    """A plugin (codec, scenario, model, metric, builder) that cannot be imported or breaks its contract."""


class ScenarioError(LaMoFCBenchError):
    """A scenario declaration that contradicts itself, or features that do not match it."""


class DataError(LaMoFCBenchError):
    """A dataset folder, shard or index that is missing, damaged or of another scenario."""


class CodecError(LaMoFCBenchError):
    """A codec that is misconfigured, not fitted, or given features it cannot code."""


class NonFiniteError(CodecError):
    """NaN or infinity handed to a lossy codec, or decoded from finite values; the message names the tensor."""


class VerificationError(LaMoFCBenchError):
    """A codec that decodes otherwise, or not at all, where there is nothing but its saved folder and the bytes."""


class BitstreamError(LaMoFCBenchError):
    """Bytes that are truncated, damaged, foreign or hostile."""


class ResultsError(LaMoFCBenchError):
    """A results folder that is incomplete, damaged or made by something else."""


class WriteError(LaMoFCBenchError, OSError):
    """A file that cannot be written.

    Attributes:
        path: the file.
        reason: the system's, and what to do about it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot write {path}: {reason}")
        self.path, self.reason = path, reason
