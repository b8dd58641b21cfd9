"""What of a model is loaded, and where it lies: all of it or its tail, on one device or spread by accelerate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from lamofcbench.errors import LaMoFCBenchError, PluginError


@dataclass(frozen=True)
class Placement:
    """How a model is loaded.

    Attributes:
        part: ``tail`` for a model that will never run its front: what only that runs is not loaded.
        device_map: ``auto``, ``balanced`` or ``sequential``, by which accelerate spreads each network over devices,
            main memory and disk, or an object of modules and devices; None for one device.
        offload: the folder of what does not fit anywhere else.
        max_memory: of devices, such as ``{"0": "70GiB", "cpu": "100GiB"}``; None for what is free.
    """

    part: Literal["whole", "tail"] = "whole"
    device_map: str | Mapping[str, str | int] | None = None
    offload: Path | None = None
    max_memory: Mapping[str | int, str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.device_map, str) and self.device_map not in MAPS:
            raise LaMoFCBenchError(f"device_map is {self.device_map!r}; it may be {', '.join(MAPS)} or an object")
        if self.device_map is None and (self.offload is not None or self.max_memory is not None):
            raise LaMoFCBenchError("offload and max_memory belong to a device_map; name one, such as auto")

    @property
    def arguments(self) -> dict[str, Any]:
        """Keywords of a library's ``from_pretrained``."""
        if self.device_map is None:
            return {}
        found: dict[str, Any] = {"device_map": self.device_map}
        if self.offload is not None:
            found["offload_folder"] = str(self.offload)
        if self.max_memory is not None:
            found["max_memory"] = {int(k) if str(k).isdecimal() else k: v for k, v in self.max_memory.items()}
        return found


MAPS = ("auto", "balanced", "sequential")
WHOLE, TAIL = Placement(), Placement(part="tail")
_CURRENT: ContextVar[Placement] = ContextVar("placement", default=WHOLE)


def current() -> Placement:
    """That of the model which is being loaded."""
    return _CURRENT.get()


@contextlib.contextmanager
def placed(placement: Placement) -> Iterator[None]:
    """Loads models that way for a while."""
    token = _CURRENT.set(placement)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class AbsentError(PluginError, AttributeError):
    """What was not loaded was asked for; also what ``hasattr`` expects of a module that lacks something."""


class Absent(nn.Module):
    """Stands where a module was not loaded.

    Args:
        path: of the module.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Raises AbsentError."""
        raise self._error()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise self._error() from None

    def _error(self) -> AbsentError:
        path = self.__dict__.get("path")
        return AbsentError(f"{path!r} was not loaded: this model was loaded for its tail alone")


def without(model_class: Any, unused: Sequence[str]) -> Any:
    """A model class of transformers that lacks some modules, so that their weights are neither read nor kept.

    Args:
        model_class: a class, no Auto class.
        unused: paths of modules.
    """

    class Part(model_class):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            for path in unused:
                self.set_submodule(path, Absent(path))

    Part.__name__ = Part.__qualname__ = model_class.__name__
    Part.__module__ = model_class.__module__
    return Part


def settled(module: nn.Module, device: Any) -> nn.Module:
    """A module on a device; one that accelerate has spread stays where it is."""
    return module if _is_spread(module) else module.to(device)


def _is_spread(module: nn.Module) -> bool:
    return any(hasattr(part, "_hf_hook") for part in module.modules())


def device_of(module: nn.Module, otherwise: Any) -> Any:
    """Where accelerate runs a module; ``otherwise`` where accelerate has not spread it."""
    found = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return otherwise if found is None else found
