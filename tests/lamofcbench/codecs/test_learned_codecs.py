"""What is particular to `hyperprior` and `elic`; the conformance suite holds them to the rest."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lamofcbench.codecs.conformance import digest
from lamofcbench.codecs.conformance_samples import SPECS, calibration_samples, make_sample
from lamofcbench.codecs.elic import ElicCodec
from lamofcbench.codecs.hyperprior import HyperpriorCodec
from lamofcbench.codecs.learned.latent_coders import make_coder
from lamofcbench.codecs.learned.networks import LAMBDAS
from lamofcbench.codecs.registry import load_saved
from lamofcbench.errors import BitstreamError, CodecError

sys.path.insert(0, str(Path(__file__).parent / "learned"))
from networks_for_tests import planes, small_network

CODECS = {"hyperprior": HyperpriorCodec, "elic": ElicCodec}
BOTH = pytest.mark.parametrize("name", CODECS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for name in CODECS:
        state = small_network(name).state_dict()
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def fitted(weights):
    def make(name, **params):
        params = {"weights": str(weights / f"{name}.safetensors"), **params}
        return CODECS[name](SPECS, CODECS[name].make_params(params)).fit(calibration_samples())

    return make


@BOTH
def test_ladder_is_the_published_lambdas(name):
    assert [point["lmbda"] for point in CODECS[name].rate_points] == [0.02, 0.01, 0.007, 0.004, 0.001]
    assert list(LAMBDAS) == [0.001, 0.004, 0.007, 0.01, 0.02]


@BOTH
@pytest.mark.parametrize("packing", ["folded", "published"])
def test_decoding_reconstructs_what_the_network_does(name, packing, fitted):
    """The bytes hold all that the network's own evaluation makes of the planes."""
    codec, features = fitted(name, packing=packing), make_sample("typical", 17, 2)
    canvases = codec._planes.canvases(features)
    with torch.no_grad():
        evaluated = [small_network(name)(canvas).reconstruction for canvas in canvases]
    shapes = {key: tuple(tensor.shape) for key, tensor in features.tensors.items()}
    expected = codec._planes.tensors(evaluated, shapes)
    decoded = codec.decode(codec.encode(features))
    for spec in SPECS.tensors:
        same = decoded[spec.name] == expected[spec.name].to(decoded[spec.name].dtype)
        assert same.float().mean() > 0.99 if same.numel() else True  # a tie may round to the other side


@BOTH
def test_coded_size_is_what_likelihoods_say(name):
    network, x = small_network(name), planes(4, 256, 192)
    with torch.no_grad():
        bits = sum(-likelihood.log2().sum().item() for likelihood in network(x).likelihoods.values())
        coded_bits = 8 * len(make_coder(network).encode([x]))
    assert bits > 8000
    assert coded_bits == pytest.approx(bits, rel=0.015)  # scales are rounded up to one of 64 levels


@BOTH
def test_shape_of_batches_changes_no_scale(name):
    """The decoder need not run the encoder's shapes: what it decodes under is exact."""
    network, x = small_network(name), planes(3, 64, 128)
    coder = make_coder(network)
    with torch.no_grad():
        together = coder.decode(coder.encode([x]), [(3, 64, 128)])[0]
        apart = [coder.decode(coder.encode([item[None]]), [(1, 64, 128)])[0] for item in x]
    assert (together - torch.cat(apart)).abs().max() < 1e-4


@BOTH
def test_any_number_of_threads_decodes_the_same(name, fitted, monkeypatch):
    monkeypatch.setattr("lamofcbench.codecs.learned.latent_coders.THREADED_PIXELS", 0)
    codec, features = fitted(name), make_sample("heavy", 40, 2)
    data = codec.encode(features)
    expected = digest(codec.decode(data))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert digest(codec.decode(data)) == expected
    finally:
        torch.set_num_threads(threads)


@BOTH
def test_checksum_catches_a_network_that_computes_other_scales(name, fitted):
    codec, features = fitted(name), make_sample("typical", 33, 0)
    data = codec.encode(features)
    key = next(k for k in codec.state if ".h_s.2.bias" in k or k.endswith("h_s.2.bias"))
    disturbed = {**codec.state, key: codec.state[key] + 0.05}
    other = CODECS[name](SPECS, codec.params, disturbed)
    other.__dict__["fingerprint"] = codec.fingerprint  # as if arithmetic, not weights, differed
    with pytest.raises(BitstreamError, match="checksum"):
        other.decode(data)


@BOTH
def test_state_holds_weights_tables_and_points(name, fitted, tmp_path):
    codec = fitted(name)
    assert codec.state["points"].shape == (len(SPECS.tensors), 256)
    assert codec.params.weights.startswith("sha256:")
    assert sum(key.endswith("gaussian_conditional._quantized_cdf") for key in codec.state) == 1  # equal tables once
    features = make_sample("typical", 5, 1)
    loaded = load_saved(codec.save(tmp_path / "codec"))
    assert loaded.encode(features) == codec.encode(features)
    with pytest.raises(CodecError, match="give weights=PATH"):
        CODECS[name](SPECS, codec.params).fit(calibration_samples())
    for key in ("points", next(k for k in codec.state if k.endswith("g_a.0.weight"))):
        state = {k: tensor for k, tensor in codec.state.items() if k != key}
        with pytest.raises((CodecError, KeyError)):
            CODECS[name](SPECS, codec.params, state).check_state()


@BOTH
def test_published_settings_differ_from_ours(name, fitted):
    features = make_sample("typical", 17, 2)
    sizes = {
        (packing, assignment): len(fitted(name, packing=packing, assignment=assignment).encode(features))
        for packing in ("folded", "published")
        for assignment in ("nearest", "published")
    }
    assert sizes["published", "nearest"] > sizes["folded", "nearest"]
    points = [fitted(name, assignment=a).quantised(features)["hidden"] for a in ("nearest", "published")]
    assert not torch.equal(*points)


@BOTH
def test_quantiser_share_is_the_points(name, fitted):
    codec, features = fitted(name), make_sample("typical", 17, 2)
    quantised = codec.quantised(features)
    row = [spec.name for spec in SPECS.tensors].index("hidden")
    assert torch.isin(quantised["hidden"], codec.state["points"][row]).all()


@BOTH
def test_weights_that_are_not_there_are_one_clear_error(name):
    codec = CODECS[name](SPECS, dataclasses.replace(CODECS[name].make_params({}), lmbda=0.123))
    with pytest.raises(CodecError, match=rf"without weights for lmbda=0\.123; train them .*{name}:lmbda"):
        codec.fit(calibration_samples())
