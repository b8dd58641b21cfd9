"""The two entropy models: their likelihoods for training, and the integer tables that coding uses.

Tables are kept in the buffers that published checkpoints have: ``_quantized_cdf``, int32 ``[tables, longest + 1]``,
each row a cumulative table that ends in ``2**16`` and covers ``_cdf_length - 2`` integers from ``_offset`` on, and
a last entry, the escape, for everything else.

Source: Balle et al., arXiv 1802.01436.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.codecs.learned.layers import LowerBound

TABLE_BITS = 16
"""Frequencies of a table sum to two to this power."""
TAIL_MASS = 1e-9
SCALE_BOUND, LARGEST_SCALE, SCALE_LEVELS = 0.11, 256.0, 64
MAX_SUPPORT = 2**14
"""A table covers at most this many integers; quantiles that ask for more have run away."""

TABLE_BUFFERS = ("_offset", "_quantized_cdf", "_cdf_length")


class EntropyModel(nn.Module):
    """What both models share: the bound of likelihoods, and the table buffers."""

    _offset: Tensor
    _quantized_cdf: Tensor
    _cdf_length: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.likelihood_lower_bound = LowerBound(1e-9)
        for name in TABLE_BUFFERS:
            self.register_buffer(name, torch.empty(0, dtype=torch.int32))

    @property
    def has_tables(self) -> bool:
        """True once `update_tables` has run, or tables were loaded."""
        return self._quantized_cdf.numel() > 0

    def _store_tables(self, probabilities: list[NDArray[np.float64]], offsets: list[int]) -> None:
        """Stores tables from probabilities, each ``[support + 1]`` with the escape's at the end."""
        longest = max(map(len, probabilities))
        cdf = np.zeros((len(probabilities), longest + 1), np.int32)
        for row, p in zip(cdf, probabilities, strict=True):
            row[1 : len(p) + 1] = np.cumsum(_frequencies(p))
        lengths = [len(p) + 1 for p in probabilities]
        device = self._quantized_cdf.device
        self._quantized_cdf = torch.from_numpy(cdf).to(device)
        self._offset = torch.tensor(offsets, dtype=torch.int32, device=device)
        self._cdf_length = torch.tensor(lengths, dtype=torch.int32, device=device)


