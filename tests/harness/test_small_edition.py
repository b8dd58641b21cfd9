"""The small edition's scenarios on a few samples: the split is exact, each tensor counts, the score can fall.

Whole splits are measured for the dataset card, whose figures `tests/test_small_card.py` holds to the declarations.
"""

import functools
import json

import pytest
import small_card
import torch

from dataset_builders.base import stored_features
from harness.metrics.predictions import encode_prediction
from harness.results.scoring import make_metric
from lamofcbench.builders import BUILDERS
from lamofcbench.errors import DataError
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS

SMALL = [scenario.id for scenario in SCENARIOS if scenario.edition == "small"]
SAMPLES = {"small-clu-facts": 1, "small-clu-prose": 1, "small-clu-recall": 8}
"""A code is found by few heads: several questions are needed until each layer's keys decide one."""
LOUDER, SHUFFLES = 64, 4
"""How much larger a tensor whose values are shuffled is made, and how often it may be shuffled anew: the keys of
layer 2 decide few codes."""
LONG = ("small-clu-facts", "small-clu-recall")
"""Prompts of hundreds of tokens, perturbed tensor by tensor: minutes, for data and a model that are pinned."""
LEAST_HEADROOM = 0.2


@functools.lru_cache(maxsize=1)
def opened(id):
    """A scenario, its model, and its shortest test samples; tests of one scenario follow each other."""
    torch.set_num_threads(1)
    scenario = SCENARIOS.get(id)
    builder = BUILDERS.get(scenario.builder)()
    samples = sorted(builder.samples("test"), key=lambda sample: len(sample.inputs))[: SAMPLES[id]]
    return scenario, load_model(scenario, builder=builder), samples


@pytest.fixture(params=SMALL)
def small(request, small_model):
    try:
        return opened(request.param)
    except DataError as error:
        pytest.skip(str(error))


def predictions(scenario, model, batch):
    with torch.inference_mode():
        return [encode_prediction(scenario.prediction, p) for p in model.tail(batch)]


def test_uncast_features_give_the_full_models_predictions(small):
    _, model, samples = small
    found = model.tail([model.front(sample.inputs) for sample in samples])
    for sample, one in zip(samples, found, strict=True):
        full = model.full(sample.inputs)
        if isinstance(full, torch.Tensor):
            torch.testing.assert_close(one, full, atol=2e-3, rtol=1e-3)
        else:
            assert one == full


@pytest.mark.parametrize(
    "small", [pytest.param(id, marks=[pytest.mark.slow] if id in LONG else []) for id in SMALL], indirect=True
)
def test_every_tensor_counts(small):
    scenario, model, samples = small
    stored = [stored_features(model, sample, scenario) for sample in samples]
    expected = predictions(scenario, model, stored)
    generator = torch.Generator().manual_seed(0)

    def changes(name):
        perturbed = []
        for features in stored:
            order = torch.randperm(features[name].numel(), generator=generator)
            other = LOUDER * features[name].flatten()[order].view(features[name].shape)
            perturbed.append(FeatureSet({**features.tensors, name: other}, features.side, features.given))
        return predictions(scenario, model, perturbed) != expected

    for spec in scenario.tensors:
        assert any(changes(spec.name) for _ in range(SHUFFLES)), f"{spec.name} changes no prediction"


def test_uncoded_features_score_a_fifth_of_the_range_above_their_mean():
    facts = json.loads(small_card.FACTS.read_text())
    for id in SMALL:
        low, high = make_metric(SCENARIOS.get(id)).range
        assert abs(facts[id]["anchor"] - facts[id]["floor"]) >= LEAST_HEADROOM * (high - low), id
