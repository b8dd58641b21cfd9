"""Fidelity: what the tail makes of decoded features beside what it makes of uncoded ones, before it decides.

Logits are compared by their Kullback-Leibler divergence in nats; values by their squared error, which results divide by
the energy of the uncoded ones (`harness.statistics.divergence`). Both are sums of a sample, so that means over samples
and their intervals are ratios of sums: a response that hardly varies has no share of its own in them.

The response to uncoded features is made once for each batch, and kept for the codecs that follow as far as memory
allows: every codec meets the same batches in the same order, so what came first stays, and the rest is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.results.record import DIVERGENCE, POSITIONS, RESPONSE_ENERGY, RESPONSE_ERROR, Record
from harness.statistics.divergence import energy, kl_divergence, squared_error
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel

KEPT_BYTES = 384 * 2**20
"""Of responses to uncoded features, in one process."""


@dataclass(frozen=True)
class _Uncoded:
    """What is kept of a batch of uncoded features.

    Attributes:
        given: what stands beside each sample, what its response is conditioned on included.
        response: ``[B, N, K]``; None where there was no memory for it.
    """

    given: list[Mapping[str, Tensor]]
    response: Tensor | None


class Fidelity:
    """Compares the responses to decoded and to uncoded features.

    Args:
        model: one that shows responses.
        kept_bytes: the most memory of responses that is kept.
    """

    def __init__(self, model: SplitModel, kept_bytes: int = KEPT_BYTES) -> None:
        self.model, self._free_bytes = model, kept_bytes
        self._uncoded: dict[int, _Uncoded] = {}

    def tail(
        self, number: int, stored: Sequence[FeatureSet], decoded: Sequence[FeatureSet]
    ) -> tuple[list[Any], list[Record]]:
        """The predictions from decoded features, and the columns that say how faithful the responses are.

        Args:
            number: of the batch, by which it is known again.
            stored: uncoded features, beside what the scenario gives.
            decoded: what came of them, beside the same.
        """
        given, expected = self._to_uncoded(number, stored)
        conditioned = [features.with_given(beside) for features, beside in zip(decoded, given, strict=True)]
        predictions, found = self.model.tail_and_response(conditioned)
        lengths = self.model.response_lengths(conditioned)
        columns: list[Record] = [
            {**self._compared(expected[row, :length], found[row, :length]), POSITIONS: length}
            for row, length in enumerate(lengths)
        ]
        return predictions, columns

    def _compared(self, expected: Tensor, found: Tensor) -> Record:
        if self.model.response_kind == "logits":
            return {DIVERGENCE: kl_divergence(expected, found)}
        return {RESPONSE_ERROR: float(squared_error(expected, found)), RESPONSE_ENERGY: float(energy(expected))}

    def _to_uncoded(self, number: int, stored: Sequence[FeatureSet]) -> tuple[list[Mapping[str, Tensor]], Tensor]:
        """What stands beside each sample of a batch, and the response to it."""
        known = self._uncoded.get(number)
        if known is None:
            conditioned = self.model.conditioned(stored)
            response = self.model.response(conditioned)
            size = response.numel() * response.element_size()
            kept = size <= self._free_bytes
            self._free_bytes -= size if kept else 0
            self._uncoded[number] = _Uncoded([one.given for one in conditioned], response if kept else None)
            return [one.given for one in conditioned], response
        if known.response is not None:
            return known.given, known.response
        beside = [features.with_given(given) for features, given in zip(stored, known.given, strict=True)]
        return known.given, self.model.response(beside)
