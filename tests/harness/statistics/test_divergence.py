"""Divergence of responses, against figures worked out by hand."""

import math

import pytest
import torch

from harness.statistics.divergence import divergence, energy, kl_divergence, squared_error


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


def test_values_diverge_by_the_share_of_their_variation_that_is_lost():
    original = torch.tensor([[[1.0], [2.0], [6.0]]])
    assert divergence("values", original, original).tolist() == [0.0]
    assert divergence("values", original, torch.full((1, 3, 1), 3.0)).tolist() == [1.0]  # the mean tells nothing
    decoded = torch.tensor([[[1.0], [3.0], [6.0]]])
    assert divergence("values", original, decoded).tolist() == [pytest.approx(1 / 14)]  # 4 + 1 + 9 about the mean
    assert divergence("values", 5 * original + 100, 5 * decoded + 100).tolist() == [pytest.approx(1 / 14)]
    assert squared_error(original[0], decoded[0]) == 1 and energy(original[0]) == 14


def test_a_flat_response_keeps_a_scale():
    flat = torch.full((1, 4, 1), 10.0)
    assert divergence("values", flat, flat).tolist() == [0.0]
    assert divergence("values", flat, 1.001 * flat).tolist() == [pytest.approx(1.0, rel=1e-3)]
    assert divergence("values", 0 * flat, 0 * flat).tolist() == [0.0]
    assert divergence("values", torch.zeros(1, 0, 3), torch.zeros(1, 0, 3)).tolist() == [0.0]


@pytest.mark.parametrize("kind", ["logits", "values"])
def test_samples_diverge_one_by_one_over_the_positions_that_count(kind):
    a, b = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    found = divergence(kind, a, b, [5, 2, 0])
    alone = [divergence(kind, a[row : row + 1, :n], b[row : row + 1, :n]).item() for row, n in enumerate((5, 2, 0))]
    assert found.tolist() == alone and alone[2] == 0 and min(alone[:2]) > 0
    assert divergence(kind, a, b).tolist()[0] == alone[0]
    assert divergence(kind, a[:0], b[:0]).shape == (0,)
    b[1, 4] = math.inf  # does not count there
    assert divergence(kind, a, b, [5, 2, 0]).tolist() == alone and math.isnan(divergence(kind, a, b)[1])


@pytest.mark.parametrize("kind", ["logits", "values"])
def test_gradients_reach_what_is_decoded_and_nothing_else(kind):
    a, b = torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a.requires_grad_(), b.requires_grad_()
    divergence(kind, a, b).sum().backward()
    assert a.grad is None and b.grad is not None
    if kind == "logits":
        expected = (b.softmax(-1) - a.softmax(-1)).detach()  # of cross-entropy
    else:
        expected = (2 * (b - a) / (a - a.mean()).square().sum()).detach()
    torch.testing.assert_close(b.grad, expected, atol=1e-6, rtol=1e-5)


def test_there_are_no_other_kinds():
    with pytest.raises(ValueError, match="'text'; responses are 'logits' or 'values'"):
        divergence("text", torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
