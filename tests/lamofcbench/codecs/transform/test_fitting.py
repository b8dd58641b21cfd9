"""Transforms are fitted within bounded memory, and to part of the rows nearly as well as to all."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.klt_task import KltTaskCodec
from lamofcbench.codecs.sensitivity import SensitivitySums, sensitivity_of
from lamofcbench.codecs.transform import fitting, profiles, thinning
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

WIDTH, PLACES = 24, 60
MIXING = np.random.default_rng(9).normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 0.05, WIDTH)[:, None]
RAGGED, FIXED, CROPS = (
    FeatureSpecs(tensors=(TensorSpec(name="x", role="hidden", shape=(*axes, WIDTH), dtype="float32"),))
    for axes in ([Axis(name="tokens", limit=4096)], [PLACES], [Axis(name="crops", limit=8), PLACES])
)
BOTH = pytest.mark.parametrize("specs", [RAGGED, FIXED, CROPS], ids=["ragged", "fixed", "crops"])


def samples(specs, count, seed):
    """First rows are large, last ones small; the rows of a place have a mean of their own."""
    draw, means = np.random.default_rng(seed), np.random.default_rng(8).normal(size=(PLACES, WIDTH))
    found = []
    for number in range(count):
        patterns = number % 3 + 1 if specs is CROPS else 1
        rows = draw.normal(size=(patterns, PLACES + (number % 7 if specs is RAGGED else 0), WIDTH))
        rows[:, [0, -1]] *= np.array([5, 0.1])[:, None]
        rows = rows @ MIXING + (0 if specs is RAGGED else means)
        rows = rows if specs is CROPS else rows[0]
        found.append(FeatureSet({"x": torch.tensor(rows.astype(np.float32))}))
    return found


def sensitivity(codec, specs, calibration):
    places, scales = codec.places_and_scales()
    halves = [SensitivitySums(specs, places, scales) for _ in range(2)]
    for number, sample in enumerate(calibration):
        gradients = np.random.default_rng(number).normal(size=sample["x"].shape) * (np.arange(WIDTH) < 4)
        halves[number % 2].add(FeatureSet({"x": torch.tensor(gradients.astype(np.float32))}), 1.0)
    return sensitivity_of(halves)


def fit(codec_class, specs, calibration, step=0.3):
    plain = KltCodec(specs, {"step": step}).fit(calibration)
    if codec_class is KltCodec:
        return plain
    return codec_class(specs, {"step": step}).fit(calibration, sensitivity(plain, specs, calibration))


def size_and_error(codec, test):
    coded = [codec.encode(sample) for sample in test]
    pairs = zip(map(codec.decode, coded), test, strict=True)
    return sum(map(len, coded)), sum(float((found["x"] - sample["x"]).square().sum()) for found, sample in pairs)


@BOTH
@pytest.mark.parametrize("codec_class", [KltCodec, KltTaskCodec])
def test_part_of_the_rows_tells_nearly_as_much_as_all(specs, codec_class, monkeypatch):
    calibration, test = samples(specs, 64, 0), samples(specs, 6, 1)
    monkeypatch.setattr(fitting, "_LAST", [None])
    whole = size_and_error(fit(codec_class, specs, calibration), test)
    monkeypatch.setattr(fitting, "_LAST", [None])
    monkeypatch.setattr(thinning, "MAX_VALUES", 32 * PLACES * WIDTH)
    part = size_and_error(fit(codec_class, specs, calibration), test)
    (kept,) = fitting._LAST[0][1]
    assert sum(map(len, kept.candidates[0].coefficients)) <= 32 * PLACES
    assert part == pytest.approx(whole, rel=0.12) and part != whole


@pytest.mark.parametrize("codec_class", [KltCodec, KltTaskCodec])
def test_places_that_the_state_has_no_room_for_share_profiles(codec_class, monkeypatch):
    calibration = samples(FIXED, 16, 0)
    monkeypatch.setattr(fitting, "_LAST", [None])
    own = fit(codec_class, FIXED, calibration)
    monkeypatch.setattr(fitting, "_LAST", [None])
    monkeypatch.setattr(profiles, "MAX_VALUES", PLACES * WIDTH)
    shared = fit(codec_class, FIXED, calibration)
    assert own.state["0.mean"].shape == (PLACES + 1, WIDTH) and shared.state["0.mean"].shape == (3, WIDTH)
    assert len(own.state["0.tables"]) == PLACES + 1 and len(shared.state["0.tables"]) == 3
    sizes = [size_and_error(codec, samples(FIXED, 4, 1))[1] for codec in (own, shared)]
    assert sizes[1] < 1.5 * sizes[0]


def test_wide_rows_are_fitted_thinned_too(monkeypatch):
    from lamofcbench.codecs import sensitivity as of_tail
    from lamofcbench.codecs.transform import estimate

    monkeypatch.setattr(of_tail, "MAX_MATRIX_WIDTH", 8)
    monkeypatch.setattr(estimate, "MAX_EXACT_WIDTH", 8)
    monkeypatch.setattr(thinning, "MAX_VALUES", 8 * PLACES * WIDTH)
    monkeypatch.setattr(fitting, "_LAST", [None])
    calibration = samples(RAGGED, 32, 0)
    size, error = size_and_error(fit(KltTaskCodec, RAGGED, calibration), samples(RAGGED, 2, 1))
    assert 0 < size < 2 * 60 * WIDTH and error < 2 * 60 * WIDTH
