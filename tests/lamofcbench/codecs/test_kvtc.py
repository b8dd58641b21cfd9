"""What `kvtc` and `kvtc-entropy` promise beyond the conformance suite."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.conformance_samples import SPECS, calibration_samples, make_sample
from lamofcbench.codecs.entropy import SymbolEncoder
from lamofcbench.codecs.kvtc import PAPER_SETTING, KvtcCodec, KvtcEntropyCodec
from lamofcbench.codecs.rotary import with_positions
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
LAYERS, HEADS, WIDTH, RANK = 4, 2, 16, 6
BASE = 10000.0
CODECS = pytest.mark.parametrize("codec_class", [KvtcCodec, KvtcEntropyCodec])


def cache_specs(dtype="bfloat16", rotary_base=BASE, heads=HEADS):
    return FeatureSpecs(
        tensors=tuple(
            TensorSpec(
                name=f"{role}.{layer}",
                role=role,
                shape=(heads, T, WIDTH),
                dtype=dtype,
                rotary_base=rotary_base if role == "key" else None,
            )
            for layer in range(LAYERS)
            for role in ("key", "value")
        )
    )


def cache(tokens, seed, specs, noise=0.02):
    """Keys and values that are functions of a few latent numbers a token, keys rotated by their positions."""
    mixing = np.random.default_rng(77)
    generator = np.random.default_rng([seed, tokens])
    latent = generator.normal(size=(tokens, RANK))
    tensors = {}
    for spec in specs.tensors:
        heads = spec.shape[0]
        values = latent @ mixing.normal(size=(RANK, heads * WIDTH)) + noise * generator.normal(
            size=(tokens, heads * WIDTH)
        )
        values = values.reshape(tokens, heads, WIDTH).transpose(1, 0, 2).astype(np.float32)
        if spec.role == "key":
            values = with_positions(values, BASE)
        tensors[spec.name] = torch.from_numpy(values)
    return FeatureSet(tensors).cast(specs)


def fitted(codec_class, specs, samples=16, **params):
    return codec_class(specs, params).fit([cache(40, seed, specs) for seed in range(samples)])


def error(codec, sample, role=""):
    decoded = codec.decode(codec.encode(sample))
    names = [name for name in sample if name.startswith(role)]
    lost = sum(float((decoded[n].double() - sample[n].double()).square().sum()) for n in names)
    return lost / sum(float(sample[n].double().square().sum()) for n in names)


def payload(codec, sample):
    [section] = codec._encode_sections(sample)
    return section


@CODECS
@pytest.mark.parametrize("ratio", [8.0, 16.0, 64.0])
def test_tokens_take_at_most_one_part_in_ratio_of_their_bits(codec_class, ratio):
    specs = cache_specs()
    codec = fitted(codec_class, specs, ratio=ratio)
    sample = cache(200, 99, specs)
    assert len(payload(codec, sample)) <= sample.raw_bits / 8 / ratio * 1.02 + 16


@CODECS
def test_error_falls_with_the_budget_and_ends_near_lossless(codec_class):
    specs = cache_specs()
    sample = cache(60, 99, specs)
    errors = [error(fitted(codec_class, specs, ratio=ratio), sample) for ratio in (256.0, 64.0, 16.0, 4.0)]
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.1 and errors[-1] < 1e-3


def test_layers_that_follow_from_each_other_are_coded_once():
    """Six numbers a token are all there is, in four layers as in one."""
    one = FeatureSpecs(tensors=cache_specs().tensors[:2])
    four = cache_specs()
    rates = [
        len(payload(fitted(KvtcEntropyCodec, specs, ratio=ratio), cache(60, 99, specs)))
        for specs, ratio in ((one, 4.0), (four, 16.0))
    ]
    errors = [
        error(fitted(KvtcEntropyCodec, specs, ratio=ratio), cache(60, 99, specs))
        for specs, ratio in ((one, 4.0), (four, 16.0))
    ]
    assert rates[1] < 1.1 * rates[0] and errors[1] < 3 * errors[0] < 0.01


def test_keys_are_coded_as_they_were_before_their_rotary_embedding():
    sample = cache(60, 99, cache_specs())
    known, unknown = (fitted(KvtcCodec, cache_specs(rotary_base=base), ratio=16.0) for base in (BASE, None))
    assert error(known, sample, "key") < 0.2 * error(unknown, sample, "key")
    assert error(known, sample, "value") == pytest.approx(error(unknown, sample, "value"), rel=1e-6)


@pytest.mark.parametrize(
    "params", [{"ratio": 4.0}, {"ratio": 32.0}, {"window": 7, "exact_sinks": True}, {"scaled": False}]
)
def test_entropy_coding_changes_the_rate_and_nothing_else(params):
    plain, coded = (c(SPECS, params).fit(calibration_samples()) for c in (KvtcCodec, KvtcEntropyCodec))
    sample = make_sample("typical", 400, 9)
    assert conformance.digest(plain.decode(plain.encode(sample))) == conformance.digest(
        coded.decode(coded.encode(sample))
    )
    assert len(coded.encode(sample)) < len(plain.encode(sample))


@CODECS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_papers_sinks_and_window_come_back_bit_by_bit(codec_class, dtype):
    specs = cache_specs(dtype)
    codec = codec_class(specs, {"ratio": 64.0, **PAPER_SETTING}).fit([cache(200, s, specs) for s in range(3)])
    sample = cache(150, 9, specs)
    decoded = codec.decode(codec.encode(sample))
    for name, tensor in sample.tensors.items():
        assert tensor_bytes(decoded[name][:, :4]) == tensor_bytes(tensor[:, :4])
        assert tensor_bytes(decoded[name][:, -128:]) == tensor_bytes(tensor[:, -128:])
        assert not torch.equal(decoded[name][:, 4:-128], tensor[:, 4:-128])
    for tokens in (0, 1, 3, 4, 100, 132):
        short = cache(tokens, 9, specs)
        assert conformance.digest(codec.decode(codec.encode(short))) == conformance.digest(short)


@CODECS
def test_a_first_token_that_never_changes_is_kept_by_its_mean(codec_class):
    """A sink of a thousand times the usual size costs nothing, and does not spoil the other tokens."""
    specs = cache_specs()

    def with_sink(tokens, seed):
        sample = cache(tokens, seed, specs).clone()
        for tensor in sample.tensors.values():
            tensor[:, 0] = 1000.0
        return sample

    codec = codec_class(specs, {"ratio": 32.0}).fit([with_sink(40, seed) for seed in range(16)])
    sample = with_sink(50, 99)
    decoded = codec.decode(codec.encode(sample))
    plain = error(fitted(codec_class, specs, ratio=32.0), cache(50, 99, specs))
    for name, tensor in sample.tensors.items():
        if name.startswith("value"):
            assert torch.allclose(decoded[name][:, 0].float(), tensor[:, 0].float(), rtol=1e-2)
            lost = (decoded[name] - tensor)[:, 1:].double().square().sum() / tensor[:, 1:].double().square().sum()
            assert lost < 3 * plain


@CODECS
@pytest.mark.parametrize("samples", [1, 8])
def test_few_calibration_samples_are_enough_to_code_what_is_alike(codec_class, samples):
    specs = cache_specs()
    sample = cache(60, 99, specs)
    assert error(fitted(codec_class, specs, samples=samples, ratio=16.0), sample) < 0.02


def test_scenarios_without_tokens_are_coded_per_channel():
    specs = FeatureSpecs(tensors=(TensorSpec(name="state", role="ssm_state", shape=(64, 8), dtype="float16"),))
    samples = [FeatureSet({"state": torch.randn(64, 8, generator=torch.manual_seed(s)).half()}) for s in range(40)]
    plain, coded = (c(specs, {"ratio": 8.0}).fit(samples) for c in (KvtcCodec, KvtcEntropyCodec))
    assert len(plain.encode(samples[0])) == len(coded.encode(samples[0]))
    assert samples[0].raw_bits / 8 / len(payload(plain, samples[0])) == pytest.approx(8, rel=0.2)


@CODECS
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_exact_tokens_keep_the_contract(codec_class, check):
    check(conformance.fitted(codec_class, {"ratio": 8.0, "sinks": 3, "window": 5, "exact_sinks": True}))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("params", [PAPER_SETTING, {"window": 128}, {"exact_sinks": True, "sinks": 32}])
def test_exact_tokens_cost_less_with_tables_than_with_deflate(dtype, params):
    specs = cache_specs(dtype)
    sample = cache(150, 9, specs)
    calibration = [cache(200, seed, specs) for seed in range(3)]
    plain, coded = (c(specs, {"ratio": 16.0, **params}).fit(calibration) for c in (KvtcCodec, KvtcEntropyCodec))
    assert len(coded.encode(sample)) < len(plain.encode(sample))


def test_chunks_keep_their_exact_tokens_too():
    specs = cache_specs()
    codec = KvtcEntropyCodec(specs, {"sinks": 4, "window": 16, "exact_sinks": True}).fit(
        [cache(100, seed, specs) for seed in range(3)]
    )
    chunk = cache(40, 9, specs)
    for first in (0, 2, 64):
        there = codec.continuing(first)
        decoded = there.decode(there.encode(chunk))
        for name, tensor in chunk.tensors.items():
            sinks = max(4 - first, 0)
            for exact in (slice(0, sinks), slice(24, 40)):
                assert tensor_bytes(decoded[name][:, exact]) == tensor_bytes(tensor[:, exact])
            assert not torch.equal(decoded[name][:, sinks:24], tensor[:, sinks:24])


def test_exact_tokens_of_a_stranger_must_be_finite():
    specs = cache_specs()
    codec = KvtcEntropyCodec(specs, {"window": 64}).fit([cache(100, 0, specs)])
    encoder = SymbolEncoder()
    for tables in codec._exact_tables:
        tables.put(encoder, np.full(LAYERS * HEADS * 8 * WIDTH, 0xFFFF, np.uint16), 8)
    with pytest.raises(BitstreamError, match="not finite"):
        codec.decode_features(encoder.finish(), {spec.name: (HEADS, 8, WIDTH) for spec in specs.tensors})


def test_exact_tokens_that_a_short_payload_claims_are_refused():
    specs = cache_specs()
    codec = KvtcEntropyCodec(specs, {"window": 2**20}).fit([cache(100, 0, specs)])
    with pytest.raises(BitstreamError, match="too few for the shapes"):
        codec.decode_features(b"\1" * 1000, {spec.name: (HEADS, 4096, WIDTH) for spec in specs.tensors})


@pytest.mark.parametrize("damage", ["0.plan", "0.means", "0.units", "0.basis", "0.codes8", "0.scales", "1.exact"])
def test_the_state_of_a_stranger_is_checked(damage):
    codec = fitted(KvtcEntropyCodec, cache_specs(), ratio=8.0, window=8)
    good = codec.state[damage]
    spoilt = [good[:-1], torch.zeros_like(good), None]
    for tensor in spoilt:
        if damage in ("0.means", "0.basis") and tensor is not None and tensor.shape == good.shape:
            tensor = torch.full_like(good, torch.nan)
        state = {n: t for n, t in {**codec.state, damage: tensor}.items() if t is not None}
        with pytest.raises(CodecError):
            KvtcEntropyCodec(codec.specs, codec.params, state).check_state()


@pytest.mark.parametrize("params", [{"ratio": 0.5}, {"sinks": -1}, {"window": -1}, {"exact_sinks": 3}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match=next(iter(params))):
        KvtcCodec(cache_specs(), params)
