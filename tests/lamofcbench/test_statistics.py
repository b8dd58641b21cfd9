import math

import numpy as np
import pytest
import torch
from scipy import stats

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec
from lamofcbench.statistics import tensor_statistics

TOKENS = Axis(name="tokens", limit=100)
HIDDEN = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=(TOKENS, 6), dtype="float32"),))


def correlated_samples(seed=0, lengths=(30, 41, 7)):
    """Tokens follow each other, channels share a part, and two channels are a thousand times the others."""
    source = np.random.default_rng(seed)
    samples = []
    for length in lengths:
        values = source.standard_normal((length, 6)).cumsum(axis=0) + source.standard_normal((length, 1)) + 5
        samples.append(torch.from_numpy(values * [1, 1000, 2, 3, -2000, 0.5]).float())
    return samples


def measured(samples, specs=HIDDEN):
    name = specs.tensors[0].name
    [found] = tensor_statistics([FeatureSet({name: s}) for s in samples], specs, len(samples))
    return found


@pytest.mark.parametrize("part", ["all", "without_largest"])
def test_figures_are_those_of_the_values_joined(part):
    samples = correlated_samples()
    spread = getattr(measured(samples), part)
    chosen = list(range(6)) if part == "all" else [0, 2, 3, 5]
    joined = np.concatenate([s.numpy().astype(np.float64) for s in samples])[:, chosen]
    assert spread.channels == len(chosen)
    assert (spread.minimum, spread.maximum) == (joined.min(), joined.max())
    quartiles = (spread.lower_quartile, spread.median, spread.upper_quartile)
    assert quartiles == pytest.approx(np.quantile(joined, (0.25, 0.5, 0.75)))
    assert spread.kurtosis == pytest.approx(stats.kurtosis(joined, axis=None))
    root = np.sqrt((joined**2).mean(axis=0))
    assert spread.channel_spread == pytest.approx(root.max() / np.median(root))
    correlation = np.abs(np.corrcoef(joined.T))
    off_diagonal = correlation[~np.eye(len(chosen), dtype=bool)]
    assert spread.channel_correlation == pytest.approx(off_diagonal.mean())
    centred = [s.numpy()[:, chosen] - joined.mean(axis=0) for s in samples]
    pairs = sum(len(s) - 1 for s in samples)
    products = sum((s[:-1] * s[1:]).sum() for s in centred) / pairs
    assert spread.token_correlation == pytest.approx(products / joined.var(axis=0).sum(), rel=1e-6)


def test_high_moments_survive_a_large_mean():
    values = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0)) + 1e5
    assert abs(measured([values]).all.kurtosis) < 0.3


def test_caches_are_looked_at_token_by_token():
    specs = FeatureSpecs(tensors=(TensorSpec(name="key.0", role="key", shape=(2, TOKENS, 3), dtype="bfloat16"),))
    key = torch.zeros(2, 5, 3, dtype=torch.bfloat16)
    key[1, :, 2] = 8
    found = measured([key], specs)
    assert (found.dtype, found.elements, found.all.channels) == ("bfloat16", 30, 6)
    assert found.all.maximum == 8 and found.without_largest.maximum == 0
    assert found.all.channel_spread == math.inf


def test_what_is_undefined_is_nan():
    found = measured([torch.full((1, 6), 2.0)])
    assert math.isnan(found.all.kurtosis) and math.isnan(found.all.token_correlation)
    assert math.isnan(found.all.channel_correlation)


def test_quartiles_of_large_tensors_come_from_evenly_spaced_rows(monkeypatch):
    monkeypatch.setattr("lamofcbench.statistics.SAMPLED_VALUES", 600)
    values = torch.linspace(0, 1, 6000).view(-1, 6)
    found = measured(list(values.split(50)))
    assert found.all.median == pytest.approx(0.5, abs=0.02)
    assert (found.all.minimum, found.all.maximum) == (0, 1)
