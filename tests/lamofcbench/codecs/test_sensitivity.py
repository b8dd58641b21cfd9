"""Sensitivities: averaged outer products of gradients, by kinds of rows; kept, and checked where they come from."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lamofcbench.codecs import conformance, sensitivity
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.conformance_samples import SPECS, calibration_samples
from lamofcbench.codecs.rotary import with_positions
from lamofcbench.codecs.sensitivity import Sensitivity, SensitivitySums, sensitivity_of
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=64)
TOKENS = FeatureSpecs(
    tensors=(
        TensorSpec(name="key", role="key", shape=(1, T, 4), dtype="float32", rotary_base=1e4),
        TensorSpec(name="hidden", role="hidden", shape=(T, 3), dtype="float32"),
    )
)
PLACES = FeatureSpecs(tensors=(TensorSpec(name="x", role="hidden", shape=(5, 3), dtype="float32"),))


def gradient(rows, seed=0):
    draw = np.random.default_rng(seed)
    key, hidden = draw.normal(size=(1, rows, 4)).astype(np.float32), draw.normal(size=(rows, 3)).astype(np.float32)
    return FeatureSet({"key": torch.from_numpy(key), "hidden": torch.from_numpy(hidden)})


def of(specs, places, *halves, units=None):
    sums = []
    for samples in halves:
        width = sum(specs_width(spec) for spec in specs.tensors)
        each = SensitivitySums(specs, [places], [np.ones(width, np.float32) if units is None else units])
        for number, sample in enumerate(samples):
            each.add(sample, 1.0, (number,))
        sums.append(each)
    return sensitivity_of(sums)


def specs_width(spec):
    return spec.shape[-1]


def test_each_kind_of_row_has_the_mean_of_its_own_outer_products():
    samples = gradient(6), gradient(2, seed=1)
    found = of(TOKENS, 0, samples[:1], samples[1:]).of("hidden")
    rows = [found.group.gather(sample).astype(np.float64) for sample in samples]
    assert found.metric(FIRST) == pytest.approx(sum(np.outer(r[0], r[0]) for r in rows) / 2, abs=1e-5)
    assert found.metric(LAST, half=1) == pytest.approx(np.outer(rows[1][-1], rows[1][-1]), abs=1e-5)
    assert found.metric(MIDDLE) == pytest.approx(rows[0][1:-1].T @ rows[0][1:-1] / 4, abs=1e-5)
    assert not found.metric(MIDDLE, half=1).any()  # a prompt of two tokens has none between


def test_gradients_of_keys_are_turned_back_as_keys_are():
    plain = np.random.default_rng(0).normal(size=(1, 9, 4)).astype(np.float32)
    turned = torch.from_numpy(with_positions(plain, 1e4))
    found = of(TOKENS, 0, [FeatureSet({"key": turned, "hidden": torch.zeros(9, 3)})], []).of("key")
    middle = plain[0, 1:-1].astype(np.float64)
    assert found.metric(MIDDLE)[:4, :4] == pytest.approx(middle.T @ middle / 7, abs=1e-5)


def test_columns_are_in_units():
    units = np.array([2, 2, 2, 2, 1, 1, 1], np.float32)
    plain, scaled = (of(TOKENS, 0, [gradient(5)], [], units=u).of("key").metric(MIDDLE) for u in (None, units))
    assert scaled == pytest.approx(plain * np.outer(units, units), rel=1e-5)


def test_where_places_repeat_there_is_a_matrix_over_them():
    samples = [FeatureSet({"x": torch.randn(5, 3, generator=torch.Generator().manual_seed(i))}) for i in range(4)]
    found = of(PLACES, 5, samples[:2], samples[2:]).of("x")
    expected = sum(s["x"].double().numpy() @ s["x"].double().numpy().T for s in samples)
    assert found.kinds == 1 and found.counts.tolist() == [[10], [10]]
    assert found.metric_across() == pytest.approx(expected * 5 / np.trace(expected), abs=1e-5)


def test_wide_rows_have_a_factor_whose_square_is_the_matrix_on_average(monkeypatch):
    samples = [gradient(40, seed) for seed in range(20)]
    exact = of(TOKENS, 0, samples, samples).of("key").metric(MIDDLE)
    monkeypatch.setattr(sensitivity, "MAX_MATRIX_WIDTH", 5)
    found = of(TOKENS, 0, samples, samples).of("key")
    assert found.is_factored and found.squares.shape == (2, 3, sensitivity.FACTOR_ROWS, 7)
    factor = found.metric(MIDDLE)
    assert factor.T @ factor == pytest.approx(exact, abs=0.15)


def test_sums_of_several_processes_add_up():
    one, other, both = (SensitivitySums(TOKENS, [0], [np.ones(7, np.float32)]) for _ in range(3))
    for sums, samples in ((one, (gradient(4),)), (other, (gradient(7, 1),)), (both, (gradient(4), gradient(7, 1)))):
        for sample in samples:
            sums.add(sample, 0.5)
    one.add_tensors(other.tensors())
    assert all(torch.equal(tensor, both.tensors()[name]) for name, tensor in one.tensors().items())
    with pytest.raises(CodecError, match="compute them anew"):
        one.add_tensors({**other.tensors(), "0.squares": torch.zeros(2)})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_gradients_that_are_no_numbers_or_cannot_be_squared_are_refused(value):
    hostile = FeatureSet({"key": torch.zeros(1, 3, 4), "hidden": torch.full((3, 3), value)})
    with pytest.raises(CodecError, match="gradients are NaN, infinite or too large to be squared"):
        of(TOKENS, 0, [hostile], [gradient(3)])


def test_it_comes_back_from_a_file(tmp_path):
    for specs, places, samples in ((TOKENS, 0, [gradient(5), gradient(3)]), (SPECS, None, calibration_samples())):
        found = of(specs, places, samples, samples) if places == 0 else conformance.sensitivity(specs, samples)
        found.save(tmp_path / "s.safetensors")
        again = Sensitivity.load(tmp_path / "s.safetensors", specs)
        assert again.origin == found.origin
        for one, other in zip(found.groups, again.groups, strict=True):
            assert one.places == other.places and one.group == other.group
            assert np.array_equal(one.squares, other.squares) and np.array_equal(one.counts, other.counts)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("0.squares", lambda t: t[:, :, 1:]),
        ("0.squares", lambda t: t * float("nan")),
        ("0.squares", lambda t: t.double()),
        ("0.counts", lambda t: -1 - t),
        ("0.scale", lambda t: t * 0),
        ("0.places", lambda t: t - 1),
        ("0.places", lambda t: t + 1),
        ("0.across", lambda t: t),
        ("9.scale", lambda t: t),
    ],
)
def test_a_strangers_file_is_checked(name, change, tmp_path):
    file = tmp_path / "s.safetensors"
    of(TOKENS, 0, [gradient(5)], [gradient(4)]).save(file)
    tensors = load_file(file)
    tensors[name] = change(tensors.get(name, torch.ones(2, 3, 3))).contiguous()
    save_file(tensors, file, {"format": sensitivity.FORMAT, "origin": ""})
    with pytest.raises(CodecError):
        Sensitivity.load(file, TOKENS)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8 + b"{}"])
def test_what_is_no_such_file_is_one_clear_error(content, tmp_path):
    file = tmp_path / "s.safetensors"
    file.write_bytes(content)
    with pytest.raises(CodecError, match="cannot read a sensitivity"):
        Sensitivity.load(file, TOKENS)
    save_file({"0.scale": torch.ones(7)}, file)
    with pytest.raises(CodecError, match="of this version"):
        Sensitivity.load(file, TOKENS)


class Curious(Codec):
    """A user's codec that asks."""

    needs_calibration = needs_sensitivity = True

    def learn(self, calibration):
        assert len(list(calibration)) == len(list(calibration))
        return {"weight": calibration.sensitivity.of("hidden").metric(MIDDLE)}


def test_a_users_codec_gets_it_as_it_learns():
    samples = [gradient(5), gradient(6)]
    known = of(TOKENS, 0, samples, samples)
    fitted = Curious(TOKENS).fit(samples, known)
    assert fitted.state["weight"].shape == (7, 7)
    with pytest.raises(CodecError, match="learns from the sensitivity of the tail too"):
        Curious(TOKENS).fit(samples)
    with pytest.raises(CodecError, match="of other tensors"):
        Curious(PLACES).fit(samples, known)
