"""Hard digits are chosen by an independent classifier; renditions are what their names say."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest

from dataset_builders.mini.digits.clean import DigitsBuilder, sample_of
from dataset_builders.mini.digits.hard import (
    HardDigitsBuilder,
    hard_digits,
    hard_labels,
    hardest_calibration_digits,
    margin,
)
from dataset_builders.mini.digits.plan import digits_plan, enlarge
from dataset_builders.mini.digits.renditions import LABELS, RENDERERS, DigitRenditionsBuilder, inverted, rendition
from lamofcbench import builders as registered
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS

BUILDERS = [HardDigitsBuilder, DigitRenditionsBuilder]


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_splits_have_the_declared_sizes_and_share_nothing(builder_class):
    builder, scenario = builder_class(), SCENARIOS.get(builder_class.name)
    test, calibration = builder.samples("test"), builder.samples("calibration")
    assert (len(test), len(calibration)) == (scenario.test_samples, scenario.calibration_samples)
    contents, ids = ([{key(s) for s in split} for split in (test, calibration)] for key in (builder.content_hash, _id))
    assert not contents[0] & contents[1] and not ids[0] & ids[1]
    assert (len(contents[0]), len(ids[0])) == (len(test), len(test))


def _id(sample):
    return sample.id


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_tracks_take_their_digits_from_the_parts_of_the_plan(builder_class):
    plan, builder = digits_plan(), builder_class()
    for split, part in (("test", plan.held_out), ("calibration", plan.calibration)):
        hashes = {digit.hash[:12] for digit in part}
        assert all(sample.id.split("-")[1] in hashes for sample in builder.samples(split))


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_the_classes_that_can_be_predicted_are_the_tracks_labels(builder_class):
    options = SCENARIOS.get(builder_class.name).backbone.options
    labels = {sample.reference for split in ("test", "calibration") for sample in builder_class().samples(split)}
    assert set(options["class_indices"]) == labels
    assert len(labels) < options["classes"]


@pytest.mark.parametrize("builder_class", [DigitsBuilder, *BUILDERS])
def test_a_variant_brings_the_samples_and_the_model_of_its_track(builder_class):
    track, variant = builder_class(), registered.BUILDERS.get(f"{builder_class.name}-shallow")()
    assert variant.model_directory() == track.model_directory()
    assert variant.revision() != track.revision()  # their features differ
    for split in ("test", "calibration"):
        facts = [[(s.id, b.content_hash(s), s.reference) for s in b.samples(split)] for b in (track, variant)]
        assert facts[0] == facts[1]


def test_hard_digits_are_those_that_the_nearest_mean_mistakes():
    from sklearn.neighbors import NearestCentroid

    plan = digits_plan()
    classifier = NearestCentroid().fit(*_pixels_and_labels(plan.training))
    pixels, labels = _pixels_and_labels(plan.held_out)
    mistaken = classifier.predict(pixels) != labels
    assert mistaken.sum() == 75
    expected = [d.hash for d, wrong in zip(plan.held_out, mistaken, strict=True) if wrong and d.label in hard_labels()]
    assert [digit.hash for digit in hard_digits()] == expected


def test_hard_labels_follow_the_training_digits_alone():
    failures = Counter(digit.label for digit in digits_plan().training if margin(digit) < 0)
    assert {label for label in range(10) if failures[label] >= 2} == set(hard_labels())


def test_the_hardest_calibration_digits_have_the_smallest_margins():
    chosen = hardest_calibration_digits()
    others = {d.hash for d in digits_plan().calibration if d.label in hard_labels()} - {d.hash for d in chosen}
    largest = max(margin(digit) for digit in chosen)
    assert all(margin(digit) >= largest for digit in digits_plan().calibration if digit.hash in others)


def _pixels_and_labels(digits):
    return np.stack([digit.pixels.ravel() for digit in digits]).astype(float), np.array([d.label for d in digits])


def test_hard_digits_are_shown_as_they_are():
    samples = {sample.id: sample for sample in DigitsBuilder().samples("calibration")}
    for sample in HardDigitsBuilder().samples("calibration"):
        assert np.array_equal(sample.inputs, samples[sample.id].inputs)


def test_every_rendition_and_every_label_is_there_often():
    samples = DigitRenditionsBuilder().samples("test")
    assert set(RENDERERS) == {"inverted", "sketched", "textured", "turned"}
    assert min(Counter(sample.id.split("-")[0] for sample in samples).values()) > 120
    assert set(Counter(sample.reference for sample in samples)) == set(LABELS)


def test_renditions_differ_from_the_clean_digit_and_do_not_change():
    for digit in digits_plan().calibration[:40]:
        sample, clean = rendition(digit), sample_of(digit)
        assert sample.inputs.shape == clean.inputs.shape and sample.inputs.dtype == np.uint8
        assert not sample.inputs.flags.writeable
        assert np.abs(sample.inputs.astype(int) - clean.inputs).mean() > 5
        assert np.array_equal(sample.inputs, rendition(digit).inputs)


def test_each_renderer_does_what_its_name_says():
    image = enlarge(digits_plan().calibration[0].pixels)
    source = random.Random(0)
    assert np.array_equal(inverted(inverted(image, source), source), image)
    ink = image.astype(float)
    textured = RENDERERS["textured"](image, source).astype(float)
    assert (textured >= ink).all() and textured[ink == 0].std() > 5  # the ground alone changes
    sketched = RENDERERS["sketched"](np.full((24, 24), 200, np.uint8), source)
    assert not sketched.any()  # no edge, no line
    turned = RENDERERS["turned"](image, source).astype(float)
    assert abs(turned.sum() / ink.sum() - 1) < 0.1  # as much ink as before
    assert np.abs(turned - ink).mean() > 5


def test_renditions_have_the_same_bytes_everywhere():
    builder = DigitRenditionsBuilder()
    contents = "".join(builder.content_hash(sample) for sample in builder.samples("test"))
    assert hashlib.sha256(contents.encode()).hexdigest().startswith("db7d12800bdf6134")


@pytest.mark.parametrize("builder_class, floor", [(HardDigitsBuilder, 0.6), (DigitRenditionsBuilder, 0.8)])
def test_the_shipped_classifier_reaches_its_floor(builder_class, floor):
    builder = builder_class()
    model, samples = load_model(SCENARIOS.get(builder.name), builder=builder), builder.samples("test")[::4]
    predictions = model.tail([model.front(sample.inputs) for sample in samples])
    assert np.mean([p == s.reference for p, s in zip(predictions, samples, strict=True)]) >= floor
