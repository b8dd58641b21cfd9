"""Divergence of responses, against figures worked out by hand."""

import math

import pytest
import torch

from harness.statistics.divergence import kl_divergence


def test_it_is_the_sum_over_positions_of_p_log_p_over_q():
    p, q = torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.1, 0.0001]]), torch.tensor([[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]])
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    expected = (p.double() * (p.double() / q.double()).log()).sum().item()
    assert kl_divergence(p.log(), q.log()) == pytest.approx(expected, rel=1e-5)
    assert kl_divergence(p[:1].log(), q[:1].log()) == pytest.approx(0.25 * math.log(2), rel=1e-6)


def test_logits_count_up_to_a_constant():
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(1))
    assert kl_divergence(logits, logits + 3.0) == pytest.approx(0.0, abs=1e-5)
    assert kl_divergence(logits, logits) == 0.0


def test_it_is_small_where_little_has_changed_and_never_negative():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(8, 50_000, generator=generator)
    noise = torch.randn(8, 50_000, generator=generator)
    assert 0 <= kl_divergence(logits, logits + 1e-6 * noise) < 1e-5
    for scale in (1e-2, 1e-1):  # half the variance of the noise a position, while that is small
        assert kl_divergence(logits, logits + scale * noise) == pytest.approx(8 * scale**2 / 2, rel=0.05)


def test_half_precision_is_compared_in_single():
    a, b = torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0, 4.0]])
    assert kl_divergence(a.bfloat16(), b.bfloat16()) == pytest.approx(kl_divergence(a, b), rel=1e-6)


def test_what_is_not_finite_has_no_divergence_and_nothing_diverges_by_nothing():
    assert math.isnan(kl_divergence(torch.zeros(1, 2), torch.tensor([[0.0, math.inf]])))
    assert math.isnan(kl_divergence(torch.tensor([[math.nan, 0.0]]), torch.zeros(1, 2)))
    assert kl_divergence(torch.zeros(0, 5), torch.zeros(0, 5)) == 0.0
    with pytest.raises(ValueError, match="shapes differ"):
        kl_divergence(torch.zeros(1, 2), torch.zeros(2, 2))
