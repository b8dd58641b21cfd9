"""What a pickle of ``torch.save`` says, without running it.

A machine of its own reads the few opcodes that tensors, containers, texts and numbers take. It calls nothing: names of
functions and classes are known ones, or the file is refused. Tensors become `TensorRecord`, which tells where in the
archive their values are.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from lamofcbench.errors import DataError, first_line, shown

MAX_OPERATIONS = 200_000
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**40

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_DTYPES = {str(dtype).removeprefix("torch.") for dtype in _STORAGES.values()}
"""Features after coding tell the dtypes that they had before; a text is enough of them here."""
_NUMPY_KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class Readable(Protocol):
    """What a pickle is read from."""

    def read(self, count: int) -> bytes:
        """At most so many bytes."""

    def readline(self) -> bytes:
        """The bytes up to the end of a line."""


@dataclass(frozen=True)
class Storage:
    """The values of one or more tensors: their record in the archive, dtype and number."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def nbytes(self) -> int:
        """Its size in the archive."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class TensorRecord:
    """A tensor that has not been read yet.

    Attributes:
        storage: where its values are.
        offset: of the first one, in elements.
        shape: its sizes.
        stride: of each axis, in elements.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """True where its values follow each other in the storage."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


def read_pickle(file: Readable, storages: dict[str, Storage]) -> Any:
    """The object that a pickle describes: dicts, lists, tuples, texts, bytes, numbers and `TensorRecord`.

    Args:
        file: read up to the pickle's end, a little at a time.
        storages: takes all storages that the pickle mentions, by their keys.

    Raises:
        DataError: if it is damaged, or names anything that is none of these.
    """
    try:
        return _Machine(storages).run(file)
    except DataError:
        raise
    except Exception as error:  # a hostile pickle finds many ways to be wrong
        raise DataError(f"holds a damaged pickle: {first_line(error)}") from error


@dataclass(frozen=True)
class _Callable:
    name: str
    call: Callable[..., Any]


@dataclass(frozen=True)
class _StorageType:
    dtype: torch.dtype


@dataclass(frozen=True)
class _NumpyDtype:
    kind: str


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: Readable) -> Any:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
            if number > MAX_OPERATIONS:
                raise DataError(f"holds a pickle of more than {MAX_OPERATIONS} operations")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise DataError("holds a pickle without an end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            stack.append(tuple(self._taken(len(stack) - _TUPLES[name])))
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(self._taken(self.marks.pop())))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("APPEND", "APPENDS"):
            items = self._taken(len(stack) - 1 if name == "APPEND" else self.marks.pop())
            _of_type(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            self._set_items(self._taken(len(stack) - 2 if name == "SETITEM" else self.marks.pop()))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            module, attribute = self._taken(len(stack) - 2)
            stack.append(_named(_of_type(module, str), _of_type(attribute, str)))
        elif name == "BINPERSID":
            storage = _storage(*_of_type(stack.pop(), tuple))
            if self.storages.setdefault(storage.key, storage) != storage:
                raise DataError("holds a tensor whose values have two types")
            stack.append(storage)
        elif name == "REDUCE":
            function, arguments = self._taken(len(stack) - 2)
            stack.append(_of_type(function, _Callable).call(*_of_type(arguments, tuple)))
        elif name == "BUILD":
            stack.pop()
            _of_type(stack[-1], _NumpyDtype)  # whose state says the byte order, which `scalar` assumes
        else:
            raise DataError(f"holds a pickle with {name}, which tensors do not need; do not trust this file")

    def _taken(self, start: int) -> list[Any]:
        if not 0 <= start <= len(self.stack):
            raise DataError("holds a pickle that takes more than it gave")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _set_items(self, items: list[Any]) -> None:
        target = _of_type(self.stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):  # hashing nested tuples may take for ever
                raise DataError(f"holds a dict with the key {shown(key)}; keys are texts or numbers")
            target[key] = value


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise DataError(f"holds a pickle that uses {shown(value)} as a {kind.__name__.strip('_')}")
    return value


def _named(module: str, attribute: str) -> Any:
    if module == "torch" and attribute in _STORAGES:
        return _StorageType(_STORAGES[attribute])
    name = f"{module}.{attribute}"
    if module == "torch" and attribute in _DTYPES:
        return f"torch.{attribute}"
    if name not in _KNOWN:
        raise DataError(f"holds a pickle that names {shown(name)}, which is no tensor or container; do not trust it")
    return _Callable(name, _KNOWN[name])


def _storage(kind: Any, dtype: Any, key: Any, location: Any, count: Any) -> Storage:
    sound = kind == "storage" and isinstance(dtype, _StorageType) and isinstance(key, str) and isinstance(location, str)
    if not sound or not key.isdecimal() or len(key) > 9 or type(count) is not int or not 0 <= count <= MAX_ELEMENTS:
        raise DataError("holds a pickle with a reference to something else than a tensor's values")
    return Storage(key, dtype.dtype, count)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> TensorRecord:
    numbers = (offset, *_of_type(shape, tuple), *_of_type(stride, tuple))
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS or len(rest) > 3:
        raise DataError("holds a tensor whose shape and strides do not fit each other")
    if not all(type(number) is int and 0 <= number <= MAX_ELEMENTS for number in numbers):
        raise DataError("holds a tensor with an impossible shape")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if (math.prod(shape) and last >= _of_type(storage, Storage).count) or math.prod(shape) > MAX_ELEMENTS:
        raise DataError(f"holds a tensor {list(shape)} that reaches beyond its values")
    return TensorRecord(storage, offset, shape, stride)


def _parameter(tensor: Any, *rest: Any) -> TensorRecord:
    record: TensorRecord = _of_type(tensor, TensorRecord)
    return record


def _encoded(text: Any, encoding: Any) -> bytes:
    if _of_type(encoding, str) not in ("latin1", "latin-1"):
        raise DataError(f"holds bytes encoded as {shown(encoding)}")
    return str(_of_type(text, str)).encode("latin1")


def _numpy_dtype(kind: Any, *rest: Any) -> _NumpyDtype:
    if _of_type(kind, str) not in _NUMPY_KINDS:
        raise DataError(f"holds a number of numpy's type {shown(kind)}")
    return _NumpyDtype(kind)


def _numpy_scalar(dtype: Any, value: Any) -> Any:
    kind = np.dtype(f"<{_of_type(dtype, _NumpyDtype).kind}")
    if len(_of_type(value, bytes)) != kind.itemsize:
        raise DataError("holds a number of numpy's with another size than its type")
    return np.frombuffer(value, kind)[0].item()


def _device(kind: Any, index: Any = 0) -> str:
    return f"{_of_type(kind, str)}:{_of_type(index, int)}"


def _plain_size(sizes: Any) -> tuple[Any, ...]:
    return tuple(_of_type(sizes, tuple))


_KNOWN: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _plain_size,
    "torch.device": _device,
    "collections.OrderedDict": lambda: {},
    "_codecs.encode": _encoded,
    "__builtin__.bytes": lambda: b"",
    "builtins.bytes": lambda: b"",
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
}
