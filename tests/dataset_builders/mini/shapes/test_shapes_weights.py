"""The shipped weights draw what captions and edges say, and fit their records."""

import itertools
import json

import numpy as np
import pytest
import torch

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.shapes import _scoring as scoring
from dataset_builders.mini.shapes._train_shapes_features import accuracies
from dataset_builders.mini.shapes.builders import ShapesBuilder
from dataset_builders.mini.shapes.features import load_features
from dataset_builders.mini.shapes.scenes import scenes
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.mini_ctti_shapes import MINI_CTTI_SHAPES
from lamofcbench.storage import open_split

SAMPLES = 48
SCENARIO = MINI_CTTI_SHAPES


def record(name):
    return json.loads((WEIGHTS / name / "training.json").read_text())


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load_model(SCENARIO)


@pytest.fixture(scope="module")
def held_out():
    return list(itertools.islice(scenes("test"), SAMPLES))


@pytest.fixture(scope="module")
def images(model, held_out):
    return scoring.generated(model, held_out, held_out)


def test_the_feature_network_reads_held_out_pictures():
    found = accuracies(load_features(), list(itertools.islice(scenes("test"), 500)))
    assert min(found.values()) >= 0.9
    assert record("shapes-features")["held_out_accuracy"] == pytest.approx(min(found.values()), abs=0.03)


def test_shape_and_colours_are_read_back_from_held_out_images(images, held_out):
    found = scoring.attribute_accuracies(images, held_out)
    assert min(found[name] for name in ("shape", "colour", "ground", "ground_colour")) >= 0.8
    assert record("shapes-sd3")["held_out_accuracy"] >= 0.7


def test_colours_come_from_the_caption(model, held_out):
    others = [*held_out[1:], held_out[0]]
    swapped = scoring.generated(model, others, held_out)
    assert scoring.attribute_accuracies(swapped, others)["colour"] >= 0.7
    assert scoring.attribute_accuracies(swapped, held_out)["colour"] <= 0.4


def test_places_come_from_the_edges(model, images, held_out):
    others = [*held_out[1:], held_out[0]]
    agreement = scoring.edge_agreement(images, held_out)
    elsewhere = scoring.edge_agreement(scoring.generated(model, held_out, others), held_out)
    assert agreement >= 0.75
    assert elsewhere <= agreement - 0.2


def test_all_of_it_takes_less_than_nine_megabytes():
    sizes = [p.stat().st_size for p in WEIGHTS.glob("shapes-*/**/*") if p.is_file()]
    assert sum(sizes) < 9e6


def test_references_are_the_images_of_the_stored_features_and_the_anchor_is_at_no_distance(model):
    from harness.results.scoring import make_metric
    from lamofcbench.rasters import decode_png

    test = open_split(SCENARIO, "test")
    batch = list(range(SCENARIO.batch_size))
    made = model.tail([test.features(index) for index in batch])
    references = [decode_png(test.reference(index)) for index in batch]
    assert all(np.abs(image.astype(int) - ref).max() <= 1 for image, ref in zip(made, references, strict=True))
    metric = make_metric(SCENARIO)
    rows = [metric.statistics(image, ref) for image, ref in zip(made, references, strict=True)]
    assert metric.score({name: np.stack([row[name] for row in rows]) for name in rows[0]}) < 0.05


def test_every_tensor_counts(model):
    """Shuffled values change the images by more than rounding would."""
    features = [model.front(sample.inputs).cast(SCENARIO.specs) for sample in ShapesBuilder().samples("test")[:4]]
    images = np.stack(model.tail(features)).astype(int)
    for name in features[0]:
        source = torch.Generator().manual_seed(0)

        def shuffled(one, name=name, source=source):
            tensor = one[name]
            order = torch.randperm(tensor.numel(), generator=source)
            return FeatureSet({**one.tensors, name: tensor.flatten()[order].view(tensor.shape)}, one.side)

        changed = np.stack(model.tail([shuffled(one) for one in features])).astype(int)
        assert np.abs(changed - images).mean() > 0.2, name  # of 255; the empty negative prompt counts least
