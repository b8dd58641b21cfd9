"""Negative log-likelihood of real text: how surprised a language model is by each of its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import AdditiveMetric
from lamofcbench.errors import DataError


class NegativeLogLikelihood(AdditiveMetric):
    """Mean over all scored tokens of minus the natural logarithm of their probabilities, in nats a token.

    The logarithm of the perplexity. Every token counts the same, whichever sample it is of.

    Args:
        vocabulary: the number of tokens that the model chooses from; guessing scores its logarithm.
    """

    name = "negative-log-likelihood"
    direction = "down"
    accepts = ("logprobs",)

    def __init__(self, vocabulary: int = 2**16) -> None:
        super().__init__(vocabulary=vocabulary)
        if vocabulary < 2:
            raise DataError(f"a vocabulary of {vocabulary} tokens leaves nothing to predict; it has at least 2")
        self.range = (0.0, math.log(vocabulary))

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``nats``, the sum over the sample's tokens, and ``tokens``, their number."""
        log_probabilities = np.asarray(prediction, dtype=np.float64)
        return {"nats": float(-log_probabilities.sum()), "tokens": float(log_probabilities.size)}

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """Nats over tokens."""
        return sums["nats"] / sums["tokens"]

    def details(self, statistics: Mapping[str, np.ndarray]) -> Mapping[str, float]:
        """The score in bits a token, and the perplexity."""
        nats = self.score(statistics)
        return {"bits_per_token": nats / math.log(2), "perplexity": math.exp(min(nats, 700.0))}
