"""Tensors that remember where they are stored, so that `datasets` can write back the place instead of the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

REFERENCE_FIELDS = ("file", "key", "dtype", "shape")


class StoredTensor(Tensor):
    """A tensor as a row of `load_dataset` holds it: read only, and aware of its place in a shard.

    Whatever is computed from it is an ordinary tensor. ``numpy()`` gives float32 for bfloat16, which numpy lacks; every
    value is exact.
    """

    # Results of operations are plain tensors, which no longer are what is stored.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    _reference: Mapping[str, Any]
    _made_at_version: int

    @staticmethod
    def of(tensor: Tensor, reference: Mapping[str, Any]) -> StoredTensor:
        """The same tensor, with its reference."""
        stored = tensor.as_subclass(StoredTensor)
        stored._reference, stored._made_at_version = reference, stored._version
        return stored

    def reference(self) -> Mapping[str, Any] | None:
        """Where the tensor is stored; None once it has been written to."""
        known = getattr(self, "_reference", None)
        return known if known is not None and self._version == self._made_at_version else None

    def detach(self) -> Tensor:
        """The same values and the same place."""
        same, reference = super().detach(), self.reference()
        return same if reference is None else StoredTensor.of(same, reference)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(Tensor).__reduce_ex__(protocol)  # another process gets the values alone

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.as_subclass(Tensor).clone()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values as an array, in float32 where they are bfloat16."""
        plain = self.as_subclass(Tensor)
        return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy(force=force)


def reference_of(value: Any) -> dict[str, Any] | None:
    """The reference that a value is or that a stored tensor remembers; None for anything else."""
    if isinstance(value, StoredTensor):
        value = value.reference()
    if not isinstance(value, Mapping) or not set(REFERENCE_FIELDS) <= set(value):
        return None
    return {**{name: value[name] for name in REFERENCE_FIELDS}, "sha256": value.get("sha256")}
