"""The Gaussian bound, against closed forms."""

import math

import numpy as np
import pytest
import torch

from harness.statistics.gaussian_bound import MAX_COMPONENTS, GaussianBound, Spectrum, spectra, spectrum
from lamofcbench.codecs.rotary import with_positions
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

HIDDEN = TensorSpec(name="x", role="hidden", shape=(Axis(name="tokens", limit=999), 4), dtype="float32")


def _spectrum(*variances, shares=None) -> Spectrum:
    values = np.array(variances, dtype=float)
    return Spectrum(values, np.full(len(values), 1 / len(values)) if shares is None else shares, "variances", 1, 100)


def _samples(rows: np.ndarray, count: int, name: str = "x") -> list[FeatureSet]:
    return [FeatureSet({name: torch.tensor(part, dtype=torch.float32)}) for part in np.array_split(rows, count)]


class TestReverseWaterFilling:
    @pytest.mark.parametrize("variance", [1e-6, 1.0, 7270.0**2])
    def test_white_is_half_the_log_of_variance_over_distortion(self, variance):
        bound = GaussianBound({"x": _spectrum(variance)}, {"x": 10})
        for ratio in (1.0, 0.5, 1e-1, 1e-6):
            assert bound.bits(ratio * variance) == pytest.approx(-math.log2(ratio) / 2)
        assert bound.largest_distortion == pytest.approx(variance)

    def test_two_components_below_the_smaller_variance_are_both_coded(self):
        bound = GaussianBound({"x": _spectrum(16.0, 4.0)}, {"x": 2})
        assert bound.bits(1.0) == pytest.approx((math.log2(16) / 2 + math.log2(4) / 2) / 2)

    def test_a_component_under_water_costs_nothing_and_keeps_its_variance_as_error(self):
        bound = GaussianBound({"x": _spectrum(16.0, 1.0)}, {"x": 2})
        level = 4.0
        assert bound.bits((level + 1.0) / 2) == pytest.approx(math.log2(16 / level) / 2 / 2)

    def test_beyond_the_variance_the_rate_is_zero_and_at_no_error_infinite(self):
        bound = GaussianBound({"x": _spectrum(2.0)}, {"x": 1})
        assert bound.bits([2.0, 3.0, 0.0]).tolist() == [0.0, 0.0, math.inf]

    def test_tensors_share_the_water_level_and_count_by_their_elements(self):
        spectra = {"small": _spectrum(1.0), "large": _spectrum(64.0)}
        bound = GaussianBound(spectra, {"small": 300, "large": 100})
        # Level 4: the small tensor is under water.
        assert bound.bits((300 * 1.0 + 100 * 4.0) / 400) == pytest.approx(100 * 2.0 / 400)

    def test_weights_make_it_the_normalised_error(self):
        spectra = {"small": _spectrum(1.0), "large": _spectrum(64.0)}
        bound = GaussianBound(spectra, {"small": 50, "large": 50}, {"small": 1.0, "large": 1 / 64})
        assert bound.largest_distortion == pytest.approx(1.0)
        assert bound.bits(2**-6) == pytest.approx(3.0)  # both are white with variance 1 then

    def test_what_does_not_vary_takes_part_as_elements_only(self):
        constant = _spectrum(shares=np.zeros(0))
        bound = GaussianBound({"x": _spectrum(4.0), "constant": constant}, {"x": 10, "constant": 30})
        assert bound.bits(10 / 40) == pytest.approx(10 / 40)

    def test_agrees_with_a_search_for_the_water_level(self):
        generator = np.random.default_rng(0)
        variances, shares = generator.lognormal(0, 3, 50), generator.dirichlet(np.ones(50))
        bound = GaussianBound({"x": _spectrum(*variances, shares=shares)}, {"x": 7})
        for level in generator.choice(variances, 10) * 0.9:
            distortion = float(shares @ np.minimum(variances, level))
            rate = float(shares @ np.maximum(0, np.log2(variances / level) / 2))
            assert bound.bits(distortion) == pytest.approx(rate, abs=1e-9)

    def test_falls_as_the_error_grows(self):
        bound = GaussianBound({"x": _spectrum(9.0, 1.0, 0.1)}, {"x": 3})
        rates = bound.bits(np.geomspace(1e-4, 4, 200))
        assert (np.diff(rates) <= 0).all()


