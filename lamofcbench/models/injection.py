"""How features are taken out of a running model and put back in: captured outputs, and stand-ins for modules.

Both work on a model as it is, with no copy of its code, and leave it as it was, whatever happens in between. A model
with stand-ins inside cannot be used a second time meanwhile, neither by a nested call nor by another thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lamofcbench.errors import PluginError


class StandIn(nn.Module):
    """Takes another module's place: what it lacks itself, such as ``layer_idx``, it reads from the original.

    The original is not registered as a submodule, so its parameters are listed at most once, and not at all while
    nothing but a stand-in holds it.

    Args:
        original: the module whose place is taken.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "original", original)  # past nn.Module, which would register it

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["original"], name)


@contextlib.contextmanager
def replaced(root: nn.Module, replacements: Mapping[str, nn.Module]) -> Iterator[None]:
    """Puts other modules into a model for a while.

    Args:
        root: the model.
        replacements: path of a submodule, such as ``layers.0``, to what takes its place.

    Raises:
        PluginError: if stand-ins are in the model already, because it is not reentrant.
    """
    originals = {path: root.get_submodule(path) for path in replacements}
    if any(isinstance(module, StandIn) for module in originals.values()):
        raise PluginError("the split model is busy; run one front or tail at a time on an instance")
    try:
        for path, module in replacements.items():
            _put(root, path, module)
        yield
    finally:
        for path, original in originals.items():
            _put(root, path, original)


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)


class _Captured(BaseException):
    """Ends a forward pass whose remaining output nobody needs; not an Exception, lest model code handle it."""


def capture(forward: Callable[[], Any], modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The outputs of some modules; the forward pass is abandoned as soon as the last of them has run.

    Args:
        forward: runs the model.
        modules: name to module; a module whose output is a tuple gives its first element.

    Returns:
        Name to a copy of the module's output, in the order of ``modules``.

    Raises:
        PluginError: if a module was not called, or returned no tensor.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            # A copy, because later modules may work in place.
            found[name] = first_tensor(output, name).detach().clone()
            if len(found) == len(modules):
                raise _Captured

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        with contextlib.suppress(_Captured):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    missing = [name for name in modules if name not in found]
    if missing:
        raise PluginError(f"the forward pass never called the module of feature {missing[0]!r}")
    return {name: found[name] for name in modules}


def first_tensor(output: Any, name: str) -> Tensor:
    """A module's output tensor: the output itself, or the first element of a tuple or list."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise PluginError(f"the module of feature {name!r} returns a {type(output).__name__}, not a tensor")
    return output
