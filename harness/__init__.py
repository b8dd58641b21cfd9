"""The harness: runs codecs on scenarios and scores them.

Example:
    >>> import harness
    >>> curve = harness.evaluate("uniform", "mini-cvu-digits")  # doctest: +SKIP
    >>> [(point.rate.ebpfp, point.score) for point in curve]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.evaluation import Curve, evaluate

__all__ = ["Curve", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from harness import evaluation  # imports torch, which the command line's help does not need

        return getattr(evaluation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