class TestSpectrum:
    MIXING = np.array([[10.0, 0, 0, 0], [9, 1, 0, 0], [0, 3, 1, 0], [1, 1, 1, 0.1]])

    def _rows(self, count: int) -> np.ndarray:
        return np.random.default_rng(1).normal(size=(count, 4)) @ self.MIXING.T + [1000, 0, -5, 0]

    def test_finds_the_eigenvalues_of_the_covariance_and_leaves_the_mean_out(self):
        found = spectrum(_samples(self._rows(40_000), 16), HIDDEN)
        expected = np.linalg.eigvalsh(self.MIXING @ self.MIXING.T)[::-1]
        assert found.variances == pytest.approx(expected, rel=0.03)
        assert found.basis == "covariance"
        assert (found.channels, found.observations) == (4, 40_000)
        assert found.shares.sum() == pytest.approx(1)

    def test_a_white_source_has_the_rate_of_the_closed_form(self):
        rows = np.random.default_rng(2).normal(scale=3, size=(20_000, 4))
        bound = GaussianBound({"x": spectrum(_samples(rows, 10), HIDDEN)}, {"x": 1})
        assert bound.bits(0.09) == pytest.approx(math.log2(9 / 0.09) / 2, rel=0.01)

    def test_few_samples_do_not_flatter_the_bound(self):
        rows = self._rows(24)  # the sample covariance of so few would lie below the true one
        true = np.linalg.eigvalsh(self.MIXING @ self.MIXING.T)
        found = spectrum(_samples(rows, 8), HIDDEN)
        assert found.shares @ np.log2(found.variances) > np.log2(true).mean() - 0.5

    def test_fewer_observations_than_channels_leave_variances_as_they_are(self):
        spec = TensorSpec(name="x", role="pooled", shape=(50,), dtype="float32")
        rows = np.random.default_rng(3).normal(size=(20, 50))
        samples = [FeatureSet({"x": torch.tensor(row, dtype=torch.float32)}) for row in rows]
        found = spectrum(samples, spec)
        assert (found.basis, found.channels, found.observations) == ("variances", 50, 20)

    def test_keys_are_joined_over_heads(self):
        spec = TensorSpec(name="x", role="key", shape=(2, Axis(name="tokens", limit=99), 3), dtype="float32")
        tokens = np.random.default_rng(4).normal(size=(90, 1, 1)) * np.ones((1, 2, 3))  # one number behind all six
        samples = [FeatureSet({"x": torch.tensor(part.transpose(1, 0, 2))}) for part in np.array_split(tokens, 9)]
        found = spectrum(samples, spec)
        assert found.basis == "covariance"
        assert found.shares.sum() == pytest.approx(1 / 6)  # five of six directions do not vary

    def test_constant_and_empty_tensors_cost_nothing(self):
        for rows in (np.ones((40, 4)), np.zeros((0, 4))):
            found = spectrum(_samples(rows, 4), HIDDEN)
            assert found.shares.sum() == 0
            bound = GaussianBound({"x": found}, {"x": 5})
            assert bound.bits(0.1) == 0.0

    def test_long_spectra_are_merged_without_moving_the_rate(self):
        spec = TensorSpec(name="x", role="ssm_state", shape=(100, 40), dtype="float32")
        generator = np.random.default_rng(5)
        scales = generator.lognormal(0, 2, (100, 40))
        samples = [FeatureSet({"x": torch.tensor(generator.normal(size=(100, 40)) * scales)}) for _ in range(64)]
        found = spectrum(samples, spec)
        assert len(found.variances) <= MAX_COMPONENTS + 500
        bound = GaussianBound({"x": found}, {"x": 4000})
        level = 0.1
        squares = scales.ravel() ** 2
        distortion, rate = np.minimum(squares, level).mean(), np.maximum(0, np.log2(squares / level) / 2).mean()
        assert bound.bits(distortion) == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_tensors_without_elements_teach_nothing(shape):
    spec = TensorSpec(name="x", role="hidden", shape=shape, dtype="float32")
    assert spectrum([FeatureSet({"x": torch.zeros(shape)})] * 3, spec).observations == 0


class TestTensorsThatShareTheirRows:
    TOKENS = Axis(name="tokens", limit=999)
    PAIR = (
        TensorSpec(name="a", role="hidden", shape=(TOKENS, 3), dtype="float32"),
        TensorSpec(name="b", role="hidden", shape=(TOKENS, 3), dtype="float32"),
    )

    def _bits(self, samples, specs, distortion, weights=None):
        """Bits per element of tensors alone and joined."""
        weights = weights or dict.fromkeys([spec.name for spec in specs], 1.0)
        (group,) = row_groups(FeatureSpecs(tensors=specs))
        alone, (joint,) = spectra(samples, specs, [group], [weights])
        elements = {spec.name: samples[0][spec.name].numel() for spec in specs}
        together = GaussianBound(joint, {specs[0].name: sum(elements.values())})
        return GaussianBound(alone, elements, weights).bits(distortion), together.bits(distortion)

    def _pairs(self, first, second):
        parts = zip(np.array_split(first, 8), np.array_split(second, 8), strict=True)
        return [FeatureSet({"a": torch.tensor(a).float(), "b": torch.tensor(b).float()}) for a, b in parts]

    def test_what_two_tensors_tell_of_each_other_is_counted_once(self):
        rows = np.random.default_rng(0).standard_normal((4000, 3))
        alone, joint = self._bits(self._pairs(rows, rows), self.PAIR, 0.25)
        assert alone == pytest.approx(1.0, abs=0.02)  # log2(1 / 0.25) / 2, six times
        assert joint == pytest.approx(0.5, abs=0.02)  # variance 2 at water level 0.5, three times

    def test_tensors_that_tell_nothing_of_each_other_gain_nothing(self):
        rng = np.random.default_rng(0)
        pairs = self._pairs(rng.standard_normal((4000, 3)), rng.standard_normal((4000, 3)))
        alone, joint = self._bits(pairs, self.PAIR, 0.25)
        assert joint == pytest.approx(alone, abs=0.02)

    def test_weights_count_within_a_row(self):
        rows = np.random.default_rng(0).standard_normal((4000, 3))
        scaled = self._bits(self._pairs(rows, 8 * rows), self.PAIR, 0.25, {"a": 1.0, "b": 1 / 64})
        assert scaled == pytest.approx(self._bits(self._pairs(rows, rows), self.PAIR, 0.25), abs=0.01)

    def test_keys_stand_where_they_were_before_their_rotary_embedding(self):
        keys = TensorSpec(name="a", role="key", shape=(1, self.TOKENS, 4), dtype="float32", rotary_base=10000.0)
        values = TensorSpec(name="b", role="value", shape=(1, self.TOKENS, 4), dtype="float32")
        rng = np.random.default_rng(0)
        samples = []
        for _ in range(40):
            rows = rng.standard_normal((1, 100, 4)).astype(np.float32)
            samples.append(FeatureSet({"a": torch.tensor(with_positions(rows, 10000.0)), "b": torch.tensor(rows)}))
        _, joint = self._bits(samples, (keys, values), 0.25)
        assert joint == pytest.approx(0.5, abs=0.02)
