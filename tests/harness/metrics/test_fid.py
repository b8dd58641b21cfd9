"""The Fréchet distance against its definition, its draws, and its networks."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from dataset_builders.mini.shapes.features import load_features
from harness.metrics.base import METRICS
from harness.metrics.fid import FrechetInceptionDistance, distance, fit, frechet_distance
from harness.report.comparison import absolute_change
from harness.statistics.bootstrap import interval, resample_indices
from lamofcbench.errors import DataError, PluginError
from lamofcbench.scenarios.base import SCENARIOS


def vectors(seed, count, size):
    source = np.random.default_rng(seed)
    return source.standard_normal((count, size)) @ source.standard_normal((size, size)) + source.standard_normal(size)


def by_definition(first, second):
    """With the root of the product of covariances itself."""
    from scipy import linalg

    covariances = [np.atleast_2d(np.cov(values, rowvar=False)) for values in (first, second)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    difference = first.mean(axis=0) - second.mean(axis=0)
    return difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * np.real(root))


@pytest.mark.parametrize(("count", "size"), [(60, 5), (200, 12), (7, 6), (40, 1)])
def test_the_distance_is_the_one_of_the_definition(count, size):
    first, second = vectors(0, count, size), vectors(1, count, size)
    assert frechet_distance(first, second) == pytest.approx(by_definition(first, second), rel=1e-6)


def test_gaussians_along_the_axes_have_a_distance_in_closed_form():
    """There it is the sum of squared differences of means and of standard deviations."""
    source = np.random.default_rng(2)
    white = source.standard_normal((500, 4))
    white -= white.mean(axis=0)
    white @= np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False)).T)
    first, second = np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 1, 7])
    means = np.array([0.5, 0, -1, 2])
    assert frechet_distance(white * first, white * second + means) == pytest.approx(
        np.square(first - second).sum() + np.square(means).sum()
    )


def test_fewer_samples_than_features_lie_in_a_subspace_and_nothing_else():
    """Turned into the space that they span, the same vectors have the same distance."""
    first, second = vectors(0, 5, 40), vectors(1, 5, 40)
    joint = np.linalg.qr(np.concatenate([first, second]).T)[0]  # [40, 10]
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(first @ joint, second @ joint), rel=1e-9)
    assert frechet_distance(first, first) == 0.0


def test_images_are_resized_as_published_before_the_network_sees_them(monkeypatch):
    """By Pillow's bicubic filter on bytes, whatever the proportions; a network that sees all pixels shows it."""
    from PIL import Image

    from harness.metrics import fid

    monkeypatch.setitem(fid.NETWORKS, "shapes", lambda: lambda images: images.flatten(1).double())
    source = np.random.default_rng(3)
    image = source.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((299, 299)))  # bicubic is Pillow's own choice
    metric = METRICS.get("fid")(features="shapes", side=299)
    features = metric.statistics(image, image)["prediction"]
    assert np.array_equal(features.reshape(3, 299, 299), expected.transpose(2, 0, 1))
    whole = METRICS.get("fid")(features="shapes").statistics(image, image)["prediction"]
    assert np.array_equal(whole.reshape(3, 40, 60), image.transpose(2, 0, 1))
    for wrong in (0, "299", True):
        with pytest.raises(DataError, match="fid: side is"):
            METRICS.get("fid")(side=wrong)
    assert SCENARIOS.get("ctti-coco-canny").metric_options == {"features": "inception", "side": 299}


def test_a_single_sample_counts_with_its_mean():
    assert frechet_distance(np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]])) == 25.0


@pytest.mark.parametrize("count", [3, 64, 200])
def test_equal_sets_are_at_no_distance_and_the_order_does_not_matter(count):
    features = vectors(3, count, 64)
    assert frechet_distance(features, features) == 0.0
    assert frechet_distance(features, features[::-1]) == 0.0
    other = vectors(4, count, 64)
    assert frechet_distance(features, other) == pytest.approx(frechet_distance(other, features))
    assert frechet_distance(features, other) > 0


@pytest.mark.parametrize("size", [5, 100])
def test_a_vector_that_counts_twice_is_as_good_as_two(size):
    first, second, counts = vectors(0, 20, size), vectors(1, 20, size), np.arange(20) % 3 + 1
    repeated = [np.repeat(values, counts, axis=0) for values in (first, second)]
    assert distance(fit(first, counts), fit(second, counts)) == pytest.approx(frechet_distance(*repeated), rel=1e-9)
    assert distance(fit(first, counts), fit(first, counts)) == 0.0
    triple = np.array([3])
    assert distance(fit(first[:1], triple), fit(second[:1], triple)) == np.square(first[0] - second[0]).sum()


def test_draws_of_other_references_are_not_taken_from_those_before():
    metric = FrechetInceptionDistance("shapes")
    sets, indices = [vectors(seed, 12, 6) for seed in range(3)], resample_indices(12, 5)
    for reference in (sets[1], sets[2], sets[1]):
        found = metric.score_draws({"prediction": sets[0], "reference": reference}, indices)
        expected = np.array([frechet_distance(sets[0][chosen], reference[chosen]) for chosen in indices])
        np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), rtol=1e-9)
        assert found.mean() == pytest.approx(frechet_distance(sets[0], reference), rel=1e-9)


