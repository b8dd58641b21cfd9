"""Maps from values to integer levels: where their precision goes, and what they do with the unexpected."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.images.companding import KNOTS, Compander, learn_knots
from lamofcbench.codecs.kmeans import Quantiser
from lamofcbench.features import FeatureSet

QUANTISERS = ("kmeans", "asinh", "affine")


def fitted(quantiser, *samples, bits=10):
    knots = learn_knots([FeatureSet({"x": torch.as_tensor(s, dtype=torch.float32)}) for s in samples], 1, quantiser)
    return Compander(knots[0], bits)


def restored(compander, values):
    return compander.values(compander.levels(torch.as_tensor(values, dtype=torch.float32)))


def normal(seed=0, count=4000):
    return np.random.default_rng(seed).normal(3.0, 2.0, count).astype(np.float32)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_ten_bits_lose_little_of_ordinary_values(quantiser):
    values = np.clip(normal(1), *np.quantile(normal(), (0.0, 1.0)))
    error = restored(fitted(quantiser, normal()), values) - values
    assert np.square(error).mean() < 3e-4 * values.var()


def test_eight_bits_of_kmeans_are_the_published_index_planes():
    knots = learn_knots([FeatureSet({"x": torch.from_numpy(normal())})], 1, "kmeans")[0]
    values = torch.from_numpy(normal(1))
    assert np.array_equal(Compander(knots, 8).levels(values), Quantiser(knots, "nearest").indices(values))


def heavy():
    values = normal(2) - 3.0
    values[::2000] *= 1000.0
    return values


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_only_curved_maps_keep_what_is_ordinary_beside_outliers(quantiser):
    values = heavy()
    ordinary = np.abs(values) < 10
    back = restored(fitted(quantiser, values), values)
    lost = np.square(back - values)[ordinary].mean() / values[ordinary].var()
    assert lost > 0.1 if quantiser == "affine" else lost < 0.01
    assert (np.abs(back - values) < 0.05 * np.abs(values))[~ordinary].all()


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_values_beyond_the_calibration_are_clipped_and_finite(quantiser):
    compander = fitted(quantiser, normal())
    largest = float(torch.finfo(torch.float32).max)
    back = restored(compander, [largest, -largest, 1e-45])
    assert np.isfinite(back).all() and back[0] >= normal().max() - 0.1 and back[1] <= normal().min() + 0.1


@pytest.mark.parametrize("quantiser", QUANTISERS)
@pytest.mark.parametrize("value", [0.0, 3.25, -1e30, 1e-40])
def test_a_constant_is_kept(quantiser, value):
    assert np.allclose(restored(fitted(quantiser, np.full(20, value)), np.full(5, value)), np.float32(value), rtol=1e-3)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_two_values_are_kept(quantiser):
    values = np.array([-1.0, 5.0] * 20)
    assert np.allclose(restored(fitted(quantiser, values), values), values, atol=0.05)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_a_tensor_that_calibration_never_saw_has_a_map(quantiser):
    back = restored(fitted(quantiser, np.zeros((0, 4))), normal())
    assert np.isfinite(back).all()


def test_the_asinh_maps_of_all_tensors_have_equal_precision():
    samples = [FeatureSet({"a": torch.from_numpy(normal()), "b": torch.from_numpy(heavy())})]
    knots = learn_knots(samples, 2, "asinh").astype(np.float64)
    middle = np.diff(knots, axis=1)[:, KNOTS // 2 - 1]
    assert np.allclose(middle, middle[0], rtol=0.05)


def test_shapes_are_kept():
    compander = fitted("kmeans", normal())
    for shape in ((), (1,), (0, 3), (2, 3, 4)):
        assert restored(compander, np.zeros(shape)).shape == shape
