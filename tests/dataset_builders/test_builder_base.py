"""The shared builder: what it demands of samples and models before anything is stored."""

import hashlib
from pathlib import Path

import pytest
import torch

from dataset_builders.base import Builder
from lamofcbench.builders import Sample
from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.scenarios.base import Backbone, Scenario, TensorSpec
from lamofcbench.storage import open_split

THIS_FILE = Path(__file__)


def scenario_of(adapter="NumberModel", dtype="float16", calibration_samples=2):
    return Scenario(
        id="user-numbers",
        version=1,
        edition="user",
        category="other",
        title="Numbers",
        backbone=Backbone(adapter=f"{THIS_FILE}:{adapter}", source="builder:numbers"),
        splits=(0,),
        tensors=(TensorSpec(name="hidden", role="hidden", shape=(2, 2), dtype=dtype),),
        prediction="label",
        metric="none",
        direction="up",
        batch_size=1,
        test_samples=4,
        calibration_samples=calibration_samples,
        licence="CC0-1.0",
    )


class NumberModel(SplitModel):
    """A front that also gives a tensor which the scenario does not store."""

    name = "numbers"

    @classmethod
    def load(cls, scenario, directory, device):
        assert (scenario.id, directory, device) == ("user-numbers", Path(__file__).parent, "cpu")
        return cls()

    def front(self, inputs):
        weight = torch.full((2, 2), float(inputs), requires_grad=True)
        return FeatureSet({"unused": torch.zeros(1), "hidden": weight * 2})

    def tail(self, batch):
        return [int(features["hidden"][0, 0]) // 2 for features in batch]

    def full(self, inputs):
        return inputs

    def front_modules(self):
        return []


class FailingModel(NumberModel):
    name = "failing-numbers"

    def front(self, inputs):
        raise ValueError("no such layer")


class ForgetfulModel(NumberModel):
    name = "forgetful-numbers"

    def front(self, inputs):
        return FeatureSet({"unused": torch.zeros(1)})


class NumberBuilder(Builder):
    name = "numbers"

    def __init__(self, test=(1, 2, 3, 4), calibration=(5, 6)):
        self.numbers = {"test": test, "calibration": calibration}

    def samples(self, split):
        return [Sample(id=f"n{i}", inputs=n, reference=n) for i, n in enumerate(self.numbers[split])]

    def content_hash(self, sample):
        return hashlib.sha256(str(sample.inputs).encode()).hexdigest()

    def revision(self):
        return "1"

    def model_directory(self):
        return Path(__file__).parent


def test_the_front_runs_over_both_splits_and_the_declared_tensors_are_stored(tmp_path):
    scenario = scenario_of()
    folder = NumberBuilder().build(scenario, tmp_path, progress=False)
    assert folder == tmp_path / "user-numbers"
    test, calibration = (open_split(scenario, split, tmp_path) for split in ("test", "calibration"))
    assert [features["hidden"][0, 0].item() for features in test] == [2, 4, 6, 8]
    assert [calibration.reference(i) for i in range(2)] == [5, 6]
    assert list(test.features(0)) == ["hidden"] and test.features(0)["hidden"].dtype is torch.float16


def test_a_scenario_without_calibration_samples_has_no_such_split(tmp_path):
    scenario = scenario_of(calibration_samples=0)
    NumberBuilder(calibration=()).build(scenario, tmp_path, progress=False)
    assert set(open_split(scenario, "test", tmp_path).manifest.splits) == {"test"}


def test_other_sample_counts_than_declared_are_refused(tmp_path):
    with pytest.raises(DataError, match="declares 4 test samples; its builder brings 3"):
        NumberBuilder(test=(1, 2, 3)).build(scenario_of(), tmp_path, progress=False)


def test_content_in_both_splits_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(DataError, match="sample 'n1' of calibration also occurs in another split"):
        NumberBuilder(calibration=(5, 2)).build(scenario_of(), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_overflows_the_stored_dtype_is_refused(tmp_path):
    builder = NumberBuilder(test=(1, 2, 3, 40_000))
    with pytest.raises(ScenarioError, match="tensor 'hidden' of sample 'n3' overflows float16"):
        builder.build(scenario_of(), tmp_path, progress=False)
    builder.build(scenario_of(dtype="bfloat16"), tmp_path, progress=False)


def test_a_front_that_fails_is_named_with_its_sample(tmp_path):
    with pytest.raises(PluginError, match="fails on sample 'n0' of user-numbers: ValueError: no such layer"):
        NumberBuilder().build(scenario_of("FailingModel"), tmp_path, progress=False)


def test_a_front_that_lacks_a_tensor_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match=r"gives \['unused'\]; user-numbers also declares hidden"):
        NumberBuilder().build(scenario_of("ForgetfulModel"), tmp_path, progress=False)
