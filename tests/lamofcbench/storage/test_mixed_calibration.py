"""The calibration samples of several scenarios as one: which samples, in which order."""

from collections import Counter

import pytest
import torch

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.calibration import Calibration, CalibrationSplit
from lamofcbench.storage.mixed_calibration import RUN, MixedCalibration, _runs

NAMES = "mini-cvu-digits", "mini-cvu-depth"


class Samples(CalibrationSplit):
    """Samples of one value each, which are their raw samples, too."""

    data_revision, builder_identity = "data", "builder"

    def __init__(self, *values):
        self.values = values

    def features(self, index):
        return FeatureSet({"x": torch.tensor([float(self.values[index])])})

    def content_sha256(self, index):
        return str(int(self.values[index]))

    def __len__(self):
        return len(self.values)


def values(mixture):
    return [sample.tensors["x"].item() for sample in mixture]


@pytest.fixture(scope="module")
def parts():
    return [Calibration(SCENARIOS.get(name)) for name in NAMES]


@pytest.fixture(scope="module")
def mixture(parts):
    return MixedCalibration(parts)


def hashes(calibration):
    return [calibration.content_sha256(index) for index in range(len(calibration))]


def test_it_holds_each_sample_of_each_scenario_once(mixture, parts):
    assert Counter(hashes(mixture)) == Counter(hashes(parts[0])) + Counter(hashes(parts[1]))


def test_features_are_those_of_the_sample_that_the_hash_names(mixture, parts):
    for index in range(0, len(mixture), 7):
        part, own = mixture._order[index]
        assert mixture.content_sha256(index) == parts[part].content_sha256(own)
        expected = parts[part][own].tensors
        assert all(torch.equal(tensor, expected[name]) for name, tensor in mixture[index].tensors.items())


def order_of(*sizes):
    """The order of a mixture of scenarios that have so many calibration samples."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return MixedCalibration(
        [Samples(*range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    )._order


def test_scenarios_take_turns_in_runs():
    expected = [(part, index) for start in (0, RUN) for part in (0, 1) for index in range(start, start + RUN)]
    assert order_of(16, 16)[: len(expected)] == expected


def test_scenarios_of_more_samples_have_more_turns():
    turns = [part for part, index in order_of(40, 8) if index % RUN == 0]
    assert turns == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("sizes", [(16, 16), (16, 6), (7, 9, 30), (1, 2), (5, 5)])
def test_even_samples_stay_even_but_for_single_ones_at_the_end(sizes):
    order = order_of(*sizes)
    assert sorted(order) == [(number, index) for number, size in enumerate(sizes) for index in range(size)]
    paired = order[: len(order) - sum(size % 2 for size in sizes)]
    assert all(place % 2 == index % 2 for place, (_, index) in enumerate(paired))


def test_each_fold_of_four_holds_every_scenario():
    order = order_of(64, 32, 100)
    for fold in range(4):
        assert {number for place, (number, _) in enumerate(order) if place % 4 == fold} == {0, 1, 2}


def test_runs_are_of_four_with_an_odd_sample_apart():
    assert _runs(7) == [(0, 1, 2, 3), (4, 5), (6,)]
    assert _runs(0) == []


def test_a_sample_that_scenarios_share_is_there_once():
    assert sorted(values(MixedCalibration([Samples(1, 2, 3, 4, 5), Samples(3, 1), Samples(6, 5)]))) == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


def test_a_scenario_may_hold_a_sample_twice_itself():
    assert sorted(values(MixedCalibration([Samples(1, 1, 2), Samples(1, 3)]))) == [1, 1, 2, 3]


def test_other_features_of_the_same_raw_sample_are_another_sample():
    assert sorted(values(MixedCalibration([Samples(1.25, 2), Samples(1.5, 2)]))) == [1.25, 1.5, 2]


def test_hard_digits_are_among_the_digits():
    digits, hard = (Calibration(SCENARIOS.get(name)) for name in ("mini-cvu-digits", "mini-cvu-digits-hard"))
    assert set(hashes(hard)) < set(hashes(digits))
    assert Counter(hashes(MixedCalibration([digits, hard]))) == Counter(hashes(digits))


def test_it_is_of_the_data_of_all(mixture, parts):
    assert mixture.data_revision == "+".join(part.data_revision for part in parts)
    assert mixture.builder_identity == "+".join(part.builder_identity for part in parts)
