"""The tail's metric: what an error in a row costs, as far as averaged gradients tell.

A sensitivity E[g g^T] (`lamofcbench.codecs.sensitivity`) is made of few gradients and holds nothing of directions that
none of them met. So it is mixed with a multiple of the mean of its own diagonal over each tensor. How much of that is
right depends on how many samples there are and how alike they are: it is chosen by what a transform that was fitted to
one half of the samples does in the metric of the other. Halves cannot tell how far gradients hold, which errors of
coarse steps leave behind; so of those that do about as well the one that trusts gradients least is taken, and none at
all where weights bring less than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.sensitivity import RowSensitivity
from lamofcbench.codecs.transform.rows import RowGroup

MIXINGS = (0.1, 0.3, 1.0, 3.0)
"""How much of its own mean diagonal a metric may be mixed with."""
TOLERANCE = 0.1
"""What loses no more than this part in addition does as well."""
DEFAULT_MIXING = 1.0
"""Where there are too few samples to tell."""
MIXING_ACROSS = 0.1
"""What part of the mixing the metric over places gets: it is measured on all columns together."""
LEAST_SHARE = 1e-7
"""No column matters less than this part of what matters most."""
NMSE = (0.3, 0.1, 0.03)
"""The shares of the distortion, of a middling candidate, at whose rates candidates are compared."""
_LEVELS = np.geomspace(1.0, 1e-7, 48)

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """A transform of one kind of rows: coefficients are ``analysis @ row``, rows ``synthesis @ coefficients``.

    Attributes:
        analysis: float64 ``[K, C]``, by falling variance of coefficients in the metric.
        synthesis: what the coefficients say of the row, with the least squared error, ``[C, K]``.
        variances: of the coefficients, ``[K]``.
    """

    analysis: Wide
    synthesis: Wide
    variances: Wide


def weighted_pair(covariance: Wide, root: Wide, rank: int) -> Pair:
    """The transform of least distortion in a metric, whatever the rate: Karhunen-Loeve's after the metric's root.

    Args:
        covariance: of rows, ``[C, C]``.
        root: a matrix L, ``[C, C]``, with L L^T the metric.
        rank: the most directions that it keeps.
    """
    rows, weight = torch.from_numpy(covariance), torch.from_numpy(root)
    values, vectors = torch.linalg.eigh(weight.T @ rows @ weight)
    values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    values = values.clamp(min=1e-14 * float(values.max()) if len(values) else 0.0).clamp(min=1e-300)
    analysis = vectors.T @ weight.T
    synthesis = (rows @ analysis.T) / values
    return Pair(analysis.numpy(), synthesis.numpy(), values.numpy())


def converted(sensitivity: RowSensitivity, kind: int, scale: NDArray[np.float32], half: int | None = None) -> Wide:
    """E[g g^T] of a kind of rows, or its factor, in other units of columns than it was measured in."""
    factors = scale.astype(np.float64) / sensitivity.scale
    matrix = sensitivity.metric(kind, half) * factors
    return matrix if sensitivity.is_factored else matrix * factors[:, None]


def diagonal(group: RowGroup, matrix: Wide, factored: bool = False) -> Wide:
    """The mean of the diagonal over each tensor's columns, ``[C]``; at least `LEAST_SHARE` of the largest."""
    own = np.square(matrix).sum(0) if factored else np.diagonal(matrix)
    means = np.zeros(group.width)
    for columns in group.columns.values():
        if columns.stop > columns.start:
            means[columns] = own[columns].mean()
    return np.maximum(means, LEAST_SHARE * means.max(initial=0.0))


def mixed(group: RowGroup, matrix: Wide, mixing: float) -> Wide:
    """A metric with a multiple of its own diagonal, tensor by tensor, ``[C, C]``."""
    return (matrix + mixing * np.diag(diagonal(group, matrix))) / (1.0 + mixing)


def root_of(metric: Wide) -> Wide:
    """A lower triangular L with L L^T the metric."""
    tiny = 1e-12 * float(np.trace(metric)) / max(len(metric), 1)
    return torch.linalg.cholesky(torch.from_numpy(metric + tiny * np.eye(len(metric)))).numpy()


