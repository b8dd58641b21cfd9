"""Ids, references and predictions that cannot be scored: one line that names the sample, as early as can be."""

import numpy as np
import pytest

from harness.metrics.base import METRICS
from harness.running.references import check_references
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.errors import DataError, PluginError
from lamofcbench.rasters import encode_image, encode_mask
from lamofcbench.references import shown


class Split:
    """The ids and references of a dataset that somebody else has made."""

    def __init__(self, references, ids=None):
        self.references, self.ids = references, ids or [f"s{index}" for index in range(len(references))]

    def __len__(self):
        return len(self.references)

    def sample_id(self, index):
        return self.ids[index]

    def reference(self, index):
        return self.references[index]


def check(toy, references, ids=None, prediction="label", metric="accuracy", **options):
    scenario = toy.model_copy(update={"prediction": prediction})
    check_references(Split(references, ids), scenario, METRICS.get(metric)(**options))


@pytest.mark.parametrize(
    "reference", [None, "1", 1.0, True, 2**63, 10**5000, float("nan"), b"1", [1], "x" * 100_000], ids=shown
)
def test_a_wrong_reference_is_named_with_its_sample(toy, reference):
    with pytest.raises(DataError, match=r"^toy-directions sample 1 \(s1\): the reference [^\n]{1,120}$"):
        check(toy, [0, reference])


@pytest.mark.parametrize("sample_id", [None, 1, "", "\ud800", "a\nb", "x" * 100_000], ids=shown)
def test_a_wrong_id_is_named_with_its_position(toy, sample_id):
    with pytest.raises(DataError, match=r"^toy-directions sample 1: the id [^\n]{1,120}$"):
        check(toy, [0, 1], ids=["a", sample_id])


def test_two_samples_cannot_have_one_id(toy):
    with pytest.raises(DataError, match="sample 2 has the id 'a' of sample 0"):
        check(toy, [0, 1, 1], ids=["a", "b", "a"])


def test_numpy_integers_are_labels(toy):
    check(toy, [np.int64(1), np.uint8(2), 3])


@pytest.mark.parametrize(
    ("prediction", "metric", "good", "bad"),
    [
        ("scores", "accuracy", 3, 2.5),
        ("text", "exact-match-number", "seven is 7", "seven"),
        ("text", "exact-match-letter", "B", "a dog"),
        ("text", "answer-accuracy", "the garden", "..."),
        ("image", "fid", encode_image(np.zeros((2, 2, 3), dtype=np.uint8)), "a red square"),
    ],
)
def test_a_reference_that_the_metric_cannot_use_is_found_before_there_is_a_prediction(
    toy, prediction, metric, good, bad
):
    options = {"features": "shapes"} if metric == "fid" else {}
    check(toy, [good, good], prediction=prediction, metric=metric, **options)
    with pytest.raises(DataError, match=r"^toy-directions sample 1 \(s1\): the reference "):
        check(toy, [good, bad], prediction=prediction, metric=metric, **options)


def test_bytes_are_decoded_as_what_they_must_be(toy):
    mask = encode_mask(np.eye(2, dtype=np.uint8))
    check(toy, [mask, mask], prediction="mask", metric="mean-iou", num_classes=2)
    for bad in (b"", mask[:40], encode_image(np.zeros((2, 2, 3), dtype=np.uint8))):
        with pytest.raises(DataError, match=r"sample 1 \(s1\): the reference is no mask: stored"):
            check(toy, [mask, bad], prediction="mask", metric="mean-iou", num_classes=2)


def test_a_metric_that_fails_to_tell_is_named(toy):
    metric = METRICS.get("accuracy")()
    metric.check_reference = lambda reference: 1 / 0
    with pytest.raises(PluginError, match=r"sample 0 \(s0\): metric 'accuracy' fails to check .* ZeroDivisionError"):
        check_references(Split([0]), toy, metric)


def test_a_run_checks_all_samples_before_it_loads_a_model(make_runner, computed_batches, monkeypatch):
    runner = make_runner(limit=4)
    monkeypatch.setattr(runner.test, "reference", lambda index: None if index == 21 else 0)
    monkeypatch.setattr(type(runner), "model", property(lambda self: pytest.fail("the model is loaded")))
    with pytest.raises(DataError, match=r"^toy-directions sample 21 \(test-21\): the reference is of type NoneType"):
        runner.run([])
    assert computed_batches == [] and not runner.settings.results.exists()


@pytest.mark.parametrize(
    "prediction", [None, "3", True, 2**63, 10**5000, float("nan"), [1, 2], np.zeros((300, 300)), object()], ids=shown
)
def test_a_prediction_that_cannot_be_stored_is_named_with_its_sample(make_runner, toy, prediction):
    class Odd:
        response_kind = None

        def tail(self, batch):
            return [0, 1, prediction, 3]

    runner = make_runner()
    runner.__dict__["model"] = Odd()
    wanted = (
        r"^toy-directions sample 2 \(test-2\): the tail returned [^\n]*, which is no label prediction: [^\n]{1,80}$"
    )
    with pytest.raises(PluginError, match=wanted):
        runner.run_codec(IdentityCodec(toy.specs))


def test_a_tail_that_returns_nothing_is_told_so(make_runner, toy):
    class Silent:
        response_kind = None

        def tail(self, batch):
            return None

    runner = make_runner()
    runner.__dict__["model"] = Silent()
    with pytest.raises(PluginError, match="tail of toy-directions fails on samples 0 to 3: TypeError"):
        runner.run_codec(IdentityCodec(toy.specs))
