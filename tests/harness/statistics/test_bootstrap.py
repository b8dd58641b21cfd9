"""Paired bootstrap: repeatable draws, intervals of known distributions, pairing that pays."""

import numpy as np
import pytest

from harness.metrics.accuracy import Accuracy
from harness.statistics.bootstrap import (
    LEAST_DRAWS,
    LEAST_SAMPLES,
    RESAMPLES,
    bootstrap_ratio,
    draw_counts,
    interval,
    resample_indices,
    resample_sums,
)


def test_draws_are_repeatable_and_streams_differ():
    assert np.array_equal(resample_indices(50, 20, seed=1), resample_indices(50, 20, seed=1))
    assert not np.array_equal(resample_indices(50, 20, seed=1), resample_indices(50, 20, seed=2))
    assert not np.array_equal(resample_indices(50, 20, stream="a"), resample_indices(50, 20, stream="b"))


def test_draws_hold_as_many_samples_as_there_are():
    indices = resample_indices(7, 30)
    assert indices.shape == (30, 7)
    assert indices.min() >= 0
    assert indices.max() <= 6


def test_the_interval_of_an_accuracy_is_the_binomial_one():
    correct = (np.arange(400) < 320).astype(float)
    low, high = interval(Accuracy().score_draws({"correct": correct}, resample_indices(400, 4000)))
    half_width = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == (pytest.approx(0.8 - half_width, abs=0.006), pytest.approx(0.8 + half_width, abs=0.006))


def test_pairing_removes_what_two_results_share():
    correct = (np.random.default_rng(0).random(400) < 0.7).astype(float)
    worse = correct.copy()
    worse[np.flatnonzero(correct)[:4]] = 0
    indices = resample_indices(400, 500)
    ours, theirs = (Accuracy().score_draws({"correct": values}, indices) for values in (correct, worse))
    assert np.ptp(ours - theirs) < 0.5 * np.ptp(ours)
    assert (ours >= theirs).all()


def test_ratios_are_of_sums():
    counts = draw_counts(np.array([[0, 0], [0, 1]]), 2)
    assert bootstrap_ratio(np.array([1.0, 3.0]), np.array([2.0, 4.0]), counts).tolist() == [0.5, 4 / 6]


def test_sums_of_draws_are_sums_over_their_samples():
    indices, values = resample_indices(9, 20), np.random.default_rng(0).standard_normal((9, 4))
    np.testing.assert_allclose(resample_sums(values, draw_counts(indices, 9)), values[indices].sum(axis=1), atol=1e-12)


def test_there_is_no_interval_of_mostly_undefined_draws():
    draws = np.full(100, np.nan)
    draws[:50] = 1.0
    assert interval(draws) is None
    assert interval(np.array([])) is None
    draws[:95] = 2.0
    assert interval(draws) == (2.0, 2.0)


def test_few_samples_and_few_draws_have_no_interval():
    for samples in range(LEAST_SAMPLES):
        indices = resample_indices(samples)
        assert indices.shape == (0, samples) and interval(indices.sum(1).astype(float)) is None
    assert len(resample_indices(LEAST_SAMPLES)) == RESAMPLES
    assert interval(np.ones(LEAST_DRAWS - 1)) is None and interval(np.ones(LEAST_DRAWS)) == (1.0, 1.0)


def test_a_draw_of_nothing_but_samples_without_raw_bits_has_no_ratio():
    counts = draw_counts(np.array([[0, 0], [0, 1]]), 2)
    ratios = bootstrap_ratio(np.array([80.0, 160.0]), np.array([0.0, 32.0]), counts)
    assert np.isnan(ratios[0])
    assert ratios[1] == 240 / 32
