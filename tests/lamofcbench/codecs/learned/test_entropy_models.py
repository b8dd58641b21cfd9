"""Tables are integer distributions that agree with the likelihoods that training optimises."""

from __future__ import annotations

import numpy as np
import torch

from lamofcbench.codecs.learned.entropy_models import TABLE_BITS, EntropyBottleneck, GaussianConditional


def rows(model):
    for cdf, offset, length in zip(model._quantized_cdf, model._offset, model._cdf_length, strict=True):
        yield cdf[:length].numpy(), int(offset), int(length)


def test_tables_are_distributions():
    for model in (EntropyBottleneck(4), GaussianConditional()):
        model.update_tables()
        for cdf, offset, length in rows(model):
            assert cdf[0] == 0
            assert cdf[-1] == 2**TABLE_BITS
            assert (np.diff(cdf) >= 1).all()
            assert offset <= 0
            assert length == len(cdf)


def test_gaussian_tables_are_the_likelihoods():
    model = GaussianConditional()
    model.update_tables()
    for scale, (cdf, offset, _) in zip(model.scale_table, rows(model), strict=True):
        values = torch.arange(len(cdf) - 2) + offset
        likelihoods = model.likelihood(values.float(), scale.expand(len(values))).numpy()
        frequencies = np.diff(cdf)[:-1] / 2**TABLE_BITS
        excess_bits = (likelihoods * (np.log2(likelihoods) - np.log2(frequencies))).sum()
        assert excess_bits < 0.03  # what the floor of one in 65536 costs where a table has 3129 entries


def test_bottleneck_tables_are_the_likelihoods():
    model = EntropyBottleneck(3).eval()
    with torch.no_grad():
        model.quantiles[:, 0, 1] += torch.tensor([0.3, -1.2, 2.0])
    model.update_tables()
    for channel, (cdf, offset, _) in enumerate(rows(model)):
        values = model.medians[channel] + torch.arange(len(cdf) - 2) + offset
        z = torch.zeros(1, 3, 1, len(values))
        z[0, channel] = values
        with torch.no_grad():
            likelihoods = model(z)[1][0, channel, 0].numpy()
        assert np.abs(np.diff(cdf)[:-1] / 2**TABLE_BITS - likelihoods).max() < 1e-3


def test_scale_index_is_the_next_level_above():
    model = GaussianConditional()
    model.update_tables()
    table = model.scale_table
    scales = torch.tensor([-1.0, 0.05, float(table[0]), float(table[5]), float(table[5]) * 1.001, 1e9])
    assert model.scale_indices(scales).tolist() == [0, 0, 0, 5, 6, 63]


def test_auxiliary_loss_moves_the_quantiles_alone():
    model = EntropyBottleneck(2)
    model.auxiliary_loss().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == {"quantiles"}
