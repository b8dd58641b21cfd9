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

from typing import TYPE_CHECKING

from lamofcbench.lazy import lazy_exports
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

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
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
    },
)

# The one effect of the import: datasets.load_dataset("lamofcbench", ...) means this package. See storage/patch.py.
_patch.install()
