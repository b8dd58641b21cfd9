"""What stands in a tail's output for tensors that a tail does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from torch.utils._pytree import tree_leaves

from lamofcbench.errors import PluginError


class Withheld:
    """Takes the place of a tensor that depends on more than the features, and raises as soon as somebody uses it.

    It may be passed on, named and asked for its class; all else is an error, in arithmetic and within functions of
    torch, too.

    Args:
        reason: what the error says.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __repr__(self) -> str:
        return "<withheld>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what a protocol asks whether it is there
            raise AttributeError(name)
        self._refuse()

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> NoReturn:
        found: Withheld = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, cls))
        found._refuse()

    def _refuse(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise PluginError(self._reason)

    __hash__ = object.__hash__
    __getitem__ = __setitem__ = __iter__ = __len__ = __contains__ = __call__ = _refuse
    __bool__ = __int__ = __float__ = __index__ = __array__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __neg__ = __pos__ = __abs__ = __invert__ = __round__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse
