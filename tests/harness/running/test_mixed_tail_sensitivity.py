"""The sensitivity of the tails of several scenarios: that of each is found again, and their mean has a name."""

import numpy as np
import pytest

from harness.running import mixed_sensitivity, sensitivity
from harness.running.evaluation import evaluate
from harness.running.mixed_sensitivity import MixedTailSensitivity
from harness.running.sensitivity import TailSensitivity
from lamofcbench.builders import BUILDERS
from lamofcbench.models.loading import load_model


@pytest.fixture
def parts(responding, responding_data, tmp_path):
    """Of one scenario under two seeds, which draw other answers."""
    model = load_model(responding)
    return [TailSensitivity(responding, responding_data, lambda: model, tmp_path, seed) for seed in (0, 1)]


def test_it_is_the_mean_of_what_each_tail_says(parts, responding):
    found = MixedTailSensitivity(parts, responding.specs).computed()
    own = [part.read() for part in parts]
    for each, first, second in zip(found.groups, *(part.groups for part in own), strict=True):
        assert np.array_equal(each.counts, first.counts + second.counts)
        assert each.squares == pytest.approx((first.squares + second.squares) / 2, rel=1e-4, abs=1e-7)


def test_it_is_known_once_all_of_its_parts_are(parts, responding, monkeypatch):
    mixture = MixedTailSensitivity(parts, responding.specs)
    assert mixture.read() is None
    parts[0].computed()
    assert mixture.read() is None
    made = mixture.computed()
    monkeypatch.setattr(TailSensitivity, "_planned", None)
    assert mixture.read().origin == mixture.computed().origin == made.origin == mixture.origin


def test_its_origin_tells_which_tails_it_is_of(parts, responding, monkeypatch):
    origin = MixedTailSensitivity(parts, responding.specs).origin
    assert origin not in {MixedTailSensitivity(parts[:1], responding.specs).origin, *(part.origin for part in parts)}
    monkeypatch.setattr(mixed_sensitivity, "REVISION", mixed_sensitivity.REVISION + 1)
    assert MixedTailSensitivity(parts, responding.specs).origin != origin


def test_a_codec_in_the_tails_metric_is_fitted_on_several_scenarios(responding, tmp_path):
    other, data, results = responding.model_copy(update={"id": "other"}), tmp_path / "data", tmp_path / "results"
    for scenario in (responding, other):
        BUILDERS.get(scenario.builder, relative_to=scenario.origin)().build(scenario, data, progress=False)
    curve = evaluate("klt-task:step=1", responding, fit_on=[responding, other], data=data, results=results, limit=8)
    assert [result.codec.fitted_on for result in curve] == [f"other+{responding.id}"]
    assert len(list((results / sensitivity.FOLDER).glob("*/sensitivity.safetensors"))) == 2
