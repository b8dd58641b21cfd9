"""What the captioned shapes are, how they are dealt, and that neither caption nor edges tell all."""

import hashlib
import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dataset_builders.mini.shapes.builders import ShapesBuilder, ShapesLatentBuilder, sample_of
from dataset_builders.mini.shapes.edges import canny, edge_image
from dataset_builders.mini.shapes.scenes import COLOURS, GROUNDS, IMAGE_SIDE, SHAPES, WORDS, Scene, draw, scenes
from lamofcbench.scenarios.mini_ctti_shapes import MINI_CTTI_SHAPES, MINI_CTTI_SHAPES_LATENT

PARTS = ("training", "calibration", "test")
SCENE = Scene("circle", "red", "plain", "blue", row=16, column=12, radius=8, phase=0, upright=True)


def first(part, count):
    return list(itertools.islice(scenes(part), count))


def test_a_caption_names_shape_colours_and_ground():
    assert SCENE.caption == "a red circle on a plain blue ground"
    assert set(SCENE.caption.split()) <= set(WORDS)


def test_pictures_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for part in PARTS:
        for scene in first(part, 50):
            digest.update(scene.caption.encode() + draw(scene).tobytes() + canny(draw(scene)).tobytes())
    assert digest.hexdigest()[:16] == "de7742ac4fef9a98"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_drawn_in_its_colour_within_its_extent(shape):
    scene = replace(SCENE, shape=shape)
    picture = draw(scene)
    covered = (picture == COLOURS["red"]).all(axis=2)
    ground = (picture == COLOURS["blue"]).all(axis=2)
    assert covered[16, 12] and ground[0, 31]
    rows, columns = np.nonzero(~ground)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == pytest.approx((8, 24, 4, 20), abs=1)
    assert 0.25 * 256 < covered.sum() < 256


def test_stripes_run_as_the_scene_says():
    columns = draw(replace(SCENE, ground="striped"))
    assert (columns[0] == columns[31]).all() and len(np.unique(columns[0], axis=0)) == 2
    rows = draw(replace(SCENE, ground="striped", upright=False))
    assert (rows[:, 0] == rows[:, 31]).all() and len(np.unique(rows[:, 0], axis=0)) == 2
    moved = draw(replace(SCENE, ground="striped", phase=3))
    assert (moved[0, 3:] == columns[0, :-3]).all()


def test_combinations_of_caption_and_place_are_in_one_part_only():
    keys = [{(s.shape, s.colour, s.ground_colour, s.row, s.column) for s in first(part, 1500)} for part in PARTS]
    assert all(not a & b for a, b in itertools.combinations(keys, 2))


def test_each_part_has_every_attribute():
    for part in PARTS:
        found = first(part, 600)
        for name, values in (("shape", SHAPES), ("colour", COLOURS), ("ground", GROUNDS), ("ground_colour", COLOURS)):
            counts = Counter(getattr(scene, name) for scene in found)
            assert set(counts) == set(values)
            assert min(counts.values()) > 0.5 * len(found) / len(values)
        assert all(scene.colour != scene.ground_colour for scene in found)


def test_captions_do_not_tell_where_the_shape_stands():
    """Among pictures of one caption the places are as spread as among all."""
    found = first("training", 6000)
    places = np.array([[scene.row, scene.column] for scene in found], dtype=float)
    by_caption = {}
    for scene, place in zip(found, places, strict=True):
        by_caption.setdefault(scene.caption, []).append(place)
    within = np.concatenate([np.array(group) - np.mean(group, axis=0) for group in by_caption.values()])
    assert np.square(within).sum() / (len(found) - len(by_caption)) == pytest.approx(places.var(axis=0).sum(), rel=0.1)


def test_edges_do_not_tell_colours():
    """Exchanging the two colours of a plain picture moves next to no edge; most recolourings move few."""
    apart = []
    for scene in first("test", 200):
        if scene.ground == "plain":
            exchanged = replace(scene, colour=scene.ground_colour, ground_colour=scene.colour)
            edges, others = canny(draw(scene)) > 0, canny(draw(exchanged)) > 0
            apart.append((edges != others).sum() / edges.sum())
    assert np.median(apart) < 0.1


# --------------------------------------------------------------------------------------------------------------- edges


def test_a_step_gives_one_thin_edge():
    image = np.zeros((12, 12, 3), dtype=np.uint8)
    image[:, 6:] = 200
    edges = canny(image)
    assert edges.dtype == np.uint8 and set(np.unique(edges)) == {0, 255}
    assert ((edges > 0).sum(axis=1) == 1).all()  # one pixel across the edge, along all of it
    assert np.array_equal(canny(image.transpose(1, 0, 2)), edges.T)


def test_an_even_image_has_no_edges():
    assert not canny(np.full((8, 9, 3), 77, dtype=np.uint8)).any()


def test_colours_of_equal_brightness_have_an_edge_between_them():
    image = np.zeros((12, 12, 3), dtype=np.uint8)
    image[:, :6, 0], image[:, 6:, 2] = 90, 90
    assert canny(image).any()


def test_weak_edges_stay_only_where_a_strong_one_continues_them():
    image = np.zeros((24, 12, 3), dtype=np.uint8)
    image[:12, 6:] = 60  # a strong edge above, going on weakly below
    image[12:, 6:] = 20
    alone = np.zeros((24, 12, 3), dtype=np.uint8)
    alone[:, 6:] = 20
    both, weak = canny(image, low=4, high=12), canny(alone, low=4, high=12)
    assert both[18, 5:7].any()
    assert not weak.any()


def test_edges_of_a_circle_lie_on_it():
    rows, columns = np.nonzero(canny(draw(SCENE)))
    distances = np.hypot(rows + 0.5 - SCENE.row, columns + 0.5 - SCENE.column)
    assert len(rows) > 30
    assert np.abs(distances - SCENE.radius).max() < 1.5


# ------------------------------------------------------------------------------------------------------------- builder


@pytest.mark.parametrize("builder_class", [ShapesBuilder, ShapesLatentBuilder])
def test_splits_are_of_the_declared_sizes_and_disjoint(builder_class):
    builder, scenario = builder_class(), MINI_CTTI_SHAPES if builder_class is ShapesBuilder else MINI_CTTI_SHAPES_LATENT
    test, calibration = builder.samples("test"), builder.samples("calibration")
    assert (len(test), len(calibration)) == (scenario.test_samples, scenario.calibration_samples)
    for key in (builder.content_hash, lambda sample: sample.id):
        parts = [{key(sample) for sample in split} for split in (test, calibration)]
        assert [len(part) for part in parts] == [len(test), len(calibration)]
        assert not parts[0] & parts[1]


def test_no_test_sample_was_trained_on():
    builder = ShapesBuilder()
    trained = {builder.content_hash(sample_of(scene, 0)) for scene in first("training", 1000)}
    assert not trained & {builder.content_hash(s) for split in ("test", "calibration") for s in builder.samples(split)}


def test_a_sample_is_a_caption_with_edges_and_a_seed_of_its_own():
    samples = ShapesBuilder().samples("test")
    inputs = samples[0].inputs
    assert inputs.control_image.shape == (IMAGE_SIDE, IMAGE_SIDE, 3) and not inputs.control_image.flags.writeable
    assert np.array_equal(inputs.control_image, edge_image(draw(first("test", 1)[0])))
    assert inputs.prompt == first("test", 1)[0].caption and inputs.negative_prompt == ""
    assert [sample.inputs.seed for sample in samples] == list(range(len(samples)))