@pytest.mark.parametrize("size", [8, 64])
def test_intervals_hold_their_score_and_equal_scores_are_no_change(size):
    metric, indices = FrechetInceptionDistance("shapes"), resample_indices(100, 200)
    reference = vectors(0, 100, size)
    noise = [0.3 * vectors(seed, 100, size) for seed in (1, 2)]
    both = [{"prediction": reference + each, "reference": reference} for each in noise]
    scores = [metric.score(each) for each in both]
    draws = [metric.score_draws(each, indices) for each in both]
    for score, own in zip(scores, draws, strict=True):
        low, high = interval(own)
        assert low < score < high
    shifted = draws[1] - scores[1] + scores[0]  # as if both had scored the same
    change = absolute_change("score", scores[0], scores[0], draws[0], shifted, -1, 0.95)
    assert change.verdict == "same"


def test_draws_that_take_too_much_memory_are_not_kept(monkeypatch):
    metric, indices = FrechetInceptionDistance("shapes"), resample_indices(12, 5)
    statistics = {"prediction": vectors(0, 12, 6), "reference": vectors(1, 12, 6)}
    monkeypatch.setattr("harness.metrics.fid.MAX_KEPT_BYTES", 0)
    found = metric.score_draws(statistics, indices)
    assert metric._kept is None
    monkeypatch.undo()
    np.testing.assert_array_equal(metric.score_draws(statistics, indices), found)
    assert metric._kept is not None


def test_the_shipped_features_are_standardised_and_do_not_depend_on_the_rest_of_the_batch():
    from dataset_builders.mini.shapes._pictures import first_scenes, picture_tensors

    pictures, _ = picture_tensors(first_scenes("training", 400))
    features = load_features(dtype=torch.float64).standardised(pictures)
    assert features.mean(dim=0).abs().max() < 0.3
    assert (features.std(dim=0) - 1).abs().max() < 0.3
    metric = FrechetInceptionDistance("shapes")
    one = metric.statistics(pictures[3].permute(1, 2, 0).numpy(), pictures[5].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(one["prediction"], features[3], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one["reference"], features[5], rtol=1e-9, atol=1e-12)


def test_images_that_differ_in_colour_or_shape_are_far_apart_and_moved_ones_are_near():
    from dataclasses import replace

    from dataset_builders.mini.shapes._pictures import first_scenes
    from dataset_builders.mini.shapes.scenes import draw

    metric = FrechetInceptionDistance("shapes")
    scenes = [replace(scene, colour="red", ground_colour="white", radius=7) for scene in first_scenes("test", 60)]

    def distance(change):
        rows = [metric.statistics(draw(replace(scene, **change(scene))), draw(scene)) for scene in scenes]
        return metric.score({name: np.stack([row[name] for row in rows]) for name in rows[0]})

    moved = distance(lambda scene: {"column": 33 - scene.column if 8 < scene.column < 25 else scene.column})
    other_colour, other_shape = distance(lambda scene: {"colour": "blue"}), distance(lambda scene: {"shape": "cross"})
    assert other_colour > 5 * moved
    assert other_shape > 2 * moved


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.full((4, 4, 3), 256), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(DataError, match="compares images"):
        FrechetInceptionDistance("shapes").statistics(image, image)


def test_an_unknown_network_is_refused():
    with pytest.raises(DataError, match="there are inception, shapes"):
        METRICS.get("fid")(features="resnet")


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(PluginError, match=r"pip install 'lamofcbench\[inception\]'") as caught:
        FrechetInceptionDistance().statistics(image, image)
    assert "\n" not in str(caught.value)


def test_inception_is_asked_for_the_pooled_features_of_uint8_images(monkeypatch):
    """A stand-in of the extra's interface; the network itself and its weights are not here."""
    calls = []

    class FeatureExtractorInceptionV3:
        def __init__(self, name, features_list):
            calls.append((name, features_list))

        def __call__(self, images):
            assert images.dtype == torch.uint8 and images.shape == (1, 3, 4, 5)
            calls.append("image")
            return (images.float().mean(dim=(2, 3)).repeat(1, 4),)

    module = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = FeatureExtractorInceptionV3
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    metric = FrechetInceptionDistance()
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 1] = 7
    found = metric.statistics(image, image)
    metric.statistics(image + 1, image)
    assert found["prediction"].dtype == np.float64
    assert found["prediction"].tolist() == [0, 7, 0] * 4
    assert calls == [("inception-v3-compat", ["2048"]), "image", "image"]  # the reference is computed once


def test_listing_metrics_imports_nothing_heavy():
    code = "import sys; from harness.metrics.base import METRICS; METRICS.names(); print('torch_fidelity' in sys.modules, 'diffusers' in sys.modules)"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2