def _frequencies(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integer frequencies, each at least 1, that sum to ``2**TABLE_BITS``; the larger ones in proportion."""
    total = 2**TABLE_BITS
    weights = probabilities / probabilities.sum()
    low, high = 0.0, float(total)
    while high - low > 1e-9 * total:  # the floor of 1 takes from the others, so they share less than the total
        middle = (low + high) / 2
        low, high = (low, middle) if np.maximum(np.rint(weights * middle), 1).sum() > total else (middle, high)
    frequencies = np.maximum(np.rint(weights * low), 1).astype(np.int64)
    frequencies[np.argsort(-weights, kind="stable")[: total - frequencies.sum()]] += 1
    return frequencies


class EntropyBottleneck(EntropyModel):
    """A learned factorised density for each channel; integers are taken around the channel's median.

    Args:
        channels: how many channels.
    """

    target: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths, init_scale = (1, 3, 3, 3, 3, 1), 10.0
        scale = init_scale ** (1 / (len(widths) - 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            init = math.log(math.expm1(1 / scale / outputs))
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), init)))
            self.biases.append(nn.Parameter(torch.empty(channels, outputs, 1).uniform_(-0.5, 0.5)))
            if layer < len(widths) - 2:
                self.factors.append(nn.Parameter(torch.zeros(channels, outputs, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-init_scale, 0.0, init_scale]).expand(channels, 1, 3).contiguous())
        target = math.log(2 / TAIL_MASS - 1)
        self.register_buffer("target", torch.tensor([-target, 0.0, target]))

    @property
    def medians(self) -> Tensor:
        """Float32 ``[channels]``."""
        return self.quantiles[:, 0, 1]

    def _logits(self, values: Tensor, frozen: bool = False) -> Tensor:
        """Logits of the cumulative density at values ``[channels, 1, n]``; ``frozen``: without gradients to it."""
        for layer, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            factor = self.factors[layer] if layer < len(self.factors) else None
            if frozen:
                matrix, bias, factor = matrix.detach(), bias.detach(), None if factor is None else factor.detach()
            values = torch.matmul(functional.softplus(matrix), values) + bias
            if factor is not None:
                values = values + torch.tanh(factor) * torch.tanh(values)
        return values

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy (training) or rounded z, and the likelihood of each entry; both ``[B, channels, H, W]``."""
        batch, channels, height, width = z.shape
        values = z.float().transpose(0, 1).reshape(channels, 1, -1)
        medians = self.medians.detach()[:, None, None]
        if self.training:
            values = values + torch.empty_like(values).uniform_(-0.5, 0.5)
        else:
            values = torch.round(values - medians) + medians
        likelihoods = torch.sigmoid(self._logits(values + 0.5)) - torch.sigmoid(self._logits(values - 0.5))
        likelihoods = self.likelihood_lower_bound(likelihoods)
        shape = (channels, batch, height, width)
        return values.reshape(shape).transpose(0, 1), likelihoods.reshape(shape).transpose(0, 1)

    def auxiliary_loss(self) -> Tensor:
        """How far the quantiles are from bounding all but `TAIL_MASS` of each channel, and from its median."""
        return torch.abs(self._logits(self.quantiles, frozen=True) - self.target).sum()

    @torch.no_grad()
    def update_tables(self) -> None:
        """Makes the tables from density and quantiles."""
        quantiles = self.quantiles[:, 0].double()
        below = torch.clamp(torch.ceil(quantiles[:, 1] - quantiles[:, 0]), 0, MAX_SUPPORT // 2 - 1).int().tolist()
        above = torch.clamp(torch.ceil(quantiles[:, 2] - quantiles[:, 1]), 0, MAX_SUPPORT // 2 - 1).int().tolist()
        longest = max(b + a + 1 for b, a in zip(below, above, strict=True))
        starts = self.medians - torch.tensor(below, device=self.quantiles.device)
        edges = starts[:, None, None] - 0.5 + torch.arange(longest + 1, device=self.quantiles.device)
        cumulative = torch.sigmoid(self._logits(edges).double())[:, 0].cpu().numpy()
        probabilities = []
        for row, b, a in zip(cumulative, below, above, strict=True):
            inside = row[: b + a + 2]
            escape = max(inside[0] + 1 - inside[-1], TAIL_MASS)
            probabilities.append(np.append(np.maximum(np.diff(inside), 0), escape))
        self._store_tables(probabilities, [-b for b in below])


class GaussianConditional(EntropyModel):
    """A Gaussian for each entry, of a given scale and mean; coding rounds the scale up to one of 64 levels."""

    scale_table: Tensor
    scale_bound: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lower_bound_scale = LowerBound(SCALE_BOUND)
        self.register_buffer("scale_table", torch.empty(0))
        self.register_buffer("scale_bound", torch.tensor([SCALE_BOUND]))

    def likelihood(self, values: Tensor, scales: Tensor) -> Tensor:
        """The probability of the unit interval around each value, which has mean 0."""
        scales, values = self.lower_bound_scale(scales.float()), torch.abs(values.float())
        upper, lower = _normal_cumulative((0.5 - values) / scales), _normal_cumulative((-0.5 - values) / scales)
        bounded: Tensor = self.likelihood_lower_bound(upper - lower)
        return bounded

    def forward(self, y: Tensor, scales: Tensor, means: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Noisy (training) or rounded y, and the likelihood of each entry."""
        if self.training:
            outputs = y + torch.empty_like(y).uniform_(-0.5, 0.5)
        elif means is None:
            outputs = torch.round(y)
        else:
            outputs = torch.round(y - means) + means
        return outputs, self.likelihood(outputs if means is None else outputs - means, scales)

    def scale_indices(self, scales: Tensor) -> Tensor:
        """The smallest level that is not below each scale, int32 in the scales' shape; the last one for larger ones."""
        return torch.bucketize(scales.contiguous(), self.scale_table[:-1].to(scales.dtype), out_int32=True)

    @torch.no_grad()
    def update_tables(self) -> None:
        """Makes the tables, and the table of scales where there is none."""
        device = self.scale_table.device
        if not self.scale_table.numel():
            logs = torch.linspace(math.log(SCALE_BOUND), math.log(LARGEST_SCALE), SCALE_LEVELS)
            self.scale_table = torch.exp(logs).to(device)
        probabilities, offsets = [], []
        for scale in self.scale_table.double().tolist():
            half = math.ceil(scale * _TAIL_DEVIATIONS)
            edges = (torch.arange(-half, half + 2, dtype=torch.float64) - 0.5) / scale
            cumulative = _normal_cumulative(edges).numpy()
            # The upper half mirrors the lower one, where differences keep their precision.
            lower = np.diff(cumulative)[: half + 1]
            probabilities.append(np.concatenate([lower, lower[:-1][::-1], [2 * cumulative[0]]]))
            offsets.append(-half)
        self._store_tables(probabilities, offsets)


_TAIL_DEVIATIONS = 6.109410204869  # the standard normal leaves TAIL_MASS outside of plus and minus this


def _normal_cumulative(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x * -(0.5**0.5))
