"""The mathematics of rate-score curves, against cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics.curves import (
    by_rate,
    geometric_mean,
    isotonic_fit,
    rate_at_error,
    rate_at_retention,
    rates_at_retention,
    retention,
)


class TestRetention:
    def test_anchor_is_one_and_floor_is_zero_in_either_direction(self):
        assert retention([0.9, 0.1, 0.5], 0.9, 0.1, "up").tolist() == pytest.approx([1, 0, 0.5])
        assert retention([0.1, 0.9, 0.5], 0.1, 0.9, "down").tolist() == pytest.approx([1, 0, 0.5])

    def test_better_than_the_anchor_is_more_than_one_and_worse_than_the_floor_negative(self):
        assert retention([1.0, 0.0], 0.9, 0.1, "up").tolist() == pytest.approx([1.125, -0.125])

    @pytest.mark.parametrize(("anchor", "floor", "direction"), [(0.5, 0.5, "up"), (0.1, 0.9, "up"), (0.9, 0.1, "down")])
    def test_is_undefined_where_the_anchor_is_not_better_than_the_floor(self, anchor, floor, direction):
        assert np.isnan(retention(0.7, anchor, floor, direction))


class TestIsotonicFit:
    def test_pools_neighbours_that_fall(self):
        assert isotonic_fit([1.0, 3.0, 2.0, 4.0]).tolist() == [1.0, 2.5, 2.5, 4.0]
        assert isotonic_fit([3.0, 2.0, 1.0]).tolist() == [2.0, 2.0, 2.0]
        assert isotonic_fit([1.0, 2.0]).tolist() == [1.0, 2.0]

    @settings(deadline=None)  # the first example imports scikit-learn
    @given(st.lists(st.tuples(st.integers(1, 6), st.integers(-20, 20)), min_size=1, max_size=12))
    def test_agrees_with_scikit_learn_ties_of_rate_included(self, points):
        from sklearn.isotonic import IsotonicRegression

        rates, values = (np.array(column, dtype=float) for column in zip(*points, strict=True))
        ordered, fit = by_rate(rates, values)
        assert fit == pytest.approx(IsotonicRegression().fit(rates, values).predict(ordered))

    def test_works_on_many_curves_at_once(self):
        curves = np.random.default_rng(0).normal(size=(5, 7))
        assert isotonic_fit(curves).tolist() == [isotonic_fit(curve).tolist() for curve in curves]


class TestRateAtRetention:
    def test_is_linear_in_log_rate_between_two_points(self):
        found = rate_at_retention([1, 4], [0.9, 1.0], 95)  # half way from 0.9 to 1.0, so half way from 2^0 to 2^2
        assert (found.ebpfp, found.bound) == (pytest.approx(2.0), "exact")

    def test_takes_points_in_any_order(self):
        assert rate_at_retention([4, 1], [1.0, 0.9], 95) == rate_at_retention([1, 4], [0.9, 1.0], 95)

    def test_a_lucky_point_does_not_count(self):
        # 0.96 at rate 1 is followed by 0.90 at rate 2: the fit has 0.93 at both, and reaches 0.95 after them.
        found = rate_at_retention([1, 2, 8], [0.96, 0.90, 0.97], 95)
        assert found.ebpfp == pytest.approx(2 * 4 ** ((0.95 - 0.93) / (0.97 - 0.93)))

    def test_never_reached_counts_as_uncoded(self):
        found = rate_at_retention([1, 2, 16], [0.5, 0.6, 0.94], 95)
        assert (found.ebpfp, found.bound) == (32.0, "never")

    def test_held_at_the_lowest_point_is_an_upper_bound(self):
        found = rate_at_retention([1.5, 2], [0.97, 1.0], 95)
        assert (found.ebpfp, found.bound) == (1.5, "at most")

    def test_exactly_the_target_is_held(self):
        assert rate_at_retention([1, 2], [0.5, 1 - 0.05], 95).ebpfp == pytest.approx(2.0)

    def test_more_than_uncoded_costs_no_more_than_uncoded(self):
        found = rate_at_retention([32.4], [1.0], 95)
        assert (found.ebpfp, found.bound) == (32.0, "exact")

    def test_is_absent_where_retention_is(self):
        assert rate_at_retention([1, 2], [float("nan"), 1.0], 95) is None
        assert rate_at_retention([], [], 95) is None
        assert np.isnan(rates_at_retention([[1, 2]], [[float("nan"), 1.0]], 95)).all()

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.floats(0.01, 64), st.floats(-0.5, 1.2)), min_size=1, max_size=8),
        st.sampled_from([50, 95, 99]),
    )
    def test_lies_between_the_lowest_rate_and_uncoded(self, points, percent):
        rates, retentions = zip(*points, strict=True)
        found = rate_at_retention(rates, retentions, percent)
        assert min(min(rates), 32) * (1 - 1e-9) <= found.ebpfp <= 32

    def test_keeping_more_never_costs_less(self):
        rates, retentions = [1, 2, 4, 8], [0.7, 0.9, 0.96, 1.0]
        costs = [rate_at_retention(rates, retentions, percent).ebpfp for percent in range(70, 101)]
        assert costs == sorted(costs)


class TestRateAtError:
    def test_is_linear_in_the_logarithm_of_the_error(self):
        assert rate_at_error([1, 3], [2**-2, 2**-6], 2**-3) == pytest.approx(1.5)

    def test_is_undefined_outside_of_the_errors_and_without_points(self):
        assert np.isnan(rate_at_error([1, 3], [0.5, 0.1], 0.6))
        assert np.isnan(rate_at_error([1, 3], [0.5, 0.1], 0.05))
        assert np.isnan(rate_at_error([], [], 0.1))

    def test_lossless_unknown_and_beaten_points_are_left_out(self):
        rates, errors = [1, 2, 3, 9, 4], [0.5, 0.7, 0.125, 0.0, float("nan")]
        assert rate_at_error(rates, errors, 0.25) == pytest.approx(2.0)


def test_geometric_mean():
    assert geometric_mean([[1.0, 4.0], [2.0, 32.0]], axis=1).tolist() == pytest.approx([2.0, 8.0])


def test_a_curve_whose_rate_is_undefined_has_no_rate_at_a_retention():
    assert rate_at_retention([np.nan, np.nan], [0.9, 1.0], 95) is None
    drawn = rates_at_retention([[1.0, 4.0], [np.nan, 4.0]], [[0.9, 1.0], [0.9, 1.0]], 100)
    assert drawn[0] == 4.0
    assert np.isnan(drawn[1])
