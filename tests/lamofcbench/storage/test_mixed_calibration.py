"""The calibration samples of several scenarios as one: which samples, in which order."""

from collections import Counter

import pytest
import torch

from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.calibration import Calibration
from lamofcbench.storage.mixed_calibration import RUN, MixedCalibration, _runs

NAMES = "mini-cvu-digits", "mini-cvu-digits-hard"
DIGITS, HARD = map(SCENARIOS.get, NAMES)


@pytest.fixture(scope="module")
def parts():
    return [Calibration(scenario) for scenario in (DIGITS, HARD)]


@pytest.fixture(scope="module")
def mixture():
    return MixedCalibration([DIGITS, HARD])


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


@pytest.fixture
def order_of(monkeypatch):
    """The order of a mixture of scenarios that have so many calibration samples."""
    monkeypatch.setattr("lamofcbench.storage.mixed_calibration.Calibration", lambda size, data: range(size))
    return lambda *sizes: MixedCalibration(sizes)._order


def test_scenarios_take_turns_in_runs(order_of):
    expected = [(part, index) for start in (0, RUN) for part in (0, 1) for index in range(start, start + RUN)]
    assert order_of(16, 16)[: len(expected)] == expected


def test_scenarios_of_more_samples_have_more_turns(order_of):
    turns = [part for part, index in order_of(40, 8) if index % RUN == 0]
    assert turns == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("sizes", [(16, 16), (16, 6), (7, 9, 30), (1, 2), (5, 5)])
def test_even_samples_stay_even_but_for_single_ones_at_the_end(sizes, order_of):
    order = order_of(*sizes)
    assert sorted(order) == [(number, index) for number, size in enumerate(sizes) for index in range(size)]
    paired = order[: len(order) - sum(size % 2 for size in sizes)]
    assert all(place % 2 == index % 2 for place, (_, index) in enumerate(paired))


def test_each_fold_of_four_holds_every_scenario(order_of):
    order = order_of(64, 32, 100)
    for fold in range(4):
        assert {number for place, (number, _) in enumerate(order) if place % 4 == fold} == {0, 1, 2}


def test_runs_are_of_four_with_an_odd_sample_apart():
    assert _runs(7) == [(0, 1, 2, 3), (4, 5), (6,)]
    assert _runs(0) == []


def test_it_is_of_the_data_of_all(mixture, parts):
    assert mixture.data_revision == "+".join(part.data_revision for part in parts)
    assert mixture.builder_identity == "+".join(part.builder_identity for part in parts)
