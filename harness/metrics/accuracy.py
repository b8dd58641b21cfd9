"""Top-1 accuracy: the share of samples whose predicted label is the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import ShareCorrect


class Accuracy(ShareCorrect):
    """Compares a label, or the best of a vector of scores, with the reference label."""

    name = "accuracy"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("label", "scores")

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the labels agree."""
        label = int(np.argmax(prediction)) if np.ndim(prediction) else int(prediction)
        return {"correct": float(label == int(reference))}
