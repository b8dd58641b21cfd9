"""SafeTensor: the `datasets` feature that stores where a tensor is and decodes to the tensor itself.

Arrow holds references only, so a dataset's cache stays small and bf16 stays bf16. With the format ``safetensors``,
which `load_dataset` sets, ``map`` keeps the columns that a function does not return as references; without it, a
function that merely reads a tensor makes `datasets` store its values as lists of floats. Do not use
``with_format("torch")`` (copies each tensor) or ``"numpy"`` (has no bf16).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
from torch import Tensor

from lamofcbench.storage.layout import TENSOR_STRUCT
from lamofcbench.storage.shards import open_shard

FORMAT = "safetensors"


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
    pa_type: ClassVar[Any] = TENSOR_STRUCT
    _type: str = field(default="SafeTensor", init=False, repr=False)

    def __call__(self) -> pa.DataType:
        """The Arrow storage type."""
        return self.pa_type

    def encode_example(self, value: Any) -> dict[str, Any]:
        """What Arrow stores for a reference.

        Raises:
            TypeError: for anything but a reference; a new tensor belongs into a shard first.
        """
        if isinstance(value, Mapping) and {"file", "key", "dtype", "shape"} <= set(value):
            return {name: value[name] for name in ("file", "key", "dtype", "shape")}
        raise TypeError(
            f"a SafeTensor column holds references (file, key, dtype, shape), not {type(value).__name__}; "
            "write new tensors with lamofcbench.storage.DatasetWriter"
        )

    def decode_example(self, value: Mapping[str, Any], token_per_repo_id: Any = None) -> Tensor:
        """The tensor that a reference names, as a view of the mapped shard."""
        if not self.decode:
            raise RuntimeError("this column holds references; cast it to SafeTensor() to get tensors")
        return open_shard(value["file"]).tensor(value["key"], value["dtype"], list(value["shape"]))

    def flatten(self) -> Any:
        """The feature itself, or its parts where it is not decoded."""
        from datasets import Sequence, Value

        if self.decode:
            return self
        return {
            "file": Value("string"), "key": Value("string"), "dtype": Value("string"), "shape": Sequence(Value("int64"))
        }  # fmt: skip

    def cast_storage(self, storage: pa.StructArray) -> pa.StructArray:
        """Arrow references of the same fields, as this feature stores them."""
        from datasets.table import array_cast

        return array_cast(storage, self.pa_type)


def register() -> None:
    """Makes `datasets` know the feature and the format; called once `datasets` has been imported."""
    from datasets.features.features import register_feature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # datasets calls its own hook experimental
        register_feature(SafeTensor, "SafeTensor")
    try:
        from datasets.formatting import PythonFormatter, _register_formatter

        class SafeTensorFormatter(PythonFormatter):
            """Plain Python rows; a format of its own so that ``map`` does not store decoded tensors it only showed."""

        _register_formatter(SafeTensorFormatter, FORMAT)
    except Exception as error:  # private names of datasets
        warnings.warn(f"datasets has changed inside ({error}); rows keep the default format", stacklevel=2)
