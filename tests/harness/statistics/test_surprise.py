"""Surprise is divergence on average, and does not fall silent where divergence does."""

import pytest
import torch

from harness.statistics.divergence import divergence
from harness.statistics.surprise import surprise


def gradients(kind, original, decoded, draws):
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(draws):
        leaf = decoded.clone().requires_grad_(True)
        surprise(kind, original, leaf, [len(original[0])], generator).backward()
        found.append(leaf.grad)
    return torch.stack(found)


def test_its_mean_gradient_is_that_of_the_divergence():
    original, decoded = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    leaf = decoded.clone().requires_grad_(True)
    divergence("logits", original, leaf).sum().backward()
    assert gradients("logits", original, decoded, 4000).mean(0) == pytest.approx(leaf.grad, abs=0.03)


@pytest.mark.parametrize("kind", ["logits", "values"])
def test_its_gradients_do_not_vanish_where_nothing_diverges(kind):
    original = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1))
    decoded = original + (0.01 if kind == "values" else 0.0)
    found = gradients(kind, original, decoded, 500)
    assert found.var(0).mean() > 0.4 * found.square().mean() > 0


def test_positions_behind_a_samples_end_do_not_count():
    original, decoded = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    decoded.requires_grad_(True)
    surprise("logits", original, decoded, [0, 2], torch.Generator().manual_seed(0)).backward()
    assert not decoded.grad[0].any() and not decoded.grad[1, 2].any() and decoded.grad[1, :2].all()
