"""The shared builder: what it demands of samples and models before anything is stored."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_builders.base import Builder
from lamofcbench.builders import Sample
from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.references import shown
from lamofcbench.scenarios.base import Backbone, Scenario, TensorSpec
from lamofcbench.storage import open_split

THIS_FILE = Path(__file__)


def scenario_of(adapter="NumberModel", dtype="float16", calibration_samples=2, prediction="label"):
    return Scenario(
        id="user-numbers",
        version=1,
        edition="user",
        category="other",
        title="Numbers",
        backbone=Backbone(adapter=f"{THIS_FILE}:{adapter}", source="builder:numbers"),
        splits=(0,),
        tensors=(TensorSpec(name="hidden", role="hidden", shape=(2, 2), dtype=dtype),),
        prediction=prediction,
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


class UnloadableModel(NumberModel):
    name = "unloadable-numbers"

    @classmethod
    def load(cls, scenario, directory, device):
        raise AssertionError("the samples are checked first")


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
    with pytest.raises(DataError, match="sample 'n1' of calibration is also in test, as 'n1'; splits must not share"):
        NumberBuilder(calibration=(5, 2)).build(scenario_of("UnloadableModel"), tmp_path, progress=False)
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


class AnsweringBuilder(NumberBuilder):
    """Samples 0 to 3 of the test split and two of calibration, one of which is odd."""

    def __init__(self, references, ids=None):
        super().__init__()
        self.references_of = references
        self.ids = ids or {}

    def samples(self, split):
        samples = super().samples(split)
        if split == "test":
            return samples
        return [
            Sample(self.ids.get(i, sample.id), sample.inputs, self.references_of[i]) for i, sample in enumerate(samples)
        ]


@pytest.mark.parametrize("reference", [None, "6", 1.0, True, 2**63, 10**5000, float("nan"), [6], b"6"], ids=shown)
def test_a_wrong_reference_is_named_before_the_model_is_loaded(tmp_path, reference):
    with pytest.raises(DataError, match=r"^user-numbers, calibration sample 1 \('n1'\): the reference .{1,120}$"):
        AnsweringBuilder([5, reference]).build(scenario_of("UnloadableModel"), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sample_id", [None, 1, "", "a\nb", "\udc80", "x" * 100_000], ids=shown)
def test_a_wrong_id_is_named_before_the_model_is_loaded(tmp_path, sample_id):
    builder = AnsweringBuilder([5, 6], ids={1: sample_id})
    with pytest.raises(DataError, match=r"^user-numbers, calibration sample 1: the id .{1,120}$"):
        builder.build(scenario_of("UnloadableModel"), tmp_path, progress=False)


def test_repeated_ids_and_mixed_references_are_named_before_the_model_is_loaded(tmp_path):
    scenario = scenario_of("UnloadableModel", prediction="scores")
    with pytest.raises(DataError, match="two calibration samples have the id 'n0', numbers 0 and 1"):
        AnsweringBuilder([5, 6], ids={1: "n0"}).build(scenario, tmp_path, progress=False)
    with pytest.raises(DataError, match=r"sample 1 \('n1'\): the reference is of type float, those before it are int"):
        AnsweringBuilder([5, 6.5]).build(scenario, tmp_path, progress=False)


def test_bytes_cannot_be_built_for_predictions_that_they_cannot_be_compared_with(tmp_path):
    with pytest.raises(DataError, match="of type bytes; references are all int64 or float64 where"):
        AnsweringBuilder([b"5", b"6"]).build(scenario_of(prediction="scores"), tmp_path, progress=False)


def test_numpy_integers_are_integers(tmp_path):
    folder = AnsweringBuilder(np.array([5, 6], dtype=np.int16)).build(scenario_of(), tmp_path, progress=False).parent
    assert [open_split(scenario_of(), "calibration", folder).reference(i) for i in range(2)] == [5, 6]


class ModelAnswersBuilder(NumberBuilder):
    """The reference is what the model makes of the features, so samples come without one."""

    answers = staticmethod(lambda model, features: model.tail(features))

    def samples(self, split):
        return [Sample(sample.id, sample.inputs, None) for sample in super().samples(split)]

    def references(self, model, batch, features):
        return self.answers(model, features)


def test_references_that_the_model_makes_are_checked_when_they_are_made(tmp_path):
    builder = ModelAnswersBuilder()
    builder.build(scenario_of(), tmp_path, progress=False)
    assert open_split(scenario_of(), "test", tmp_path).reference(2) == 3
    builder.answers = lambda model, features: ["3"]
    with pytest.raises(DataError, match=r"user-numbers, test sample 0 \('n0'\): the reference is of type str"):
        builder.build(scenario_of(), tmp_path, progress=False)
    builder.answers = lambda model, features: [1, 2]
    with pytest.raises(PluginError, match="'numbers' brings 2 references for 1 samples"):
        builder.build(scenario_of(), tmp_path, progress=False)
