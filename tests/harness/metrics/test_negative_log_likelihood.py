"""Surprise by real text: nats a token, bits beside them, and what no probability can be."""

import math

import numpy as np
import pytest

from harness.metrics import predictions
from harness.metrics.negative_log_likelihood import NegativeLogLikelihood
from lamofcbench.errors import DataError, PluginError


def test_guessing_scores_the_logarithm_of_the_vocabulary_which_ends_the_range():
    metric = NegativeLogLikelihood(vocabulary=49152)
    guessed = metric.statistics(np.full(32, -math.log(49152)), "any text")
    assert metric.score({name: np.array([value]) for name, value in guessed.items()}) == pytest.approx(metric.range[1])
    assert metric.range == (0.0, pytest.approx(10.803, abs=1e-3))


def test_bits_and_perplexity_stand_beside_the_score():
    metric = NegativeLogLikelihood(vocabulary=4)
    statistics = {"nats": np.array([2 * math.log(2), 4 * math.log(2)]), "tokens": np.array([2.0, 1.0])}
    assert metric.details(statistics) == {"bits_per_token": pytest.approx(2.0), "perplexity": pytest.approx(4.0)}


def test_a_vocabulary_of_one_is_refused():
    with pytest.raises(DataError, match="at least 2"):
        NegativeLogLikelihood(vocabulary=1)


@pytest.mark.parametrize("value", [[-1.0, float("-inf")], [0.5], [float("nan")], [], [[-1.0]], "text"])
def test_what_is_no_logarithm_of_a_probability_is_refused(value):
    with pytest.raises(PluginError, match="no logprobs prediction"):
        predictions.encode_prediction("logprobs", value)


def test_what_rounding_leaves_above_zero_is_zero():
    assert predictions.encode_prediction("logprobs", [1e-6, -0.5]) == [0.0, -0.5]
