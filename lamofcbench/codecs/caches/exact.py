"""Tokens that stay as they are, beside those that a codec quantises: attention sinks and the most recent ones."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.transform.rows import RowGroup, row_dims
from lamofcbench.errors import BitstreamError
from lamofcbench.features import TORCH_DTYPES, FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import TensorSpec


def can_be_exact(group: RowGroup) -> bool:
    """True for the keys and values of a cache, whose rows are the tokens of one sequence."""
    return group.specs[0].role in ("key", "value") and len(group.row_axes) == 1


def words_of(group: RowGroup, features: FeatureSet, tokens: NDArray[np.intp]) -> NDArray[np.uint16]:
    """The stored bits of the tokens, tensor by tensor, in words of 16 bits."""
    parts = [tensor_bytes(_tokens_of(spec, features[spec.name], tokens)) for spec in group.specs]
    return np.frombuffer(b"".join(parts), "<u2")


def word_count(group: RowGroup, shapes: Mapping[str, tuple[int, ...]], tokens: int) -> int:
    """How many words so many tokens take."""
    return sum(_elements(spec, shapes, tokens) * spec.bits // 16 for spec in group.specs)


def put_back(
    group: RowGroup, tensors: Mapping[str, Tensor], words: NDArray[np.uint16], tokens: NDArray[np.intp]
) -> dict[str, Tensor]:
    """The tensors with the tokens that these words hold in place.

    Raises:
        BitstreamError: if a value is not finite.
    """
    if not len(tokens):
        return dict(tensors)
    restored, start = {}, 0
    for spec in group.specs:
        tensor = tensors[spec.name]
        dim, dtype = row_dims(spec)[0], TORCH_DTYPES[spec.dtype]
        shape = [len(tokens) if d == dim else size for d, size in enumerate(tensor.shape)]
        end = start + math.prod(shape) * spec.bits // 16
        exact = torch.frombuffer(bytearray(words[start:end].astype("<u2").tobytes()), dtype=dtype).reshape(shape)
        if not bool(torch.isfinite(exact).all()):
            raise BitstreamError(f"exact tokens of tensor {spec.name!r} are not finite")
        restored[spec.name] = tensor.index_copy(dim, torch.from_numpy(tokens), exact.to(tensor.dtype))
        start = end
    return restored


def _tokens_of(spec: TensorSpec, tensor: Tensor, tokens: NDArray[np.intp]) -> Tensor:
    return tensor.index_select(row_dims(spec)[0], torch.from_numpy(tokens))


def _elements(spec: TensorSpec, shapes: Mapping[str, tuple[int, ...]], tokens: int) -> int:
    dim = row_dims(spec)[0]
    return math.prod(tokens if d == dim else size for d, size in enumerate(shapes[spec.name]))
