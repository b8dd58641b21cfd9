"""The options of the depth error, by cases computed by hand; together they are the published figure of NYUv2."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.base import METRICS
from harness.metrics.depth_rmse import aligned
from harness.results.record import as_statistics, stack_statistics
from harness.results.scoring import make_metric
from harness.statistics.bootstrap import resample_indices
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.scenarios.base import SCENARIOS


def depth_rmse(**options):
    return METRICS.get("depth-rmse")(**options)


def stacked(metric, pairs):
    return stack_statistics([as_statistics(metric.statistics(np.array(p), np.array(r))) for p, r in pairs])


def test_the_eigen_crop_judges_rows_45_to_470_and_columns_41_to_600():
    truth, predicted = np.full((480, 640), 2.0), np.full((480, 640), 2.0)
    for row, column in ((44, 300), (471, 300), (200, 40), (200, 601), (0, 0), (479, 639)):
        predicted[row, column] = 5  # outside
    for row, column in ((45, 41), (45, 600), (470, 41), (470, 600)):
        predicted[row, column] = 3  # the corners inside
    found = depth_rmse(crop="eigen").statistics(predicted, truth)
    assert (found["pixels"], found["squared_error"]) == (426 * 560, 4.0)


def test_the_eigen_crop_of_another_size_is_scaled_and_rounded_down():
    """Of 240 x 320 the borders are 22.5, 235.5, 20.5 and 300.5."""
    truth, predicted = np.full((240, 320), 2.0), np.full((240, 320), 2.0)
    predicted[21], predicted[235], predicted[:, 19], predicted[:, 300] = 4, 4, 4, 4
    found = depth_rmse(crop="eigen").statistics(predicted, truth)
    assert (found["pixels"], found["squared_error"]) == ((235 - 22) * (300 - 20), 0.0)


def test_scale_and_shift_are_those_of_least_squares():
    """Means 1 and 2, covariance 3/3, variance 2/3: s = 1.5, t = 0.5; fitted 0.5, 2, 3.5 leave 0.25 + 1 + 0.25."""
    assert aligned(np.array([0.0, 1, 2]), np.array([1.0, 1, 4])).tolist() == [0.5, 2.0, 3.5]
    found = depth_rmse(align="scale-and-shift", clip=False).statistics([[0.0, 1, 2]], [[1.0, 1, 4]])
    assert found["squared_error"] == pytest.approx(1.5)
    exact = depth_rmse(align="scale-and-shift", clip=False).statistics([[1.0, 2, 3]], [[3.0, 5, 7]])
    assert exact["squared_error"] == pytest.approx(0)


def test_the_fit_is_of_judged_pixels_alone():
    """The pixel whose reference is 0 would turn s = 2, t = 1 into something else."""
    found = depth_rmse(align="scale-and-shift", clip=False).statistics([[1.0, 2, 3, 900]], [[3.0, 5, 7, 0]])
    assert (found["pixels"], found["squared_error"]) == (3, pytest.approx(0))


def test_a_prediction_without_relief_is_aligned_to_the_mean():
    found = depth_rmse(align="scale-and-shift", clip=False).statistics([[2.0, 2]], [[1.0, 3]])
    assert found["squared_error"] == pytest.approx(2)


def test_the_fit_solves_the_same_equations_as_a_solver():
    source = np.random.default_rng(0)
    depth, truth = source.uniform(0.5, 9, 500), source.uniform(0.5, 9, 500)
    solved = np.linalg.lstsq(np.stack([depth, np.ones(500)], axis=1), truth, rcond=None)[0]
    np.testing.assert_allclose(aligned(depth, truth), solved[0] * depth + solved[1], rtol=1e-9)


def test_references_of_the_greatest_depth_are_judged_only_where_asked():
    reference, prediction = [[10.0, 9.5, 0.001, 0.0, 11.0]], [[9.0, 9.5, 4, 4, 4]]
    assert depth_rmse().statistics(prediction, reference)["pixels"] == 2
    assert depth_rmse(max_judged=False).statistics(prediction, reference)["pixels"] == 1


def test_unclipped_predictions_keep_their_error():
    assert depth_rmse().statistics([[13.0]], [[9.0]])["squared_error"] == 1
    found = depth_rmse(clip=False).statistics([[13.0]], [[9.0]])
    assert found["squared_error"] == 16 and found["absolute_relative_error"] == pytest.approx(4 / 9)
    below = depth_rmse(clip=False).statistics([[-1.0]], [[1.0]])
    assert below["squared_error"] == 4 and np.isfinite(list(below.values())).all()


def test_the_mean_over_images_weighs_each_image_the_same():
    """RMSEs 1 of one pixel and 3 of four make 2; pooled they make the root of 37 / 5. One image has no pixel."""
    pairs = [([[2.0, 0]], [[1.0, 0]]), ([[4.0, 4], [4, 4]], [[1.0, 1], [1, 1]]), ([[5.0]], [[0.0]])]
    by_image, by_pixel = depth_rmse(average="images"), depth_rmse()
    assert by_image.score(stacked(by_image, pairs)) == pytest.approx(2)
    assert by_pixel.score(stacked(by_pixel, pairs)) == pytest.approx((37 / 5) ** 0.5)
    with pytest.raises(DataError, match="no sample has a valid reference depth"):
        by_image.score(stacked(by_image, pairs[2:]))


def test_draws_of_images_are_scored_like_their_samples():
    metric = depth_rmse(average="images")
    statistics = stacked(metric, [([[2.0]], [[1.0]]), ([[4.0]], [[1.0]]), ([[5.0]], [[0.0]])])
    indices = resample_indices(3, 40)
    for draw, chosen in zip(metric.score_draws(statistics, indices), indices, strict=True):
        errors = [(1.0, 3.0)[sample] for sample in chosen if sample < 2]
        assert draw == pytest.approx(np.mean(errors) if errors else np.nan, nan_ok=True)


def test_a_map_of_nan_scores_badly_instead_of_being_left_out():
    metric = depth_rmse(align="scale-and-shift", clip=False, average="images")
    rows = stacked(metric, [([[np.nan, np.nan]], [[1.0, 3.0]]), ([[1.0, 3.0]], [[1.0, 3.0]])])
    assert metric.score(rows) == pytest.approx(0.5)  # the first is aligned to its mean, 2


def test_an_option_that_there_is_not_is_refused():
    with pytest.raises(ScenarioError, match="option align is 'scale'; it should be None or 'scale-and-shift'"):
        depth_rmse(align="scale")


def test_the_full_scenario_is_scored_as_published_and_the_mini_one_as_before():
    published = make_metric(SCENARIOS.get("cvu-nyuv2"))
    truth = np.full((480, 640), 4.0)
    truth[:, 320:], truth[100, 100] = 8.0, 10.0
    found = published.statistics(truth / 2 + 1, truth)  # a scale and a shift away
    assert found["pixels"] == 426 * 560 - 1 and found["squared_error"] == pytest.approx(0, abs=1e-9)
    assert published.average == "images"
    assert SCENARIOS.get("mini-cvu-depth").metric_options == {}
