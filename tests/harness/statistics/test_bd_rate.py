import numpy as np
import pytest

from harness.statistics.bd_rate import bd_rate, bd_rates


class TestBDRate:
    RATES, QUALITIES = [1.0, 2.0, 4.0, 8.0, 16.0], [30.0, 33.0, 36.0, 38.0, 39.0]

    def test_half_the_rate_is_minus_fifty_percent(self):
        found = bd_rate(self.RATES, self.QUALITIES, [rate / 2 for rate in self.RATES], self.QUALITIES)
        assert found.percent == pytest.approx(-50)
        assert found.overlap == pytest.approx(1)
        assert found.reason == ""

    def test_the_reference_against_itself_is_zero(self):
        assert bd_rate(self.RATES, self.QUALITIES, self.RATES, self.QUALITIES).percent == pytest.approx(0)

    def test_scaling_the_quality_changes_nothing(self):
        double = [rate * 2 for rate in self.RATES]
        scaled = [(quality - 20) / 50 for quality in self.QUALITIES]
        assert bd_rate(self.RATES, scaled, double, scaled).percent == pytest.approx(100)

    def test_numbers_of_points_may_differ_and_beaten_points_are_left_out(self):
        rates, qualities = [*self.RATES[:4], 7.0], [*self.QUALITIES[:4], 31.0]  # 31 at rate 7 is worse than 36 at 4
        assert bd_rate(self.RATES, self.QUALITIES, rates, qualities).percent == pytest.approx(0, abs=1)

    def test_states_the_overlap(self):
        found = bd_rate(self.RATES, [0, 1, 2, 3, 4], self.RATES, [2, 3, 4, 5, 6])
        assert found.overlap == pytest.approx(2 / 6)

    @pytest.mark.parametrize(
        ("rates", "qualities", "reason"),
        [
            ([1, 2, 3], [1, 2, 3], "the codec has fewer than 4 points"),
            ([1, 2, 3, 4], [5, 5, 5, 5], "the codec has fewer than 4 points"),
            ([1, 2, 3, 4], [1, 2, 3, 4], "no quality in common; none of its points is as good"),
            ([1, 2, 3, 4], [41, 42, 43, 44], "no quality in common; every point of the codec is better"),
        ],
    )
    def test_says_why_there_is_no_figure(self, rates, qualities, reason):
        found = bd_rate(self.RATES, self.QUALITIES, rates, qualities)
        assert found.percent is None
        assert reason in found.reason


class TestBDRates:
    """The batch form against the package, curve by curve."""

    @pytest.mark.parametrize(("points", "noise"), [((4, 4), 0.0), ((5, 7), 0.05), ((7, 6), 0.3), ((9, 4), 1.0)])
    def test_is_the_figure_of_each_pair(self, points, noise):
        random = np.random.default_rng(0)
        curves = []
        for count in points:
            rates = np.exp2(np.sort(random.uniform(-3, 5, (300, count))))[:, random.permutation(count)]
            curves += [
                rates,
                np.log2(rates) + noise * random.standard_normal(rates.shape) + random.normal(size=(300, 1)),
            ]
        curves[3][::7, 1] = np.nan  # as of a lossless point
        expected = [bd_rate(*pair).percent for pair in zip(*curves, strict=True)]
        expected = np.array([np.nan if percent is None else percent for percent in expected])
        assert np.isfinite(expected).mean() > 0.02 if noise == 1.0 else np.isfinite(expected).mean() > 0.3
        np.testing.assert_allclose(bd_rates(*curves), expected, rtol=1e-8)

    def test_steps_plateaus_and_equal_points_are_those_of_the_package(self):
        reference = [[0.1, 0.2, 0.4, 0.8, 1.6]] * 3, [[0.0, 0.1, 0.9, 0.91, 1.0]] * 3
        codec = [[0.1, 0.1, 0.3, 0.9, 2.0]] * 3, [[0.2, 0.1, 0.3, 0.95, 1.0], [0.0, 0.1, 0.5, 0.50001, 0.9], [0.5] * 5]
        pairs = zip(*reference, *codec, strict=True)
        expected = [np.nan if (found := bd_rate(*pair).percent) is None else found for pair in pairs]
        np.testing.assert_allclose(bd_rates(*reference, *codec), expected, rtol=1e-8)
        assert np.isfinite(expected).tolist() == [True, True, False]

    def test_a_thousand_of_none_are_none(self):
        assert bd_rates(*[np.empty((0, 5))] * 4).shape == (0,)
