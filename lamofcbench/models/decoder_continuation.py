"""Decoders that score a given text: the log-probability of each token that really follows a prompt.

The features are those of the prompt alone, see `lamofcbench.models.decoder`. The text behind it is given to the tail
(``continuation``, int64 ``[n]``), as whoever asks for its probability has it; codecs do not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.models.language_model import DecoderOptions
from lamofcbench.models.loading import parse_options
from lamofcbench.models.teacher_forcing import CONTINUATION
from lamofcbench.scenarios.base import Scenario


class ContinuationOptions(DecoderOptions):
    """Options of `DecoderContinuationModel`.

    Attributes:
        continuation_tokens: n, how many tokens at the end of each input are scored; the prompt is what stands before.
    """

    continuation_tokens: int


class DecoderContinuationModel(DecoderSplitModel):
    """A decoder with a key-value cache, split after a layer, whose task is to predict the tokens that follow.

    Args:
        continuation_tokens: n, how many tokens are scored.
        settings: see `DecoderSplitModel`.
    """

    name = "decoder-continuation"

    def __init__(self, *arguments: Any, continuation_tokens: int, **settings: Any) -> None:
        # Nothing is generated to be scored; the limit is what the base class asks for.
        settings["max_new_tokens"] = settings.get("max_new_tokens") or continuation_tokens
        super().__init__(*arguments, **settings)
        if continuation_tokens < 1:
            raise ScenarioError(f"continuation_tokens is {continuation_tokens}; at least 1 token is scored")
        self.continuation_tokens = continuation_tokens

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> DecoderContinuationModel:
        """The model of a scenario; its options are `ContinuationOptions`."""
        options = parse_options(ContinuationOptions, scenario)
        return cls._loaded(scenario, directory, device, options, continuation_tokens=options.continuation_tokens)

    def divided(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """The token ids of prompt and continuation.

        Args:
            inputs: a text, or its token ids int64 ``[T + n]``.

        Raises:
            ScenarioError: if there is no prompt before the n tokens.
        """
        ids = self.token_ids(inputs)
        if len(ids) <= self.continuation_tokens:
            raise ScenarioError(
                f"a text of {len(ids)} tokens leaves no prompt before the {self.continuation_tokens} scored"
            )
        return ids[: -self.continuation_tokens], ids[-self.continuation_tokens :]

    def front(self, inputs: Any) -> FeatureSet:
        """Cached features and hidden state of the prompt, and the continuation beside them."""
        prompt, continuation = self.divided(inputs)
        return super().front(prompt).with_given({CONTINUATION: continuation.cpu()})

    @torch.no_grad()
    def tail(self, batch: Sequence[FeatureSet]) -> list[Tensor]:
        """For each feature set the natural logarithms of its tokens' probabilities, float32 ``[n]``."""
        return self.tail_and_response(batch)[0] if batch else []

    def conditioned(self, batch: Sequence[FeatureSet]) -> list[FeatureSet]:
        """The feature sets as they are: the text that is scored stands beside them."""
        return list(batch)

    @torch.no_grad()
    def tail_and_response(self, batch: Sequence[FeatureSet]) -> tuple[list[Any], Tensor]:
        """Both from the same logits."""
        response = self.response(batch)
        tokens = (features.given[CONTINUATION] for features in batch)
        return [
            _log_probabilities(logits[: len(one)], one) for logits, one in zip(response, tokens, strict=True)
        ], response

    @torch.no_grad()
    def full(self, inputs: Any) -> Tensor:
        """The same by the unsplit model, in one forward pass over prompt and continuation."""
        prompt, continuation = self.divided(inputs)
        whole = torch.cat([prompt, continuation])[None]
        logits = self.forward(input_ids=whole, use_cache=False, logits_to_keep=len(continuation) + 1).logits[0, :-1]
        return _log_probabilities(logits, continuation)


def _log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities, float32 ``[n]`` on the CPU, of tokens ``[n]`` from the logits that predict them."""
    chosen = logits.float().log_softmax(-1).gather(-1, tokens.to(logits.device)[:, None])
    return chosen[:, 0].cpu()
