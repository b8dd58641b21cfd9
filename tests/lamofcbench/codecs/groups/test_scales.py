import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamofcbench.codecs.groups.scales import LARGEST, GroupedCodes, dequantise, group_starts, quantise
from lamofcbench.errors import BitstreamError

matrices = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    elements=st.floats(-LARGEST, LARGEST, width=32, allow_subnormal=False) | st.floats(-1, 1, width=32),
)


def steps_of_elements(quantised, starts):
    return np.repeat(quantised.steps.astype(np.float64), np.diff(starts, append=quantised.codes.shape[1]), axis=1)


@settings(max_examples=150, deadline=None)
@given(matrices, st.integers(2, 8), st.sampled_from([2, 5, 32]), st.booleans())
def test_error_is_at_most_half_the_stored_step(values, bits, group, symmetric):
    starts = group_starts(values.shape[1], group)
    quantised = quantise(values, starts, bits, symmetric=symmetric)
    error = np.abs(dequantise(quantised, starts, bits).astype(np.float64) - values)
    rounding = np.abs(values.astype(np.float64)).max() * 2**-21  # of float32 sums of a low end and a multiple
    assert (error <= steps_of_elements(quantised, starts) * (0.5 + 1e-5) + rounding).all()
    assert quantised.codes.max() < 2**bits


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_step_is_the_groups_range_over_its_levels(bits):
    values = np.random.default_rng(bits).normal(size=(20, 64)).astype(np.float32)
    starts = group_starts(64, 32)
    ranges = np.ptp(values.reshape(20, 2, 32), axis=2)
    assert np.allclose(quantise(values, starts, bits).steps, ranges / (2**bits - 1), rtol=2e-3)


def test_symmetric_groups_have_no_low_end_and_keep_zero():
    values = np.array([[0.0, -1.0, 0.4, 3.0]], np.float32)
    quantised = quantise(values, group_starts(4, 4), 3, symmetric=True)
    assert quantised.lows.size == 0 and len(quantised.scales) == 1
    assert dequantise(quantised, group_starts(4, 4), 3)[0].tolist() == [0.0, -1.0, 0.0, 3.0]  # multiples of 1


def test_clipping_narrows_the_levels():
    values = np.linspace(-1, 1, 32, dtype=np.float32)[None]
    restored = dequantise(quantise(values, group_starts(32, 32), 4, clip=0.8), group_starts(32, 32), 4)
    assert restored.max() == pytest.approx(0.8, abs=2e-3) and restored.min() == pytest.approx(-0.8, abs=2e-3)


def test_values_beyond_half_precision_become_its_largest():
    values = np.array([[1e30, -1e30, 0.0, 1.0]], np.float32)
    restored = dequantise(quantise(values, group_starts(4, 4), 8), group_starts(4, 4), 8)
    assert restored[0, 0] == pytest.approx(LARGEST, rel=0.01) and restored[0, 1] == -LARGEST


def test_group_sizes_are_nearly_equal_and_about_what_was_asked_for():
    for length in range(1, 300):
        sizes = np.diff(group_starts(length, 32), append=length)
        assert sizes.sum() == length and sizes.max() - sizes.min() <= 1
        assert length < 48 or 21 <= sizes.min() <= sizes.max() <= 48


@pytest.mark.parametrize("step, low", [(np.nan, 0.0), (np.inf, 0.0), (1.0, np.inf), (-1.0, 0.0)])
def test_scales_that_no_encoder_writes_are_refused(step, low):
    scales = (np.array([[value]], np.float16) for value in (step, low))
    with pytest.raises(BitstreamError):
        dequantise(GroupedCodes(np.zeros((1, 2), np.uint8), *scales), group_starts(2, 2), 4)
