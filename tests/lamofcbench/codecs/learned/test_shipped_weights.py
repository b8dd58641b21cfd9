"""The shipped checkpoints code whole canvases as well as the crops that they were trained on, and fit their cards."""

import itertools
import json

import pytest
import torch

from lamofcbench.codecs.learned.checkpoints import find_checkpoint, load_network
from lamofcbench.codecs.learned.network import STRIDE
from lamofcbench.codecs.learned.networks import LAMBDAS, NETWORKS
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split
from lamofcbench.storage.integrity import file_sha256

FITTED_ON = 10


@pytest.fixture(scope="module")
def canvas():
    """Index planes of a sample of five states of a state-space model, five hyper-latents high."""
    scenario = SCENARIOS.get("mini-clu-arithmetic-mamba")
    calibration = open_split(scenario, "calibration")
    features = [calibration.features(index) for index in range(FITTED_ON + 1)]
    codec = make_codecs("hyperprior:lmbda=0.01", scenario.specs)[0].fit(features[:FITTED_ON])
    [canvas] = codec._planes.canvases(features[FITTED_ON])
    assert canvas.shape[2] >= 4 * STRIDE
    return canvas


@torch.no_grad()
def bits_of(network, planes):
    return sum(float(-likelihood.log2().sum()) for likelihood in network(planes).likelihoods.values())


@pytest.mark.parametrize("lmbda", LAMBDAS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_canvas_costs_hardly_more_than_its_parts(name, lmbda, canvas):
    """What trains on crops of one hyper-latent never sees two side by side, and spends several times the bits there."""
    network = load_network(name, find_checkpoint(name, lmbda, ""))
    parts = sum(bits_of(network, part) for part in canvas.split(STRIDE, dim=2))
    assert bits_of(network, canvas) < 1.3 * parts


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rate_falls_with_lambda(name, canvas):
    bits = [bits_of(load_network(name, find_checkpoint(name, lmbda, "")), canvas) for lmbda in sorted(LAMBDAS)]
    assert all(lower < higher for lower, higher in itertools.pairwise(bits))


@pytest.mark.parametrize("lmbda", LAMBDAS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_card_tells_of_these_weights_and_of_all_their_trainings(name, lmbda):
    path = find_checkpoint(name, lmbda, "")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["weights_sha256"] == file_sha256(path)
    assert (card["codec"], card["lmbda"]) == (name, lmbda)
    assert all(scenario["id"].startswith("mini-") for scenario in card["scenarios"])
    assert [one["weights_sha256"] for one in card["history"]][-1:] == (
        [card["plan"]["start"]] if card["plan"]["start"] else []
    )


def test_all_checkpoints_together_stay_small():
    sizes = [find_checkpoint(name, lmbda, "").stat().st_size for name in NETWORKS for lmbda in LAMBDAS]
    assert sum(sizes) <= 25_000_000
