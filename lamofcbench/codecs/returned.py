"""What an author's methods return, as the contract has it: bytes, stored tensors, a state; or what is wrong."""

from __future__ import annotations

import math
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from lamofcbench.errors import BitstreamError, CodecError, LaMoFCBenchError, first_line, one_line, shown
from lamofcbench.features import TORCH_DTYPES, all_finite, largest_magnitude
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec


class _Codec(Protocol):
    name: ClassVar[str]
    lossless: ClassVar[bool]
    specs: FeatureSpecs


STATE_DTYPES = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    }
)
"""What safetensors stores, complex numbers left out."""
_INSTALLED = (
    str(Path(__file__).parents[1]), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<"
)  # fmt: skip
"""How the names of files begin that are no author's: this package, other packages, and code that is in no file."""


@contextmanager
def calling(codec: str, what: str, error_class: type[LaMoFCBenchError] = CodecError) -> Iterator[None]:
    """Gives what an author's method raises the name of the codec and of what it was to do.

    Args:
        codec: its name.
        what: such as ``encode tensor 'hidden'``.
        error_class: of what is raised; errors of that kind pass as they are.
    """
    try:
        yield
    except error_class:
        raise
    except Exception as error:
        if isinstance(error, LaMoFCBenchError) and error_class is not BitstreamError:
            raise
        detail = f"{type(error).__name__}: {first_line(error)}"
        raise error_class(f"codec {codec!r} cannot {what}: {detail}{_place(error)}") from error


def _place(error: Exception) -> str:
    """Where in an author's own file an error comes from; empty where it is in nothing but installed code."""
    places = [
        f" ({one_line(Path(frame.f_code.co_filename).name)}, line {line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(_INSTALLED)
    ]
    return places[-1] if places else ""


def payload(codec: str, what: str, returned: Any) -> bytes:
    """The bytes of anything bytes-like.

    Raises:
        CodecError: for anything else.
    """
    if isinstance(returned, memoryview):
        return returned.tobytes()
    if isinstance(returned, (bytes, bytearray)):
        return bytes(returned)
    advice = "; call its tobytes()" if isinstance(returned, np.ndarray) else ""
    raise CodecError(f"codec {codec!r} encoded {what} to {_kind(returned)}, not to bytes{advice}")


def tensors(
    codec: _Codec,
    returned: Any,
    shapes: Mapping[str, tuple[int, ...]],
    verb: str,
    error_class: type[LaMoFCBenchError],
) -> dict[str, Tensor]:
    """Exactly the tensors of a codec's specs, each as `stored_tensor`.

    Args:
        codec: whose method returned them.
        returned: name to tensor.
        shapes: that they must have.
        verb: what the codec did, such as ``decoded``.
        error_class: of what is raised where they are not what they must be.
    """
    done = f"codec {codec.name!r} {verb}"
    if not isinstance(returned, Mapping):
        raise error_class(f"{done} the set to {_kind(returned)}, not to named tensors")
    if returned.keys() != shapes.keys():
        raise error_class(f"{done} the set to tensors {shown(list(returned))}, not to {list(shapes)}")
    stored = {}
    for spec in codec.specs.tensors:
        try:
            stored[spec.name] = stored_tensor(returned[spec.name], spec, shapes[spec.name], lossless=codec.lossless)
        except ValueError as error:
            raise error_class(f"{done} tensor {spec.name!r} to {error}") from error
    return stored


def stored_tensor(returned: Any, spec: TensorSpec, shape: tuple[int, ...], *, lossless: bool) -> Tensor:
    """A decoded tensor in memory of its own, contiguous, on the CPU, in the stored dtype.

    Finite values beyond the dtype's range become its largest.

    Args:
        returned: a tensor or numpy array of any floating dtype, however it lies in memory.
        spec: of the tensor.
        shape: that it must have.
        lossless: True where NaN and infinities are values like others.

    Raises:
        ValueError: naming what it is, if that is something else, of another shape, or not finite where it must be.
    """
    tensor = _dense(returned)
    if tuple(tensor.shape) != shape:
        raise ValueError(f"shape {list(tensor.shape)}, not {list(shape)}")
    if not tensor.is_floating_point():
        raise ValueError(f"{_dtype(tensor)} values; return floating ones, which are kept as {spec.dtype}")
    dtype = TORCH_DTYPES[spec.dtype]
    if tensor.dtype is not dtype and tensor.element_size() < 4:
        tensor = tensor.to(torch.float32)  # where every value is exact, and which all operations below know
    magnitude = 0.0 if lossless else largest_magnitude(tensor)
    if not math.isfinite(magnitude):
        raise ValueError("NaN or infinity")
    if tensor.dtype is dtype:
        # Never the codec's own memory, which the next decode may write to.
        return tensor.clone(memory_format=torch.contiguous_format)
    largest = torch.finfo(dtype).max
    if magnitude > largest:
        # A value between the dtype's largest and the next power of two would be cast to infinity.
        tensor = tensor.clamp(-largest, largest)
    return tensor.to(dtype).contiguous()


def state(codec: str, returned: Any) -> dict[str, Tensor]:
    """What `learn` returned, as a saved folder gives it back: dense tensors on the CPU, each in memory of its own.

    Args:
        codec: its name.
        returned: name to tensor, numpy array or number, however they lie in memory.

    Raises:
        CodecError: naming an entry that is not finite, dense and real, or whose name cannot be stored.
    """
    if not isinstance(returned, Mapping) or not returned:
        what = "no tensors" if isinstance(returned, Mapping) else _kind(returned)
        raise CodecError(f"codec {codec!r} has learned {what}; learn must return what to store, as {{name: tensor}}")
    tensors: dict[str, Tensor] = {}
    for name, value in returned.items():
        if not isinstance(name, str) or name == "__metadata__" or not _is_text(name):
            raise CodecError(f"codec {codec!r} has learned a tensor named {shown(name)}, which cannot be stored")
        try:
            tensors[name] = _state_tensor(value)
        except ValueError as error:
            raise CodecError(f"codec {codec!r} has learned {shown(name)} as {error}") from error
    return tensors


def _state_tensor(value: Any) -> Tensor:
    if isinstance(value, (bool, int, float)):
        value = np.asarray(value)
    tensor = _dense(value)
    if tensor.dtype not in STATE_DTYPES:
        raise ValueError(f"{_dtype(tensor)}, which a saved codec cannot hold")
    if tensor.is_floating_point():
        wide = tensor.to(torch.float32) if tensor.element_size() == 1 else tensor
        if not all_finite(wide):
            raise ValueError("NaN or infinity; a state is finite")
    return tensor.clone(memory_format=torch.contiguous_format)


def _dense(value: Any) -> Tensor:
    """A tensor or numpy array as a dense real tensor on the CPU, without a gradient."""
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"numpy values of dtype {shown(array.dtype.name)}")
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    if not isinstance(value, Tensor):
        raise ValueError(f"{_kind(value)}, not a tensor")
    if value.layout is not torch.strided or value.is_nested:
        raise ValueError("a sparse tensor; call its to_dense()")
    if value.is_complex() or value.is_quantized or value.is_meta:
        kind = "complex" if value.is_complex() else "quantized" if value.is_quantized else "meta"
        raise ValueError(f"a {kind} tensor, not a real one")
    return value.detach().cpu().resolve_neg()


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return "a numpy array"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {one_line(name)}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
