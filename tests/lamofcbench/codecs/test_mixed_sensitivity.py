"""The sensitivity of several tails as one: the mean over all rows, whatever the units of its parts."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import sensitivity
from lamofcbench.codecs.mixed_sensitivity import mixed_sensitivity
from lamofcbench.codecs.sensitivity import SensitivitySums, sensitivity_of
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

WIDTH = 6


def tokens(limit, width=WIDTH):
    shape = (Axis(name="tokens", limit=limit), width)
    return FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=shape, dtype="float32"),))


SPECS = tokens(64)
PLACES = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=(5, WIDTH), dtype="float32"),))


def gradients(count, rows, seed, width=WIDTH):
    draw = np.random.default_rng(seed)
    values = [torch.from_numpy(draw.normal(size=(rows, width)).astype(np.float32)) for _ in range(count)]
    return [FeatureSet({"hidden": value}) for value in values]


def of(samples, specs=SPECS, places=0, units=None):
    """The sensitivity of samples, even ones in one half and odd ones in the other."""
    width = specs.tensors[0].shape[-1]
    units = np.ones(width, np.float32) if units is None else np.asarray(units, np.float32)
    halves = [SensitivitySums(specs, [places], [units]) for _ in range(2)]
    for number, sample in enumerate(samples):
        halves[number % 2].add(sample, 1.0, (number,))
    return sensitivity_of(halves)


def test_it_is_that_of_all_samples_together():
    first, second = gradients(4, 5, seed=0), gradients(2, 9, seed=1)
    found = mixed_sensitivity([of(first), of(second)], SPECS, "both").of("hidden")
    expected = of(first + second).of("hidden")
    assert np.array_equal(found.counts, expected.counts)
    for kind in (FIRST, MIDDLE, LAST):
        assert found.metric(kind, half=1) == pytest.approx(expected.metric(kind, half=1), rel=1e-5, abs=1e-6)


def test_parts_in_other_units_are_brought_to_those_of_the_first():
    first, second = gradients(4, 5, seed=0), gradients(4, 5, seed=1)
    units = np.array([1, 2, 0.5, 3, 1, 0.1])
    found = mixed_sensitivity([of(first), of(second, units=units)], SPECS, "both").of("hidden")
    expected = of(first + second).of("hidden")
    assert np.array_equal(found.scale, np.ones(WIDTH, np.float32))
    assert found.metric(MIDDLE) == pytest.approx(expected.metric(MIDDLE), rel=1e-4, abs=1e-5)


def test_products_over_places_count_alike_whatever_their_size():
    first, second = gradients(8, 5, seed=0), gradients(8, 5, seed=1)
    larger = [FeatureSet({"hidden": 100 * sample.tensors["hidden"]}) for sample in second]
    parts = [of(first, PLACES, 5), of(larger, PLACES, 5)]
    found = mixed_sensitivity(parts, PLACES, "both").of("hidden").metric_across()
    assert found == pytest.approx(sum(part.of("hidden").metric_across() for part in parts) / 2, rel=1e-5, abs=1e-6)


def test_factors_of_wide_rows_have_the_mean_of_both_as_their_square(monkeypatch):
    monkeypatch.setattr(sensitivity, "MAX_MATRIX_WIDTH", 4)
    first, second = gradients(40, 50, seed=0), gradients(40, 50, seed=1)
    plain, scaled = (
        of(samples) for samples in (first, [FeatureSet({"hidden": 3 * s.tensors["hidden"]}) for s in second])
    )
    found = mixed_sensitivity([plain, scaled], SPECS, "both").of("hidden")
    factor = found.metric(MIDDLE)
    assert found.is_factored
    assert factor.T @ factor == pytest.approx(5 * np.eye(WIDTH), abs=0.6)  # of rows of variance 1 and 9


def test_it_may_be_of_longer_samples_than_its_parts():
    parts = [of(gradients(2, 5, seed=0)), of(gradients(2, 5, seed=1), tokens(128))]
    found = mixed_sensitivity(parts, tokens(128), "both")
    found.require_specs(tokens(128))
    assert found.origin == "both"


def test_parts_of_other_tensors_are_refused():
    with pytest.raises(CodecError, match="of other tensors than those of the mixture"):
        mixed_sensitivity([of(gradients(2, 5, 0)), of(gradients(2, 5, 0, width=3), tokens(64, 3))], SPECS, "both")
    with pytest.raises(CodecError, match="places that repeat otherwise"):
        mixed_sensitivity([of(gradients(2, 5, 0), PLACES, 5), of(gradients(2, 5, 0), PLACES, 1)], PLACES, "both")
