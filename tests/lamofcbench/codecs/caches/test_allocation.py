"""Bits go where measured errors say."""

import itertools

import numpy as np
import pytest

from lamofcbench.codecs.caches.allocation import FLOAT_BITS, GROUP_SIZES, SCALE_BITS, allocate
from lamofcbench.codecs.caches.plan import Plan


def coefficients(count=128, rows=300, decay=0.03, seed=0):
    return (np.random.default_rng(seed).normal(size=(rows, count)) * np.exp(-decay * np.arange(count))).astype("f4")


def spent(parts):
    stops = [0, *(part.stop for part in parts)]
    sizes = [b - a for a, b in itertools.pairwise(stops)]
    return sum(
        n * p.bits + (0 if p.bits == FLOAT_BITS else SCALE_BITS) for n, p in zip(sizes, parts, strict=True)
    ), sizes


def error(values, parts):
    plan = Plan(tuple(parts))
    left = values.copy()
    left[:, : plan.components] -= plan.decode(plan.encode(values[:, : plan.components]))
    return float(np.square(left, dtype=np.float64).sum())


@pytest.mark.parametrize("budget", [0, 7, 8, 66, 100, 256, 300, 700, 2000])
def test_the_budget_is_kept_and_groups_are_no_larger_than_the_papers(budget):
    cost, sizes = spent(allocate(coefficients(), budget))
    assert cost <= budget and all(0 < size <= max(GROUP_SIZES) for size in sizes)


def test_error_falls_with_the_budget():
    values = coefficients()
    errors = [error(values, allocate(values, budget)) for budget in (0, 64, 128, 256, 512, 1024)]
    assert all(b < a for a, b in itertools.pairwise(errors))
    assert errors[0] == pytest.approx(float(np.square(values, dtype=np.float64).sum()))


def test_no_plan_of_one_type_is_better():
    values = coefficients()
    best = error(values, allocate(values, 600))
    for size, bits in itertools.product((16, 64), (2, 4, 8)):
        parts, stop = [], 0
        while True:
            longer = [*parts, type(allocate(values, 64)[0])(stop + size, bits)]
            if stop + size > values.shape[1] or spent(longer)[0] > 600:
                break
            parts, stop = longer, stop + size
        assert best <= error(values, parts)


def test_a_measured_error_decides_not_a_variance():
    """Values at the two ends of a group's range lose nothing to two bits, whatever their variance."""
    values = np.random.default_rng(0).choice([-1.03, 1.03], (200, 16)).astype("f4")
    assert [(p.stop, p.bits) for p in allocate(values, 16 * 2 + SCALE_BITS)] == [(16, 2)]


def test_no_components_and_no_rows_get_no_plan():
    assert allocate(np.zeros((5, 0), np.float32), 100) == []
    assert allocate(np.zeros((0, 40), np.float32), 100) == []


def test_wide_rows_take_seconds():
    values = coefficients(count=1024, rows=100, decay=0.003)
    cost, sizes = spent(allocate(values, 1024))
    assert cost <= 1024 and sum(sizes) > 64
