"""Compiles kernels with numba, or leaves them the plain Python that they are: the same integers, far slower.

A kernel is compiled when its module is imported, for one signature, and the machine code is kept on disk: where
``NUMBA_CACHE_DIR`` says, else beside the source, else in the user's cache, whichever can be written to. So modules of
kernels are imported inside functions, when something is first coded. Set ``LAMOFCBENCH_COMPILE=0`` for plain Python.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

MODULES = (
    "lamofcbench.codecs.rans.kernels",
    "lamofcbench.codecs.quantising_kernels",
    "lamofcbench.codecs.transform.centring_kernels",
    "lamofcbench.codecs.transform.level_kernels",
    "lamofcbench.codecs.transform.rounding_kernels",
)
"""All modules of kernels."""
SWITCH = "LAMOFCBENCH_COMPILE"


@functools.cache
def compiled() -> bool:
    """Whether kernels are machine code: numba is there and works, and nobody has said otherwise."""
    if os.environ.get(SWITCH, "1") == "0":
        return False
    try:
        importlib.import_module("numba")
    except ImportError:  # or it does not know this version of numpy yet
        return False
    return True


def kernel(signature: str) -> Callable[[F], F]:
    """A decorator that compiles a function for arguments of these types, where kernels are compiled.

    Kernels check no index: whoever calls them has checked what they are given.
    """
    if not compiled():
        return lambda function: function
    import numba

    def compile_it(function: F) -> F:
        njit: Any = functools.partial(numba.njit, signature, error_model="numpy", nogil=True)
        try:
            made: F = njit(cache=True)(function)
        except RuntimeError:  # there is no place at all where a cache can be written
            made = njit()(function)
        return made

    return compile_it


def prepare() -> None:
    """Compiles all kernels, or loads what was compiled before: for a process that may soon read no files any more."""
    for module in MODULES:
        importlib.import_module(module)


def argument(array: NDArray[Any]) -> Any:
    """An array as kernels take it: plain Python is many times as fast on lists."""
    return array if compiled() else array.tolist()