@dataclass(frozen=True)
class Halves:
    """What choosing a mixing goes by, of one kind of rows.

    Attributes:
        covariances: of rows, of each half of the samples, float64 ``[C, C]``.
        metrics: E[g g^T], of each half.
        share: of all rows that are of this kind.
    """

    covariances: tuple[Wide, Wide]
    metrics: tuple[Wide, Wide]
    share: float


def best_mixing(group: RowGroup, kinds: list[Halves]) -> float | None:
    """The largest mixing whose transforms do about best on halves they were not fitted to; None where no weights do.

    Args:
        group: of tensors.
        kinds: of rows.
    """
    curves = {mixing: _curve(group, kinds, mixing) for mixing in (None, *MIXINGS)}
    rates, distortions = curves[DEFAULT_MIXING]
    wanted = np.interp(-np.log(NMSE), -np.log(distortions), rates)
    costs = {mixing: float(np.interp(wanted, r, np.log(d)).mean()) for mixing, (r, d) in curves.items()}
    most = min(costs.values()) + float(np.log1p(TOLERANCE))
    return next(mixing for mixing in (None, *reversed(MIXINGS)) if costs[mixing] <= most)


def _curve(group: RowGroup, kinds: list[Halves], mixing: float | None) -> tuple[Wide, Wide]:
    """Rates by rising bits a row, and the shares of the distortion that are left, on halves not fitted to."""
    pairs = []
    for each in kinds:
        for fitted in (0, 1):
            own = each.metrics[fitted]
            mean = np.eye(group.width) * np.trace(own) / group.width if mixing is None else mixed(group, own, mixing)
            pair = weighted_pair(each.covariances[fitted], root_of(mean), group.width)
            pairs.append((pair, each.covariances[1 - fitted], each.metrics[1 - fitted], each.share))
    highest = max(float(pair.variances.max()) for pair, *_ in pairs)
    rates, lost = np.zeros(len(_LEVELS)), np.zeros(len(_LEVELS))
    whole = 0.0
    for pair, covariance, metric, share in pairs:
        r, d, all_of_it = _against(pair, covariance, metric, highest * _LEVELS)
        rates, lost, whole = rates + share * r, lost + share * d, whole + share * all_of_it
    return np.maximum.accumulate(rates), np.minimum.accumulate(np.maximum(lost, 1e-300)) / max(whole, 1e-300)


def _against(pair: Pair, covariance: Wide, metric: Wide, levels: Wide) -> tuple[Wide, Wide, float]:
    """Rate and distortion of a transform on other samples, at levels of noise; and what there is to be lost.

    Of coefficients whose variance is above the level the noise is the level, all others are taken for zero.
    """
    analysis, synthesis = torch.from_numpy(pair.analysis), torch.from_numpy(pair.synthesis)
    rows, cost = torch.from_numpy(covariance), torch.from_numpy(metric)
    seen = analysis @ rows
    costly = cost @ synthesis
    spread = seen @ analysis.T
    carried = synthesis.T @ costly
    # Of the leading r directions, each sum over the leading r x r block.
    explained = torch.cumsum((seen * costly.T).sum(1), 0)
    again = torch.diagonal(torch.cumsum(torch.cumsum(carried * spread, 0), 1))
    noise = torch.cumsum(torch.diagonal(carried), 0)
    whole = float((cost * rows).sum())
    variances = torch.diagonal(spread).clamp(min=1e-300).numpy()
    rates, lost = np.zeros(len(levels)), np.full(len(levels), whole)
    for at, level in enumerate(levels):
        kept = int((pair.variances > level).sum())
        if kept:
            rates[at] = 0.5 * np.log2(np.maximum(variances[:kept] / level, 1.0)).sum()
            lost[at] = whole + float(again[kept - 1] - 2 * explained[kept - 1]) + level * float(noise[kept - 1])
    return rates, lost, whole
