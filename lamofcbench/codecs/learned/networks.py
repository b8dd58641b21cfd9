"""The networks by the name of their codec."""

from __future__ import annotations

from lamofcbench.codecs.learned.elic import Elic
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior
from lamofcbench.codecs.learned.network import LearnedNetwork

NETWORKS: dict[str, type[LearnedNetwork]] = {"hyperprior": ScaleHyperprior, "elic": Elic}

LAMBDAS = (0.001, 0.004, 0.007, 0.01, 0.02)
"""The rate points: weights of ``255**2`` times the mean squared error against bits a plane element."""
