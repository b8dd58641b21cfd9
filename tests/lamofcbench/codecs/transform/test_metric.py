"""The tail's metric: a transform spends its bits where errors matter, as far as other samples agree."""

import numpy as np
import pytest

from lamofcbench.codecs.transform.metric import Halves, best_mixing, diagonal, mixed, root_of, weighted_pair
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=64)
WIDTH = 12
[GROUP] = row_groups(
    FeatureSpecs(
        tensors=(
            TensorSpec(name="a", role="hidden", shape=(T, 8), dtype="float32"),
            TensorSpec(name="b", role="hidden", shape=(T, 4), dtype="float32"),
        )
    )
)


def random_metric(rank, seed, scale=1.0):
    factor = np.random.default_rng(seed).normal(size=(rank, WIDTH)) * scale
    return factor.T @ factor / rank


def covariance(seed=0):
    return random_metric(WIDTH * 4, seed)


def loss(pair, kept, rows, metric):
    """What is lost in the metric where only the leading coefficients are known."""
    missed = np.eye(WIDTH) - pair.synthesis[:, :kept] @ pair.analysis[:kept]
    return float(np.trace(metric @ missed @ rows @ missed.T))


def test_without_weights_it_is_the_karhunen_loeve_transform():
    rows = covariance()
    pair = weighted_pair(rows, np.eye(WIDTH), WIDTH)
    assert pair.variances == pytest.approx(np.linalg.eigvalsh(rows)[::-1])
    assert pair.analysis @ pair.analysis.T == pytest.approx(np.eye(WIDTH), abs=1e-9)
    assert pair.synthesis == pytest.approx(pair.analysis.T, abs=1e-9)


@pytest.mark.parametrize("kept", [1, 3, 8])
def test_its_leading_coefficients_lose_least_in_the_metric(kept):
    rows, metric = covariance(), mixed(GROUP, random_metric(3, 5), 0.1)
    weighted = weighted_pair(rows, root_of(metric), WIDTH)
    plain = weighted_pair(rows, np.eye(WIDTH), WIDTH)
    assert loss(weighted, kept, rows, metric) == pytest.approx(weighted.variances[kept:].sum())
    assert loss(weighted, kept, rows, metric) < loss(plain, kept, rows, metric)


def test_coefficients_are_independent_and_all_of_them_restore_the_row():
    rows = covariance()
    pair = weighted_pair(rows, root_of(mixed(GROUP, random_metric(2, 3), 0.3)), WIDTH)
    spread = pair.analysis @ rows @ pair.analysis.T
    assert spread == pytest.approx(np.diag(pair.variances), abs=1e-8)
    assert pair.synthesis @ pair.analysis == pytest.approx(np.eye(WIDTH), abs=1e-6)


def test_a_metric_is_mixed_with_its_own_diagonal_tensor_by_tensor():
    matrix = np.diag(np.r_[np.full(4, 2.0), np.zeros(4), np.zeros(4)])
    own = diagonal(GROUP, matrix)
    assert own[:8] == pytest.approx(1.0) and own[8:] == pytest.approx(1e-7)  # never nothing
    assert np.trace(mixed(GROUP, matrix, 3.0)) == pytest.approx(np.trace(matrix), rel=1e-6)


def halves(first, second):
    return [Halves((covariance(1), covariance(2)), (first, second), 1.0)]


def test_weights_that_hold_for_the_other_half_are_trusted():
    directions = random_metric(2, 3, 5.0)
    assert best_mixing(GROUP, halves(directions, directions)) == 0.1


def test_weights_that_the_other_half_knows_nothing_of_are_not():
    chosen = [best_mixing(GROUP, halves(random_metric(1, seed), random_metric(1, 50 + seed))) for seed in range(4)]
    assert all(mixing is None or mixing > 0.3 for mixing in chosen) and None in chosen
