"""Mean intersection over union of segmentation masks (PASCAL VOC's measure, over the pixels of all samples)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import AdditiveMetric
from lamofcbench.errors import DataError


class MeanIoU(AdditiveMetric):
    """Mean over classes of intersection over union.

    The statistics are what the score needs of the confusion matrix: its diagonal and its two margins.

    Args:
        num_classes: how many classes are judged.
        ignore_label: reference pixels with this value are not judged.
        reduce_zero_label: the reference's label 0 is background that is not judged, and label 1 is class 0, as in
            ADE20K; predictions count from class 0 either way.
    """

    name = "mean-iou"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("mask",)

    def __init__(self, num_classes: int, ignore_label: int = 255, reduce_zero_label: bool = False) -> None:
        super().__init__(num_classes=num_classes, ignore_label=ignore_label, reduce_zero_label=reduce_zero_label)
        self.num_classes, self.ignore_label, self.reduce_zero_label = num_classes, ignore_label, reduce_zero_label

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """Judged pixels a class: ``intersection``, ``predicted`` and ``labelled``, float64 ``[num_classes]`` each."""
        prediction, reference = np.asarray(prediction, dtype=np.int64), np.asarray(reference, dtype=np.int64)
        if prediction.shape != reference.shape:
            raise DataError(f"predicted mask is {prediction.shape}, the reference {reference.shape}; they must agree")
        judged = reference != self.ignore_label
        if self.reduce_zero_label:
            judged &= reference != 0
            reference = reference - 1
        prediction, reference = prediction[judged], reference[judged]
        return {
            "intersection": self._count(reference[prediction == reference]),
            "predicted": self._count(prediction),
            "labelled": self._count(reference),
        }

    def _count(self, classes: np.ndarray) -> np.ndarray:
        valid = classes[(classes >= 0) & (classes < self.num_classes)]
        return np.bincount(valid, minlength=self.num_classes).astype(np.float64)

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """The mean over the classes that occur in predictions or references; 0 where none does."""
        union = sums["predicted"] + sums["labelled"] - sums["intersection"]
        shares = sums["intersection"] / np.where(union > 0, union, 1)
        return shares.sum(axis=-1) / np.maximum((union > 0).sum(axis=-1), 1)
