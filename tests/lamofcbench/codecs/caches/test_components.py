import numpy as np
import pytest
import torch

from lamofcbench.codecs.caches import components
from lamofcbench.codecs.caches.components import fit_components, principal_directions, project, reconstruct
from lamofcbench.codecs.caches.tokens import token_groups
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

SPECS = FeatureSpecs(
    tensors=(TensorSpec(name="x", role="hidden", shape=(Axis(name="tokens", limit=4096), 24), dtype="float32"),)
)
[GROUP] = token_groups(SPECS)


def samples(count=12, tokens=30, rank=4, sink=50.0):
    generator = np.random.default_rng(0)
    loadings = generator.normal(size=(rank, 24))
    found = []
    for _ in range(count):
        rows = generator.normal(size=(tokens, rank)) @ loadings + 0.01 * generator.normal(size=(tokens, 24)) + 3.0
        rows[:1] = sink
        found.append(FeatureSet({"x": torch.from_numpy(rows).float()}))
    return found


def test_few_components_hold_rows_of_low_rank():
    fitted = fit_components(GROUP, samples(), sinks=1, skipped=0, scaled=True)
    rows = GROUP.gather(samples(13)[-1])
    basis = fitted.basis[:4]
    restored = reconstruct(project(rows, fitted.means, fitted.units, basis), fitted.means, fitted.units, basis)
    assert np.abs(restored - rows).max() < 0.1
    assert np.allclose(fitted.basis @ fitted.basis.T, np.eye(24), atol=1e-5)


def test_the_same_first_token_in_all_samples_is_its_mean():
    fitted = fit_components(GROUP, samples(), sinks=2, skipped=0, scaled=True)
    assert np.allclose(fitted.means[0], 50.0) and fitted.means.shape == (3, 24)
    assert np.abs(fitted.means[1:]).max() < 10
    assert fitted.first.sum() == 12 and np.abs(fitted.coefficients[fitted.first]).max() < 1e-3


def test_skipped_tokens_do_not_count():
    fitted = fit_components(GROUP, samples(), sinks=1, skipped=1, scaled=True)
    assert np.abs(fitted.means).max() < 10 and not fitted.first.any()


def test_coefficients_are_of_rows_that_their_components_were_not_fitted_to():
    """With one sample of ten rows, the rows themselves would say that nothing is left beyond ten components."""
    [sample] = samples(1, tokens=10, rank=20)
    fitted = fit_components(GROUP, [sample], sinks=0, skipped=0, scaled=True)
    assert fitted.coefficients.shape == (10, 24)
    assert np.square(fitted.coefficients[:, 10:]).sum() > 0.01 * np.square(fitted.coefficients).sum()


def test_wide_rows_are_decomposed_at_random_but_always_alike(monkeypatch):
    generator = np.random.default_rng(1)
    rows = (generator.normal(size=(500, 8)) @ generator.normal(size=(8, 100))).astype(np.float32)
    exact = principal_directions(rows)[:8]
    monkeypatch.setattr(components, "EXACT_WIDTH", 16)
    monkeypatch.setattr(components, "MAX_RANK", 16)
    state = torch.get_rng_state()
    first, second = principal_directions(rows), principal_directions(rows)
    assert np.array_equal(first, second) and torch.equal(torch.get_rng_state(), state)
    assert first.shape == (16, 100)
    assert np.allclose(np.abs((first[:8] * exact).sum(1)), 1, atol=1e-3)


def test_calibration_is_thinned_out_to_a_bound_but_for_sinks(monkeypatch):
    monkeypatch.setattr(components, "MAX_VALUES", 24 * 60)
    fitted = fit_components(GROUP, samples(), sinks=2, skipped=0, scaled=True)
    assert 60 <= len(fitted.coefficients) <= 60 + 2 * 12 + 12


@pytest.mark.parametrize("tokens", [0, 1])
def test_hardly_any_rows_are_enough(tokens):
    fitted = fit_components(GROUP, samples(1, tokens=tokens), sinks=4, skipped=0, scaled=True)
    assert np.isfinite(fitted.means).all() and (fitted.units > 0).all() and np.isfinite(fitted.basis).all()
