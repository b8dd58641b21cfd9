"""LaMoFCBench: the benchmark for coding the intermediate features of large models in split execution.

    raw input ──front──► FeatureSet ──shards──► Hub or disk ──load_dataset──► FeatureSet
    └────────── dataset_builders/ ──────────┘                                     │ encode
                                                                                bytes   ← what is counted
                                                                                  │ decode (fresh codec)
                score ◄──metric── prediction ◄──tail── FeatureSet' ◄──────────────┘
                └───────────────────────── harness/ ──────────────────────────────┘

This package holds what both sides share: scenarios, feature sets, split models, shards, bitstreams, codecs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lamofcbench.storage import patch as _patch
from lamofcbench.version import __version__

if TYPE_CHECKING:
    from lamofcbench.codecs.base import Codec
    from lamofcbench.features import FeatureSet
    from lamofcbench.scenarios.base import SCENARIOS, Axis, Backbone, Scenario, TensorSpec
    from lamofcbench.storage.loading import load_dataset
    from lamofcbench.storage.reader import feature_set, open_split

__all__ = [
    "SCENARIOS",
    "Axis",
    "Backbone",
    "Codec",
    "FeatureSet",
    "Scenario",
    "TensorSpec",
    "__version__",
    "feature_set",
    "load_dataset",
    "open_split",
]

# Imported when asked for: torch and datasets take seconds, and every import of a submodule passes through here.
_HOMES = {
    "SCENARIOS": "scenarios.base",
    "Axis": "scenarios.base",
    "Backbone": "scenarios.base",
    "Codec": "codecs.base",
    "FeatureSet": "features",
    "Scenario": "scenarios.base",
    "TensorSpec": "scenarios.base",
    "feature_set": "storage.reader",
    "load_dataset": "storage.loading",
    "open_split": "storage.reader",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# The one effect of the import: datasets.load_dataset("lamofcbench", ...) means this package. See storage/patch.py.
_patch.install()
