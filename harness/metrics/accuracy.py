"""Top-1 accuracy: the share of samples whose predicted label is the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError
from lamofcbench.references import shown


class Accuracy(ShareCorrect):
    """Compares a label, or the best of a vector of scores, with the reference label."""

    name = "accuracy"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("label", "scores")

    def check_reference(self, reference: Any) -> None:
        """Raises DataError for a reference that is no label."""
        if not isinstance(reference, (int, np.integer)):
            raise DataError(f"the reference {shown(reference)} is no label; accuracy compares whole numbers")

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the labels agree."""
        self.check_reference(reference)
        label = int(np.argmax(prediction)) if np.ndim(prediction) else int(prediction)
        return {"correct": float(label == int(reference))}
