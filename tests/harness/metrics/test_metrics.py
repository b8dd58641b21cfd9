import json
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.metrics.base import METRICS
from harness.metrics.exact_match_number import last_number
from harness.metrics.word_error_rate import word_edits
from harness.results.record import as_statistics, stack_statistics
from harness.statistics.bootstrap import resample_indices
from lamofcbench.errors import DataError, UnknownNameError

CASES = {path.stem: json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "cases").glob("*.json"))}
SAMPLES = [(name, number) for name, case in CASES.items() for number in range(len(case["samples"]))]


def test_every_metric_has_golden_cases():
    assert METRICS.names() == sorted(CASES)


@pytest.mark.parametrize(("name", "number"), SAMPLES)
def test_statistics_of_a_sample(name, number):
    case, sample = CASES[name], CASES[name]["samples"][number]
    found = METRICS.get(name)(**case["options"]).statistics(sample["prediction"], sample["reference"])
    assert set(found) == set(sample["statistics"])
    for key, value in sample["statistics"].items():
        assert np.allclose(found[key], value, rtol=1e-12), (key, sample)


def direct(name, samples, options):
    metric = METRICS.get(name)(**options)
    rows = [as_statistics(metric.statistics(s["prediction"], s["reference"])) for s in samples]
    return metric.score(stack_statistics(rows))


@pytest.mark.parametrize("name", CASES)
def test_score_uses_the_statistics_alone(name):
    case = CASES[name]
    assert direct(name, case["samples"], case["options"]) == pytest.approx(case["score"], rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_score_of_a_draw_is_the_score_of_its_samples(name):
    case = CASES[name]
    metric = METRICS.get(name)(**case["options"])
    rows = [as_statistics(metric.statistics(s["prediction"], s["reference"])) for s in case["samples"]]
    statistics = stack_statistics(rows)
    indices = resample_indices(len(rows), 50)
    expected = [metric.score({key: values[chosen] for key, values in statistics.items()}) for chosen in indices]
    np.testing.assert_allclose(metric.score_draws(statistics, indices), expected, rtol=1e-9)


def test_a_draw_without_judged_pixels_has_no_depth_error_and_the_others_have_one():
    statistics = {"pixels": np.array([0.0, 4.0]), "squared_error": np.array([0.0, 16.0])}
    draws = METRICS.get("depth-rmse")().score_draws(statistics, np.array([[0, 0], [0, 1], [1, 1]]))
    np.testing.assert_array_equal(draws, [np.nan, 2.0, 2.0])


@pytest.mark.parametrize("name", CASES)
def test_shapes_of_statistics_do_not_depend_on_the_sample(name):
    case = CASES[name]
    metric = METRICS.get(name)(**case["options"])
    shapes = {
        tuple((key, np.shape(value)) for key, value in metric.statistics(s["prediction"], s["reference"]).items())
        for s in case["samples"]
    }
    assert len(shapes) == 1


@pytest.mark.parametrize("name", CASES)
def test_the_evaluate_module_loads_offline_and_gives_the_same_score(name):
    import evaluate

    case = CASES[name]
    kind = type(case["samples"][0]["prediction"])
    samples = [sample for sample in case["samples"] if type(sample["prediction"]) is kind]
    module = evaluate.load(str(Path(harness.__file__).parent / "evaluate_metric.py"), name)
    computed = module.compute(
        predictions=[sample["prediction"] for sample in samples],
        references=[sample["reference"] for sample in samples],
        **case["options"],
    )
    assert computed == {name: pytest.approx(direct(name, samples, case["options"]), rel=1e-12)}


def test_the_evaluate_module_names_near_matches():
    import evaluate

    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        evaluate.load(str(Path(harness.__file__).parent / "evaluate_metric.py"), "acuracy")


def test_word_edits_agree_with_the_textbook_recursion():
    def textbook(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            previous, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
        return row[-1]

    generator = np.random.default_rng(0)
    for _ in range(100):
        a, b = (generator.choice(list("abcd"), size=generator.integers(0, 9)).tolist() for _ in range(2))
        assert word_edits(a, b) == textbook(a, b)


def test_a_reference_with_nothing_to_match_is_an_error_not_a_wrong_answer():
    with pytest.raises(DataError, match="no number"):
        METRICS.get("exact-match-number")().statistics("7", "seven")
    with pytest.raises(DataError, match="no answer letter"):
        METRICS.get("exact-match-letter")().statistics("B", "metal")


def test_numbers_of_any_length_are_exact():
    digits = "9" * 400
    assert last_number(f"is {digits}.") == int(digits)


def test_masks_and_maps_of_other_sizes_are_an_error():
    for name, options in (("mean-iou", {"num_classes": 2}), ("depth-rmse", {})):
        with pytest.raises(DataError, match="must agree"):
            METRICS.get(name)(**options).statistics(np.ones((2, 2)), np.ones((2, 3)))


def test_a_depth_map_of_nan_scores_badly_instead_of_not_at_all():
    metric = METRICS.get("depth-rmse")()
    statistics = metric.statistics(np.full((2, 2), np.nan), np.full((2, 2), 2.0))
    assert metric.score(stack_statistics([as_statistics(statistics)])) == pytest.approx(8.0)
