import math

import pytest

from lamofcbench.rates import bpfp, compression_ratio, ebpfp


def test_uncoded_features_cost_32_equivalent_bits_whatever_their_dtype():
    for bits in (16, 32):
        assert ebpfp(coded_bits=1000 * bits, raw_bits=1000 * bits) == 32


def test_rates_of_a_run_are_of_its_sums_not_means_of_its_samples():
    coded, elements, raw = [800, 100], [100, 900], [3200, 14400]
    assert bpfp(sum(coded), sum(elements)) == 0.9
    assert ebpfp(sum(coded), sum(raw)) == pytest.approx(32 * 900 / 17600)


def test_equivalent_rate_is_twice_the_plain_one_for_half_precision():
    assert ebpfp(400, raw_bits=16 * 100) == 2 * bpfp(400, elements=100)


def test_ratio_and_equivalent_rate_say_the_same():
    assert compression_ratio(100, 1600) * ebpfp(100, 1600) == 32


def test_features_of_no_elements_have_no_rate():
    for coded_bits in (0, 80):
        assert math.isnan(bpfp(coded_bits, 0)) and math.isnan(ebpfp(coded_bits, 0))
    assert compression_ratio(0, 10) == float("inf") and compression_ratio(80, 0) == 0
