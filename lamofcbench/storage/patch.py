"""What is patched in `datasets`: after ``import lamofcbench``, ``datasets.load_dataset("lamofcbench", ...)`` is ours.

`datasets` has no entry points for builders. It asks `datasets.load.dataset_module_factory` which module builds a
dataset name, so that function is wrapped: the exact name ``lamofcbench`` means our builder, every other name goes on to
the original. Beside that, `feature.register` makes known what rows hold, and lets ``map`` write stored tensors back as
the references that they are. Nothing else is touched; should `datasets` change inside, a warning names
`lamofcbench.load_dataset`, which needs none of this.

Without ``import lamofcbench`` the name means what it always meant: a folder of that name in the working directory, or a
Hub repository.

Importing `datasets` takes seconds, too long for ``lamofcbench --help``, so where it is not imported yet the patch waits
for the import of `datasets.load`. A finder on `sys.meta_path` that lets the normal finders do their work and then runs
a function is the way that Python itself offers for that.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "lamofcbench"
BUILDER_MODULE = "lamofcbench.storage.builder"
_PATCHED_MODULE = "datasets.load"


def install() -> None:
    """Patches `datasets` now if it is imported, or else when it will be; once, however often it is called."""
    if _PATCHED_MODULE in sys.modules:
        _patch(sys.modules[_PATCHED_MODULE])
    elif not any(isinstance(finder, _PatchOnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PatchOnImport())


def builder_hash() -> str:
    """Hex sha256 of the code that decides what rows hold; `datasets` keeps prepared rows under it."""
    digest = hashlib.sha256()
    for file in ("builder.py", "feature.py", "layout.py", "reader.py"):
        digest.update(Path(__file__).with_name(file).read_bytes())
    return digest.hexdigest()


def _patch(load: ModuleType) -> None:
    try:
        from lamofcbench.storage.feature import register

        if getattr(load.dataset_module_factory, "_lamofcbench", False):
            return
        register()
        wrapped = _wrap(load.dataset_module_factory, load.DatasetModule)
        load.dataset_module_factory = wrapped  # type: ignore[attr-defined]
        inspect = sys.modules.get("datasets.inspect")  # imports the function by name, so it has a copy of its own
        if hasattr(inspect, "dataset_module_factory"):
            inspect.dataset_module_factory = wrapped  # type: ignore[union-attr]
    except Exception as error:  # private names of datasets
        advice = "use lamofcbench.load_dataset(...) in place of datasets.load_dataset('lamofcbench', ...)"
        warnings.warn(f"datasets has changed inside ({error!r}); {advice}", stacklevel=2)


def _wrap(factory: Callable[..., Any], module_class: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(factory)
    def dataset_module_factory(path: str, revision: Any = None, *args: Any, **kwargs: Any) -> Any:
        if path != NAME:
            return factory(path, revision, *args, **kwargs)
        builder_kwargs = {"dataset_name": NAME}
        if revision is not None:
            builder_kwargs["revision"] = str(revision)
        return module_class(BUILDER_MODULE, builder_hash(), builder_kwargs)

    dataset_module_factory._lamofcbench = True  # type: ignore[attr-defined]
    return dataset_module_factory


class _PatchOnImport(importlib.abc.MetaPathFinder):
    """Runs the patch right after `datasets.load` is executed, then is gone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _PATCHED_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader)
        return spec


class _PatchingLoader(importlib.abc.Loader):
    """Another loader, and the patch after it."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        _patch(module)
