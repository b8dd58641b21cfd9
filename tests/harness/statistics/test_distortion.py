import math

import pytest
import torch

from harness.statistics.distortion import CHUNK_ELEMENTS, squared_error, squared_errors
from lamofcbench.features import FeatureSet


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sums_squares_in_float64(dtype):
    original = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    decoded = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = math.fsum((original.double() - decoded.double()).square().ravel().tolist())
    assert squared_error(original, decoded) == pytest.approx(expected, rel=1e-14)


def test_tiny_errors_beside_massive_values_are_not_lost():
    original = torch.full((CHUNK_ELEMENTS + 3,), 7270.0)
    decoded = original.clone()
    decoded[-1] = 7270.0 + 2**-10
    assert squared_error(original, decoded) == (2**-10) ** 2


def test_order_is_the_same_on_any_number_of_threads():
    a, b = torch.randn(2, 3 * CHUNK_ELEMENTS, generator=torch.Generator().manual_seed(3))
    before = torch.get_num_threads()
    try:
        figures = set()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            figures.add(squared_error(a, b))
    finally:
        torch.set_num_threads(before)
    assert len(figures) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_gives_nan(value):
    assert math.isnan(squared_error(torch.tensor([1.0, value]), torch.tensor([1.0, value])))


def test_empty_tensors_have_no_error():
    assert squared_error(torch.zeros(0, 4), torch.zeros(0, 4)) == 0.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        squared_error(torch.zeros(2, 3), torch.zeros(3, 2))


def test_names_and_order_are_the_features_own():
    features = FeatureSet({"b": torch.zeros(2), "a": torch.zeros(2)})
    assert list(squared_errors(features, features)) == ["b", "a"]
