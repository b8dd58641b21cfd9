"""Names and shapes of the networks are those of published checkpoints, and weights load strictly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from networks_for_tests import WIDTHS, planes, small_network

from lamofcbench.codecs.learned.elic import Elic, default_groups
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import CodecError

PUBLISHED = json.loads((Path(__file__).parent / "published_parameters.json").read_text())
PUBLISHED_WIDTHS = {"hyperprior": (128, 192), "elic": (192, 320)}
BOTH = pytest.mark.parametrize("name", NETWORKS)


@BOTH
def test_names_and_shapes_are_compressais(name):
    network = NETWORKS[name](*PUBLISHED_WIDTHS[name])
    assert {key: list(tensor.shape) for key, tensor in network.state_dict().items()} == PUBLISHED[name]


@BOTH
def test_widths_are_read_from_the_state(name):
    network = small_network(name)
    loaded = NETWORKS[name].from_state_dict(network.state_dict())
    state = loaded.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert state["g_a.0.weight"].shape[0] == WIDTHS[name][0]


@BOTH
def test_tables_may_be_absent_and_all_else_may_not(name):
    state = small_network(name).state_dict()
    tables = re.compile(r"(_offset|_quantized_cdf|_cdf_length|scale_table)$")
    without = {key: tensor for key, tensor in state.items() if not tables.search(key)}
    network = NETWORKS[name].from_state_dict(without)
    assert not any(model.has_tables for model in network.entropy_models())
    network.update_tables()
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    for missing in ("g_s.0.conv_a.0.conv.0.bias" if name == "elic" else "g_s.1.beta", "g_a.0.weight"):
        with pytest.raises(CodecError, match=re.escape(repr(missing)) + " is missing"):
            NETWORKS[name].from_state_dict({key: tensor for key, tensor in state.items() if key != missing})


@BOTH
def test_the_first_mismatch_is_named(name):
    state = small_network(name).state_dict()
    bias = state["g_a.0.bias"]
    with pytest.raises(CodecError, match=rf"'g_a.0.bias' has shape \[{len(bias) + 1}\], not \[{len(bias)}\]"):
        NETWORKS[name].from_state_dict({**state, "g_a.0.bias": torch.zeros(len(bias) + 1)})
    with pytest.raises(CodecError, match=r"has no 'g_a\.99\.weight'"):
        NETWORKS[name].from_state_dict({**state, "g_a.99.weight": torch.zeros(1)})
    with pytest.raises(CodecError, match=r"'g_a\.0\.bias' hold NaN"):
        NETWORKS[name].from_state_dict({**state, "g_a.0.bias": torch.full_like(bias, float("nan"))})
    with pytest.raises(CodecError, match="is missing"):
        NETWORKS[name].from_state_dict({})


@BOTH
def test_loading_into_a_network_copies(name):
    state, network = small_network(name, seed=1).state_dict(), small_network(name)
    parameters = list(network.parameters())
    network.load(state)
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))  # an optimiser holds them
    assert network.g_a[0].weight.data_ptr() != state["g_a.0.weight"].data_ptr()


def test_names_of_older_checkpoints_load():
    state = small_network("hyperprior").state_dict()
    older = {re.sub(r"(matrices|biases|factors)\.(\d)", _older_name, key): tensor for key, tensor in state.items()}
    assert "entropy_bottleneck._matrix0" in older
    loaded = NETWORKS["hyperprior"].from_state_dict(older).state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in state.items())


def _older_name(match):
    return {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}[match[1]] + match[2]


@BOTH
def test_training_is_noisy_and_evaluation_rounds(name):
    network, x = small_network(name), planes(2, 64, 128)
    with torch.no_grad():
        first, second = network(x), network(x)
        assert torch.equal(first.reconstruction, second.reconstruction)
        assert first.reconstruction.shape == x.shape
        network.train()
        assert not torch.equal(network(x).likelihoods["y"], network(x).likelihoods["y"])


@BOTH
def test_gradients_reach_every_parameter(name):
    network = small_network(name).train()
    output = network(planes(2, 64, 64))
    bits = sum(-likelihood.log2().sum() for likelihood in output.likelihoods.values())
    (bits + output.reconstruction.square().sum() + network.auxiliary_loss()).backward()
    untouched = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert not untouched


def test_elic_groups_are_the_papers_at_its_width_and_keep_their_proportions_below():
    assert default_groups(320) == (16, 16, 32, 64, 192)
    assert default_groups(192) == (16, 16, 32, 64, 64)
    assert default_groups(60) == (3, 3, 6, 12, 36)
    assert Elic(8, 20, groups=(4, 4, 4, 4, 4)).groups == (4, 4, 4, 4, 4)
    with pytest.raises(ValueError, match="do not sum to 20"):
        Elic(8, 20, groups=(4, 4))


def test_elic_groups_of_any_kind_are_read_from_the_state():
    network = Elic(8, 20, groups=(10, 10), context_widths=(6, 7))
    assert Elic.from_state_dict(network.state_dict()).groups == (10, 10)
