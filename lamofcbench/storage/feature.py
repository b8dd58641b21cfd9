"""SafeTensor: the `datasets` feature that stores where a tensor is and decodes to the tensor itself.

Arrow holds references only, so a dataset's cache stays small and bf16 stays bf16. ``map`` keeps the columns that a
function does not return, and those that it returns as they came; a tensor that is computed or changed is refused in
such a column, because Arrow would hold lists of floats. The format ``safetensors``, which `load_dataset` sets, gives
views of the stored tensors; ``with_format("numpy")`` gives float32 for every dtype, ``with_format("torch")`` copies.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lamofcbench.errors import DataError, shown
from lamofcbench.storage.layout import REFERENCE_STRUCT
from lamofcbench.storage.shards import open_referenced
from lamofcbench.storage.stored import StoredTensor, reference_of

FORMAT = "safetensors"
_NO_NEW_TENSORS = (
    "a column of stored tensors takes them as they came, not computed or changed ones, nor the copies of the formats "
    "torch and numpy: leave such columns out of what the function returns, or write new tensors with "
    "lamofcbench.storage.DatasetWriter"
)


@dataclass
class SafeTensor:
    """A tensor in a safetensors shard.

    Decoded tensors are views of the mapped file and are to be read only; clone before writing.

    Args:
        decode: False to get the reference itself, a dict of file, key, dtype and shape.
    """

    decode: bool = True
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "dict"  # what Arrow holds, as for the image and audio features
    pa_type: ClassVar[Any] = REFERENCE_STRUCT
    _type: str = field(default="SafeTensor", init=False, repr=False)

    def __call__(self) -> pa.DataType:
        """The Arrow storage type."""
        return self.pa_type

    def encode_example(self, value: Any) -> dict[str, Any]:
        """What Arrow stores for a reference, or for a tensor that came out of such a column.

        Raises:
            TypeError: for anything else; a new tensor belongs into a shard first.
        """
        reference = reference_of(value)
        if reference is None:
            raise TypeError(
                f"a SafeTensor column holds references (file, key, dtype, shape), not {type(value).__name__}; "
                "write new tensors with lamofcbench.storage.DatasetWriter"
            )
        return reference

    def decode_example(self, value: Mapping[str, Any], token_per_repo_id: Any = None) -> Tensor:
        """The tensor that a reference names, as a view of the mapped shard.

        Raises:
            DataError: if it is no reference, if the shard is missing or damaged, or if other data were built in its
                place since the reference was made.
        """
        if not self.decode:
            raise RuntimeError("this column holds references; cast it to SafeTensor() to get tensors")
        reference = reference_of(value)
        if reference is None or not _is_sound(reference):
            raise DataError(f"{shown(value)} is no reference to a stored tensor; load the dataset again")
        shape = reference["shape"]
        shape = shape.tolist() if isinstance(shape, np.ndarray) else list(shape)  # an array in format "numpy"
        shard = open_referenced(reference["file"], reference["sha256"])
        with torch.inference_mode(False):  # under it tensors would not tell whether they are written to
            return StoredTensor.of(
                shard.tensor(reference["key"], reference["dtype"], shape), {**reference, "shape": shape}
            )

    def flatten(self) -> Any:
        """The feature itself, or its parts where it is not decoded."""
        import datasets

        if self.decode:
            return self
        return {
            part.name: datasets.Sequence(datasets.Value("int64")) if part.name == "shape" else datasets.Value("string")
            for part in REFERENCE_STRUCT
        }

    def cast_storage(self, storage: pa.Array) -> pa.StructArray:
        """Arrow references of the same fields, as this feature stores them.

        Raises:
            DataError: for the values of tensors.
        """
        from datasets.table import array_cast

        if pa.types.is_null(storage.type):
            return pa.nulls(len(storage), self.pa_type)
        if not pa.types.is_struct(storage.type):
            raise DataError(_NO_NEW_TENSORS)
        return array_cast(storage, self.pa_type)


def _is_sound(reference: Mapping[str, Any]) -> bool:
    """True where it can be followed at all; what it says of the tensor is checked against the shard."""
    file, sha256, shape = reference["file"], reference["sha256"], reference["shape"]
    return isinstance(file, str) and isinstance(sha256, str | None) and isinstance(shape, Sequence | np.ndarray)


def register() -> None:
    """Makes `datasets` know the feature and the format; called once `datasets` has been imported."""
    from datasets.features.features import register_feature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # datasets calls its own hook experimental
        register_feature(SafeTensor, "SafeTensor")
    try:
        from datasets.arrow_writer import TypedSequence
        from datasets.formatting import PythonFormatter, _register_formatter

        class SafeTensorFormatter(PythonFormatter):
            """Plain Python rows; a format of its own so that ``map`` does not store decoded tensors it only showed."""

        _register_formatter(SafeTensorFormatter, FORMAT)
        TypedSequence.__init__ = _with_references(TypedSequence.__init__)
    except Exception as error:  # private names of datasets
        warnings.warn(f"datasets has changed inside ({error}); rows keep the default format", stacklevel=2)


def _with_references(initialise: Callable[..., None]) -> Callable[..., None]:
    """The constructor of `datasets`' column of values, which is first given references where tensors are stored ones.

    `datasets` asks a feature to encode values in most places, but not where ``map`` writes what a function returned.
    """

    @functools.wraps(initialise)
    def __init__(self: Any, data: Any, type: Any = None, try_type: Any = None, **options: Any) -> None:  # noqa: N807
        wanted = isinstance(type if type is not None else try_type, SafeTensor)
        references = None
        if wanted or _holds_stored(data):
            values = list(data)
            references = [None if value is None else reference_of(value) for value in values]
            if any(ref is None and value is not None for ref, value in zip(references, values, strict=True)):
                if wanted:
                    raise DataError(_NO_NEW_TENSORS)
                references = None
        inferred = references is not None and type is None and try_type is None
        if inferred:  # a column under a new name
            type = SafeTensor()
        initialise(self, data if references is None else references, type=type, try_type=try_type, **options)
        if inferred:
            self._inferred_type = type

    return __init__


def _holds_stored(data: Any) -> bool:
    return isinstance(data, list) and any(isinstance(value, StoredTensor) for value in data)
