"""Features on disk and on the Hub: safetensors shards, a parquet index, and the ways to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamofcbench.lazy import lazy_exports

if TYPE_CHECKING:
    from lamofcbench.storage.loading import load_dataset
    from lamofcbench.storage.reader import SplitReader, feature_set, open_split
    from lamofcbench.storage.writer import DatasetWriter

__all__ = ["DatasetWriter", "SplitReader", "feature_set", "load_dataset", "open_split"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DatasetWriter": "writer",
        "SplitReader": "reader",
        "feature_set": "reader",
        "load_dataset": "loading",
        "open_split": "reader",
    },
)
