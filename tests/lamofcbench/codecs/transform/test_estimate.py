"""Transforms decorrelate, and what is said of unseen coefficients holds for unseen coefficients."""

import numpy as np
import pytest

from lamofcbench.codecs.transform import estimate as module
from lamofcbench.codecs.transform.choice import cheapest
from lamofcbench.codecs.transform.estimate import estimate, untransformed
from lamofcbench.codecs.transform.profiles import Profiles


def rows_of(mixing, samples, seed, count=30, tails=None):
    draw = np.random.default_rng(seed)
    shape = (samples, count, len(mixing))
    source = draw.normal(size=shape) if tails is None else draw.standard_t(tails, shape)
    return list((source @ mixing).astype(np.float32))


RAGGED = Profiles(0)


def fitted(samples, rank=64, profiles=RAGGED):
    index = [profiles.of(len(rows)) for rows in samples]
    return estimate(samples, index, profiles.count, profiles, rank)


def untouched(samples):
    return untransformed(samples, [Profiles(0).of(len(rows)) for rows in samples], 3, Profiles(0))


MIXING = np.random.default_rng(1).normal(size=(3, 16))
"""Three sources in sixteen columns."""


def test_coefficients_of_unseen_rows_are_uncorrelated_and_few():
    found = fitted(rows_of(MIXING, 20, 0))
    unseen = np.concatenate(rows_of(MIXING, 20, 7)) @ found.analysis.T
    energy = np.square(unseen).sum(0)
    assert energy[:3].sum() > 0.9999 * energy.sum()
    correlation = np.corrcoef(unseen[:, :3].T)
    assert np.abs(correlation - np.eye(3)).max() < 0.15
    assert np.allclose(found.analysis @ found.analysis.T, np.eye(16), atol=1e-5)


def test_deviations_are_those_of_unseen_rows_even_where_samples_are_fewer_than_columns():
    mixing = np.random.default_rng(2).normal(size=(64, 64))
    samples = rows_of(mixing, 4, 0, count=8)
    found = fitted(samples)
    unseen = np.concatenate(rows_of(mixing, 200, 9)) @ found.analysis.T
    flattering = np.concatenate(samples) @ found.analysis.T
    told, true = np.square(found.deviations[1]).sum(), np.square(unseen).mean(0).sum()
    assert told == pytest.approx(true, rel=0.15)
    quiet = slice(40, None)  # directions in which the samples themselves hardly vary
    assert np.square(flattering[:, quiet]).mean() < 0.5 * np.square(unseen[:, quiet]).mean()
    assert np.square(found.deviations[1][quiet]).mean() == pytest.approx(np.square(unseen[:, quiet]).mean(), rel=0.5)


def test_wide_rows_may_be_fewer_than_directions_and_fewer_still_in_some_samples(monkeypatch):
    monkeypatch.setattr(module, "MAX_EXACT_WIDTH", 8)
    draw = np.random.default_rng(2)
    samples = [draw.normal(size=(count, 64)).astype(np.float32) for count in (4, 9, 5, 7, 6, 4, 8, 5)]
    found = fitted(samples)
    assert found.others_deviations.shape == (4, RAGGED.count, len(found.analysis)) and len(found.analysis) < 64
    assert np.isfinite(found.deviations).all() and np.isfinite(found.others_deviations).all()
    assert cheapest([found, untouched(samples)], 0.5).deviations.shape[0] == RAGGED.count


def test_what_a_small_rank_leaves_is_measured_by_column():
    samples = rows_of(np.diag([5.0, 4.0, 1.0, 2.0]), 20, 0)
    found = fitted(samples, rank=2)
    assert found.analysis.shape == (2, 4)
    assert found.leftovers.deviations == pytest.approx([0, 0, 1, 2], abs=0.2)
    assert fitted(samples, rank=4).leftovers.deviations.max() == 0


def test_wide_rows_find_the_same_directions_without_a_covariance(monkeypatch):
    samples = rows_of(MIXING * np.array([[9.0], [3.0], [1.0]]), 20, 0)
    exact = fitted(samples, rank=3).analysis
    monkeypatch.setattr(module, "MAX_EXACT_WIDTH", 8)
    wide = fitted(samples, rank=3).analysis
    assert np.abs((exact * wide).sum(1)) == pytest.approx([1, 1, 1], abs=1e-4)


def test_places_are_transformed_too_where_their_number_never_varies():
    draw = np.random.default_rng(0)
    across = draw.normal(size=(2, 12))  # twelve places that follow two sources
    samples = [(across.T @ draw.normal(size=(2, 5))).astype(np.float32) for _ in range(60)]
    found = fitted(samples, profiles=Profiles(12))
    energy = sum(np.square(values).sum(1) for values in found.coefficients)
    assert np.sort(energy)[-2:].sum() > 0.99 * energy.sum()
    assert fitted(samples, profiles=Profiles(0)).rows is None


def test_a_transform_is_chosen_where_it_pays_and_not_where_it_mixes_for_nothing():
    joined, alone = rows_of(MIXING, 12, 0), rows_of(np.diag(np.geomspace(1, 9, 16)), 4, 0, count=20, tails=3)
    for samples, pays in ((joined, True), (alone, False)):
        chosen = cheapest((fitted(samples), untouched(samples)), step=0.3)
        assert (chosen.analysis is not None) == pays
