"""The harness: runs codecs on scenarios and scores them.

Example:
    >>> import harness
    >>> curve = harness.evaluate("uniform", "mini-cvu-digits")  # doctest: +SKIP
    >>> [(point.rate.ebpfp, point.score) for point in curve]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamofcbench.lazy import lazy_exports

if TYPE_CHECKING:
    from harness.running.evaluation import Curve, evaluate

__all__ = ["Curve", "evaluate"]

__getattr__, __dir__ = lazy_exports(__name__, {"Curve": "running.evaluation", "evaluate": "running.evaluation"})
