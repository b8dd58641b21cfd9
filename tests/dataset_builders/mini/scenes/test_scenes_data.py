"""Scenes are what their masks and depth maps say, the same on every machine, and of digits of the right part."""

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest

from dataset_builders.mini.digits.plan import digits_plan
from dataset_builders.mini.scenes import generator
from dataset_builders.mini.scenes.generator import CLASSES, FARTHEST, HEIGHT, NEAREST, digit_pool, draw_scene
from dataset_builders.mini.scenes.tracks import DepthBuilder, ScenesBuilder, track_scenes
from lamofcbench.rasters import decode_map, decode_png, encode_mask
from lamofcbench.scenarios.base import SCENARIOS

BUILDERS = [ScenesBuilder, DepthBuilder]
WALL, FLOOR = 1, 2


@pytest.fixture(scope="module")
def scenes():
    source, pool = random.Random("scenes of the tests"), digit_pool("calibration")
    return [draw_scene(source, pool, width) for width in (32, 48, 64) for _ in range(20)]


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_splits_have_the_declared_sizes_and_share_nothing(builder_class):
    builder, scenario = builder_class(), SCENARIOS.get(builder_class.name)
    test, calibration = builder.samples("test"), builder.samples("calibration")
    assert (len(test), len(calibration)) == (scenario.test_samples, scenario.calibration_samples)
    for key in (builder.content_hash, lambda sample: sample.id):
        parts = [{key(sample) for sample in split} for split in (test, calibration)]
        assert [len(part) for part in parts] == [len(test), len(calibration)]
        assert not parts[0] & parts[1]


def test_the_tracks_share_no_scene():
    contents = [
        {builder.content_hash(sample) for split in ("test", "calibration") for sample in builder.samples(split)}
        for builder in (ScenesBuilder(), DepthBuilder())
    ]
    assert not contents[0] & contents[1]


@pytest.mark.parametrize("builder_class", BUILDERS)
@pytest.mark.parametrize("split, part", [("test", "held_out"), ("calibration", "calibration")])
def test_cards_show_digits_of_the_splits_part_alone(builder_class, split, part, monkeypatch):
    shown = set()

    def card(source, digit, label, original=generator._card):
        shown.add(digit.hash)
        return original(source, digit, label)

    monkeypatch.setattr(generator, "_card", card)
    again = track_scenes.__wrapped__(builder_class.name, split, builder_class.widths)
    samples = builder_class().samples(split)
    assert all(np.array_equal(one.image, sample.inputs) for one, sample in zip(again, samples, strict=True))
    assert len(shown) > 40
    assert shown <= {digit.hash for digit in getattr(digits_plan(), part)}


def test_scenes_have_the_same_bytes_everywhere():
    digest = hashlib.sha256()
    for builder in (ScenesBuilder(), DepthBuilder()):
        for scene in track_scenes(builder.name, "calibration", builder.widths):
            for array in (scene.image, scene.mask, scene.depth):
                digest.update(array.tobytes())
    assert digest.hexdigest().startswith("18fa398a28001015")


def test_references_are_the_masks_and_the_depths():
    for builder, kind, decode in ((ScenesBuilder(), "mask", decode_png), (DepthBuilder(), "depth", decode_map)):
        scenes = track_scenes(builder.name, "calibration", builder.widths)
        for scene, sample in zip(scenes, builder.samples("calibration"), strict=True):
            truth = getattr(scene, kind)
            assert np.array_equal(decode(sample.reference), truth.astype(np.float16) if kind == "depth" else truth)
            assert sample.inputs.shape == (*truth.shape, 3) and sample.inputs.dtype == np.uint8
            assert not sample.inputs.flags.writeable


def test_the_revision_follows_the_labels_and_not_their_compression():
    builder = ScenesBuilder()
    sample = builder.samples("calibration")[0]
    other = replace(sample, reference=encode_mask(decode_png(sample.reference)) + b"trailing")
    assert builder.reference_digest(other) == builder.reference_digest(sample)
    other = replace(sample, reference=encode_mask(1 - np.minimum(decode_png(sample.reference), 1)))
    assert builder.reference_digest(other) != builder.reference_digest(sample)


def test_every_class_fills_a_fair_share(scenes):
    pixels = np.concatenate([scene.mask.ravel() for scene in scenes])
    shares = np.bincount(pixels, minlength=1 + len(CLASSES)) / len(pixels)
    assert len(shares) == 1 + len(CLASSES)
    assert shares[0] < 0.05  # void
    assert (shares[1:] > 0.005).all()
    assert SCENARIOS.get("mini-cvu-scenes").metric_options["num_classes"] == len(CLASSES)


def test_depths_lie_where_scenes_can_be_seen(scenes):
    for scene in scenes:
        assert scene.depth.dtype == np.float32 and scene.depth.shape == scene.mask.shape
        wall = scene.depth[scene.mask == WALL]
        assert len(np.unique(wall)) <= 1
        things = scene.depth[scene.mask > FLOOR]
        assert ((things >= NEAREST - 1e-3) & (things <= FARTHEST)).all()
        if len(wall):
            assert (things < wall[0]).all()


def test_the_floor_comes_nearer_downwards_and_ends_at_the_wall(scenes):
    for scene in scenes:
        floor = np.where(scene.mask == FLOOR, scene.depth, np.nan)
        rows = [row for row in range(HEIGHT) if (scene.mask[row] == FLOOR).any()]
        nearest = np.array([np.nanmean(floor[row]) for row in rows])
        assert (np.diff(nearest) < 0).all()
        assert (scene.mask[min(rows) :] != WALL).all()


def test_near_things_are_painted_over_far_ones(monkeypatch):
    depths = []

    def stand(canvas, thing, depth, original=generator._Canvas.stand):
        depths.append(depth)
        original(canvas, thing, depth)

    monkeypatch.setattr(generator._Canvas, "stand", stand)
    draw_scene(random.Random("hidden"), digit_pool("calibration"), 64)
    assert len(depths) > 1 and depths == sorted(depths, reverse=True)


def test_depth_is_in_the_picture(scenes):
    """Things stand on the floor where its depth is theirs, so the lowest row of a whole thing tells how far it is."""
    for scene in scenes:
        for depth in np.unique(scene.depth[scene.mask > FLOOR]):
            rows = np.flatnonzero(((scene.depth == depth) & (scene.mask > FLOOR)).any(axis=1))
            foot = generator.HORIZON + generator.FOCAL_LENGTH * generator.CAMERA_HEIGHT / depth
            assert rows.max() <= foot  # nothing reaches below its foot


def test_other_seeds_draw_other_scenes():
    pool = digit_pool("calibration")
    images = {draw_scene(random.Random(seed), pool, 32).image.tobytes() for seed in range(20)}
    assert len(images) == 20
