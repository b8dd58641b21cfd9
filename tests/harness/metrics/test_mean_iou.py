"""Mean intersection over union as ADE20K is scored, by cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.base import METRICS
from harness.results.record import as_statistics, stack_statistics
from harness.results.scoring import make_metric
from lamofcbench.scenarios.base import SCENARIOS


def scored(pairs, metric):
    rows = [as_statistics(metric.statistics(np.array(p), np.array(r))) for p, r in pairs]
    return metric.score(stack_statistics(rows))


def test_label_0_and_label_255_are_ignored_and_the_others_go_down_by_one():
    """Label 1 is class 0. What is predicted on ignored pixels counts nowhere."""
    metric = METRICS.get("mean-iou")(num_classes=150, reduce_zero_label=True)
    found = metric.statistics(np.array([[0, 149, 7, 7]]), np.array([[1, 150, 0, 255]], dtype=np.uint8))
    for name in ("intersection", "predicted", "labelled"):
        assert np.flatnonzero(found[name]).tolist() == [0, 149] and found[name].sum() == 2


def test_intersections_and_unions_are_summed_over_images_before_they_are_divided():
    metric = METRICS.get("mean-iou")(num_classes=150, reduce_zero_label=True)
    first = ([[0, 0, 0, 1, 1]], [[1, 2, 2, 2, 2]])  # class 0: 1 of 3, class 1: 2 of 4
    second = ([[0, 1]], [[1, 0]])  # class 0: 1 of 1; the other pixel is ignored
    third = ([[1, 5]], [[255, 255]])  # nothing; 148 classes occur nowhere
    assert scored([first, second, third], metric) == pytest.approx((2 / 4 + 2 / 4) / 2)
    fourth = ([[1]], [[1]])  # the union of both classes grows by one
    assert scored([first, second, third, fourth], metric) == pytest.approx((2 / 5 + 2 / 5) / 2)


def test_a_class_that_is_only_predicted_counts_with_nothing():
    metric = METRICS.get("mean-iou")(num_classes=150, reduce_zero_label=True)
    assert scored([([[0, 0, 9]], [[1, 1, 1]])], metric) == pytest.approx((2 / 3 + 0) / 2)


def test_the_full_scenario_reduces_the_zero_label():
    metric = make_metric(SCENARIOS.get("cvu-ade20k"))
    assert (metric.num_classes, metric.ignore_label, metric.reduce_zero_label) == (150, 255, True)
