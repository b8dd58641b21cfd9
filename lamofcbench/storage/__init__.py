"""Features on disk and on the Hub: safetensors shards, a parquet index, and the ways to read them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamofcbench.storage.loading import load_dataset
    from lamofcbench.storage.reader import SplitReader, feature_set, open_split
    from lamofcbench.storage.writer import DatasetWriter

__all__ = ["DatasetWriter", "SplitReader", "feature_set", "load_dataset", "open_split"]

# Imported when asked for: the patch in this package is loaded by `import lamofcbench`, which is to stay light.
_HOMES = {
    "DatasetWriter": "writer",
    "SplitReader": "reader",
    "feature_set": "reader",
    "load_dataset": "loading",
    "open_split": "reader",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
