"""What `cachegen` promises beyond the conformance suite."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.cachegen import ANCHOR_RANGE, CachegenCodec
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)


def cache_specs(layers=6, dtype="float32"):
    return FeatureSpecs(
        tensors=tuple(
            TensorSpec(name=f"value.{layer}", role="value", shape=(2, T, 16), dtype=dtype) for layer in range(layers)
        )
    )


def cache(tokens, seed, specs, *, drift=0.1, scale=1.0):
    """Values that wander from token to token, by little beside what they have in common."""
    generator = np.random.default_rng([seed, tokens])
    tensors = {}
    for spec in specs.tensors:
        start = generator.normal(size=(2, 1, 16))
        walk = np.cumsum(generator.normal(size=(2, tokens, 16)), axis=1) * drift
        tensors[spec.name] = torch.from_numpy((start + walk) * scale)
    return FeatureSet(tensors).cast(specs)


def fitted(specs, samples=30, **params):
    return CachegenCodec(specs, params).fit([cache(45, seed, specs) for seed in range(samples)])


def errors(codec, sample, name):
    return (codec.decode(codec.encode(sample))[name].double() - sample[name].double()).abs().numpy()


def test_bins_of_deltas_are_one_two_and_three_widths_by_depth_and_anchors_are_fine():
    specs = cache_specs()
    codec = fitted(specs, bin=0.5)
    anchor_steps, delta_steps = codec.state["steps"].T.tolist()
    units = [step / (0.5 * width) for step, width in zip(delta_steps, (1, 1, 2, 2, 3, 3), strict=True)]
    assert max(units) < 1.2 * min(units)
    sample = cache(45, 99, specs)
    for index, name in enumerate(sample):
        found = errors(codec, sample, name)
        assert found[:, ::10].max() <= 1.001 * anchor_steps[index] / 2
        others = np.arange(45) % 10 > 0
        assert found[:, others].max() <= 1.001 * delta_steps[index] / 2 < 20 * found[:, ::10].max()


@pytest.mark.parametrize("bits", [4, 8, 12])
def test_levels_of_anchors_halve_with_each_bit(bits):
    specs = cache_specs(1)
    step = fitted(specs, anchor_bits=bits).state["steps"][0, 0].item()
    deviation = torch.cat([cache(45, s, specs)["value.0"][:, ::10] for s in range(30)], 1).std(1).median().item()
    assert step == pytest.approx(ANCHOR_RANGE * deviation / 2**bits, rel=0.2)


def test_deltas_to_an_anchor_cost_less_than_tokens_by_themselves():
    specs = cache_specs()
    sample = cache(450, 99, specs, drift=0.02)
    calibration = [cache(45, seed, specs, drift=0.02) for seed in range(30)]
    sizes = {}
    for group in (2, 10):
        codec = CachegenCodec(specs, {"bin": 1.0, "group": group}).fit(calibration)
        sizes[group] = len(codec.encode(sample))
    assert sizes[10] < 0.5 * sizes[2]


def test_rate_falls_and_error_grows_with_the_bin():
    specs = cache_specs()
    sample = cache(60, 99, specs)
    codecs = [fitted(specs, **point) for point in CachegenCodec.rate_points]
    sizes = [len(codec.encode(sample)) for codec in codecs]
    lost = [sum(float(np.square(errors(codec, sample, name)).sum()) for name in sample) for codec in codecs]
    assert sizes == sorted(sizes, reverse=True) and lost == sorted(lost)


def test_a_massive_channel_decides_no_bin_and_is_not_cut():
    specs = cache_specs(1)

    def with_massive(tokens, seed):
        sample = cache(tokens, seed, specs).clone()
        sample["value.0"][0, :, 3] *= 1000.0
        return sample

    codec = CachegenCodec(specs, {"bin": 0.5}).fit([with_massive(45, seed) for seed in range(30)])
    plain = fitted(specs, bin=0.5)
    assert codec.state["steps"][0].tolist() == pytest.approx(plain.state["steps"][0].tolist(), rel=0.1)
    sample = with_massive(45, 99)
    sample["value.0"][0, :, 3] *= 10.0  # beyond anything that was seen
    assert errors(codec, sample, "value.0").max() < codec.state["steps"].max()


@pytest.mark.parametrize("bin_width", [0.2, 1.0, 4.0])
def test_a_channel_that_was_quiet_costs_next_to_nothing_and_is_coded_where_it_is_not(bin_width):
    specs = cache_specs(3)

    def with_quiet(tokens, seed):
        sample = cache(tokens, seed, specs).clone()
        for tensor in sample.tensors.values():
            tensor[..., :5] *= 0.001  # 10 of 32 channels
        return sample

    codec = CachegenCodec(specs, {"bin": bin_width}).fit([with_quiet(45, seed) for seed in range(30)])
    sample, loud = with_quiet(45, 99), fitted(specs, bin=bin_width)
    assert len(codec.encode(sample)) < 1.1 * 22 / 32 * len(loud.encode(cache(45, 99, specs)))
    for tensor in sample.tensors.values():
        tensor[0, 7:21, 3] += 1000.0  # an anchor and what is near it, and tokens near an anchor that stays
    assert max(errors(codec, sample, name).max() for name in sample) < codec.state["steps"].max()


def test_a_first_token_that_never_changes_costs_next_to_nothing():
    specs = cache_specs()

    def of_sinks(count, seed):
        sample = cache(count, seed, specs).clone()
        for tensor in sample.tensors.values():
            tensor[:, :1] = 50.0
        return sample

    codec = CachegenCodec(specs, {"bin": 0.5}).fit([of_sinks(45, seed) for seed in range(60)])
    assert len(codec._encode_sections(of_sinks(1, 99))[0]) * 8 < 0.5 * 6 * 32
    assert max(errors(codec, of_sinks(1, 99), spec.name).max() for spec in specs.tensors) < 0.1


@pytest.mark.parametrize("samples, at_most", [(1, 2.0), (8, 1.2)])
def test_few_calibration_samples_cost_rate_and_no_accuracy(samples, at_most):
    specs = cache_specs()
    codec = fitted(specs, samples=samples, bin=0.5)
    sample = cache(45, 99, specs)
    steps = codec.state["steps"]
    assert max(errors(codec, sample, name).max() for name in sample) <= 1.001 * steps.max() / 2
    assert len(codec.encode(sample)) < at_most * len(fitted(specs, bin=0.5).encode(sample))


@pytest.mark.parametrize("tokens", [0, 1, 9, 10, 11])
def test_any_number_of_tokens_is_coded(tokens):
    specs = cache_specs()
    sample = cache(tokens, 3, specs)
    codec = fitted(specs, bin=0.1)
    assert codec.decode(codec.encode(sample))["value.0"].shape == (2, tokens, 16)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_small_groups_and_coarse_anchors_keep_the_contract(check):
    check(conformance.fitted(CachegenCodec, {"bin": 0.3, "group": 2, "anchor_bits": 2}))


@pytest.mark.parametrize("damage", ["steps", "0.means", "0.anchor_tables", "0.delta_tables", "frequencies"])
def test_the_state_of_a_stranger_is_checked(damage):
    codec = fitted(cache_specs())
    good = codec.state[damage]
    for tensor in (good[:-1], good * 0 - 10000, good.float() * torch.nan)[:: 2 if damage == "0.means" else 1]:
        with pytest.raises(CodecError):
            CachegenCodec(codec.specs, codec.params, {**codec.state, damage: tensor}).check_state()


@pytest.mark.parametrize("params", [{"bin": 0}, {"group": 1}, {"anchor_bits": 1}, {"anchor_bits": 17}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match=next(iter(params))):
        CachegenCodec(cache_specs(), params)
