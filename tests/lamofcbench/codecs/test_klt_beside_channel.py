"""On features that nothing was made for, and of few samples, `klt` takes at most 2 % more than `channel`."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.codecs.klt import KltCodec
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

TOKENS = Axis(name="tokens", limit=4096)
NMSE = (0.1, 0.03, 0.01)
STEPS = 2.0 ** np.arange(-4, 5, 0.5)


def spec(name, *shape, dtype="float32", role="hidden"):
    return TensorSpec(name=name, role=role, shape=shape, dtype=dtype)


def features(specs, *arrays):
    """Arrays as tensors, in the dtype of each."""
    tensors = zip(specs, map(torch.from_numpy, map(np.asarray, arrays)), strict=True)
    return FeatureSet({each.name: tensor.to(getattr(torch, each.dtype)) for each, tensor in tensors})


def excess(specs, made, samples, test=10):
    """How many times the rate of `channel` is needed, at each error of `NMSE`."""
    calibration, tested = made(0, samples), made(1, test)
    rates = []
    for codec_class in (KltCodec, ChannelCodec):
        points = []
        for step in STEPS:
            codec = codec_class(FeatureSpecs(tensors=tuple(specs)), {"step": float(step)}).fit(calibration)
            coded = [codec.encode(sample) for sample in tested]
            decoded = [codec.decode(data) for data in coded]
            errors = [error_of(each.name, tested, decoded, calibration) for each in specs]
            points.append((sum(map(len, coded)), sum(errors) / len(errors)))
        sizes, errors = np.array(sorted(points, key=lambda point: -point[1])).T
        assert errors[-1] < NMSE[-1] < NMSE[0] < errors[0]
        rates.append(np.exp(np.interp(-np.log(NMSE), -np.log(errors), np.log(sizes))))
    return rates[0] / rates[1]


def error_of(name, samples, decoded, calibration):
    mean = torch.cat([sample[name].double().reshape(-1, sample[name].shape[-1]) for sample in calibration]).mean(0)
    pairs = zip(samples, decoded, strict=True)
    lost = sum(float((found[name].double() - sample[name].double()).square().sum()) for sample, found in pairs)
    return lost / sum(float((sample[name].double() - mean).square().sum()) for sample in samples)


@pytest.mark.parametrize("samples", [8, 50])
@pytest.mark.parametrize("joined", [False, True])
def test_heavy_tails_and_sinks(samples, joined):
    specs = spec("x0", TOKENS, 24), spec("x1", TOKENS, 40)
    draw = np.random.default_rng(5)
    spread = np.exp(draw.normal(0, 1, 64))
    spread[:2] *= 100
    mixing = draw.normal(size=(8, 64)) / 3

    def made(seed, count):
        draw = np.random.default_rng(seed)
        found = []
        for _ in range(count):
            rows = draw.standard_t(4, (60, 64)) + (draw.standard_t(4, (60, 8)) @ mixing * 2 if joined else 0)
            rows[0] += 5  # a sink
            found.append(features(specs, *np.split(rows * spread, [24], axis=1)))
        return found

    assert (excess(specs, made, samples) <= 1.02).all()


@pytest.mark.parametrize(("width", "samples"), [(256, 8), (256, 25), (3500, 8)])
def test_pooled_vectors_of_which_calibration_has_a_few(width, samples):
    specs = (spec("x", width, role="pooled", dtype="bfloat16"),)
    spread = np.exp(np.random.default_rng(2).normal(0, 0.5, width))

    def made(seed, count):
        return [features(specs, row * spread) for row in np.random.default_rng(seed).normal(size=(count, width))]

    assert (excess(specs, made, samples) <= 1.02).all()


def test_samples_that_are_shifted_as_a_whole():
    specs = (spec("x", TOKENS, 32),)

    def made(seed, count):
        draw = np.random.default_rng(seed)
        return [features(specs, draw.normal(size=(30 + i % 5, 32)) + draw.normal(size=32)) for i in range(count)]

    assert (excess(specs, made, 8) <= 1.02).all()


@pytest.mark.parametrize("samples", [8, 25])
def test_states_whose_entries_have_scales_of_their_own(samples):
    specs = (spec("x", 64, 8, role="ssm_state", dtype="float16"),)
    scales = np.exp(np.random.default_rng(5).normal(size=(64, 8)))

    def made(seed, count):
        return [features(specs, a * scales) for a in np.random.default_rng(seed).normal(size=(count, 64, 8))]

    assert (excess(specs, made, samples) <= 1.02).all()


@pytest.mark.parametrize("beside", [0, 4, 16])
def test_scores_that_come_again_by_chance(beside):
    specs = (spec("score", TOKENS, 1, dtype="bfloat16"), spec("row", TOKENS, beside))[: 1 + bool(beside)]

    def made(seed, count):
        draw = np.random.default_rng(seed)
        drawn = [[draw.normal(size=(80 + i % 7, each.shape[1])) for each in specs] for i in range(count)]
        return [features(specs, *arrays) for arrays in drawn]

    assert (excess(specs, made, 25) <= 1.02).all()


def test_a_single_calibration_sample():
    specs = (spec("x", TOKENS, 32),)
    spread = np.geomspace(1, 0.1, 32)

    def made(seed, count):
        draw = np.random.default_rng(seed)
        return [features(specs, draw.normal(size=(60, 32)) * spread) for _ in range(count)]

    assert (excess(specs, made, 1) <= 1.05).all()


def test_a_mask_among_the_columns_leaves_all_others_as_they_would_be():
    specs = (spec("x", TOKENS, 8),)

    def made(seed, count, masked):
        draw = np.random.default_rng(seed)
        found = []
        for _ in range(count):
            rows = (0.1 * draw.normal(size=(40, 8))).astype(np.float32)
            if masked:
                rows[:, 3] = np.finfo(np.float32).min
            found.append(features(specs, rows))
        return found

    for masked in (False, True):
        codec = KltCodec(FeatureSpecs(tensors=specs), {"step": 0.2}).fit(made(0, 10, masked))
        (sample,) = made(1, 1, masked)
        lost = (codec.decode(codec.encode(sample))["x"].double() - sample["x"].double()).abs().amax(0)
        assert float(lost[[0, 1, 2, 4, 5, 6, 7]].max()) < 0.05
        assert not masked or float(lost[3]) == 0.0
    assert torch.isfinite(codec.state["0.mean"]).all()
