"""Every mini scenario can tell codecs apart: its curve falls step by step, and each tensor of a set counts."""

import functools
import math
from itertools import pairwise

import pytest
import torch

from dataset_builders.base import stored_features
from harness import evaluate
from harness.metrics.predictions import encode_prediction
from lamofcbench.builders import BUILDERS
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS

MINI = [scenario.id for scenario in SCENARIOS if scenario.edition == "mini"]
OF_EACH_FAMILY = (
    "mini-cvu-digits",
    "mini-cvu-depth",
    "mini-clu-facts",
    "mini-clu-facts-mamba",
    "mini-cau-commands-clean",
)
"""Whose curves every run of the suite draws; a generator's takes a minute. `make test-slow` draws all others."""
PERTURBED_SAMPLES = 24
FIRST_SAMPLES = 6
"""Mostly enough to see that a tensor counts; the others are asked where it is not."""
CURVE_SAMPLES = 64
STEPS = (0.05, 0.7, 1.4, 4.0, 10.0)
REFINEMENTS = 5


def predictions(scenario, model, batch):
    with torch.inference_mode():
        return [encode_prediction(scenario.prediction, p) for p in model.tail(batch)]


def perturbations(features, name):
    """The features with one tensor changed: its values in another order, larger too, and of the other sign."""
    generator = torch.Generator().manual_seed(0)
    tensor = features[name]
    order = torch.randperm(tensor.numel(), generator=generator)
    shuffled = tensor.flatten()[order].view(tensor.shape)
    others = (8 * shuffled, shuffled, -tensor)
    return [FeatureSet({**features.tensors, name: other}, features.side, features.given) for other in others]


@pytest.mark.parametrize("id", MINI)
def test_every_tensor_counts_or_says_why_not(id):
    torch.set_num_threads(1)
    scenario = SCENARIOS.get(id)
    builder = BUILDERS.get(scenario.builder)()
    model = load_model(scenario, builder=builder)
    samples = builder.samples("test")

    @functools.cache
    def stored(index):
        return stored_features(model, samples[index], scenario)

    @functools.cache
    def expected(count):
        return predictions(scenario, model, [stored(index) for index in range(count)])

    def changes(name, count):
        """How many predictions each perturbation of the first samples changes."""
        for batch in zip(*(perturbations(stored(index), name) for index in range(count)), strict=True):
            found = predictions(scenario, model, batch)
            yield sum(a != b for a, b in zip(found, expected(count), strict=True))

    for spec in scenario.tensors:
        if spec.dead:
            most = 0.05 * PERTURBED_SAMPLES
            assert max(changes(spec.name, PERTURBED_SAMPLES)) <= most, f"{spec.name} counts after all"
        else:
            counts = any(changes(spec.name, FIRST_SAMPLES)) or any(changes(spec.name, PERTURBED_SAMPLES))
            assert counts, f"{spec.name} changes no prediction"


def swept(id, results):
    """Step to retention of `uniform`, from fine to coarse, with steps added where retention falls."""
    found = {}

    def add(steps):
        codecs = [f"uniform:step={step}" for step in steps]
        curve = evaluate(codecs, id, limit=CURVE_SAMPLES, results=results, progress=False)
        headroom = curve.anchor.score - curve.floor.score
        for point in curve:  # by rising rate
            found[point.codec.params["step"]] = (point.score - curve.floor.score) / headroom

    add(STEPS)
    for _ in range(REFINEMENTS):
        steps = sorted(found)
        falling = [(a, b) for a, b in pairwise(steps) if found[a] > 0.2 and found[b] < 0.95 and found[a] > found[b]]
        if not falling or sum(0.2 < retention < 0.95 for retention in found.values()) >= 3:
            break
        add([math.sqrt(a * b) for a, b in falling])
    return dict(sorted(found.items()))


@pytest.mark.parametrize("id", [pytest.param(id, marks=[pytest.mark.slow][: id not in OF_EACH_FAMILY]) for id in MINI])
def test_the_score_falls_step_by_step_as_uniform_grows_coarser(id, tmp_path):
    retention = list(swept(id, tmp_path).values())
    assert retention[0] > 0.97, "the finest step keeps the score"
    assert retention[-1] < 0.5, "the coarsest step loses it"
    assert sum(0.2 < value < 0.95 for value in retention) >= 3, f"too few points on the slope: {retention}"
