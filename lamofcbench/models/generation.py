"""Rules of greedy generation beyond its limit and end tokens: strings that end a text, and a penalty on repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class GenerationRules:
    """What a scenario's options say about generation.

    Attributes:
        stop_strings: the first of them that the new text holds ends it, and does not belong to it.
        repetition_penalty: p: the logits of tokens that were generated lately are divided by p where positive, and
            multiplied by it where negative; 1 for none. Tokens of the prompt are not counted.
        repetition_window: w: how many of the last generated tokens are penalised, once more than w were generated.
    """

    stop_strings: tuple[str, ...] = ()
    repetition_penalty: float = 1.0
    repetition_window: int = 16

    def keywords(self, tokenizer: Any, prompt_tokens: int) -> dict[str, Any]:
        """What ``generate`` of transformers is given for them.

        Args:
            tokenizer: of the text.
            prompt_tokens: how many of the tokens that ``generate`` holds are the prompt's; none where it was given
                embeddings.
        """
        keywords: dict[str, Any] = {}
        if self.repetition_penalty != 1:
            from transformers import LogitsProcessorList

            penalty = _RepetitionPenalty(self.repetition_penalty, self.repetition_window, prompt_tokens)
            keywords["logits_processor"] = LogitsProcessorList([penalty])
        if self.stop_strings:
            from transformers import StoppingCriteriaList

            keywords["stopping_criteria"] = StoppingCriteriaList([_StopAtStrings(self, tokenizer, prompt_tokens)])
        return keywords

    def ended(self, tokenizer: Any, tokens: list[int]) -> list[int]:
        """New tokens up to and including the one that completes a stop string; in a batch others may follow it."""
        if self.stop_strings:
            for end in range(1, len(tokens) + 1):
                if self.stops(tokenizer, tokens[:end]):
                    return tokens[:end]
        return tokens

    def stops(self, tokenizer: Any, tokens: Sequence[int]) -> bool:
        """Whether a stop string is complete at the end of new tokens, if it was not before."""
        # A token that is seen has at least a byte.
        last = list(tokens[-max(len(text.encode()) for text in self.stop_strings) :])
        text = str(tokenizer.decode(last, skip_special_tokens=False))
        return any(stop in text for stop in self.stop_strings)

    def cut(self, text: str) -> str:
        r"""A new text without its first stop string and what follows it.

        Example:
            >>> GenerationRules(stop_strings=(".", "\n\n")).cut("B. because\n\n")
            'B'
        """
        places = [place for place in (text.find(stop) for stop in self.stop_strings) if place >= 0]
        return text[: min(places)] if places else text


class _StopAtStrings:
    """Ends the sequences of a batch whose new text holds a stop string."""

    def __init__(self, rules: GenerationRules, tokenizer: Any, prompt_tokens: int) -> None:
        self.rules, self.tokenizer, self.prompt_tokens = rules, tokenizer, prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:
        """Bool ``[B]``, from tokens int64 ``[B, n]``."""
        rows = input_ids[:, self.prompt_tokens :].tolist()
        ends = [self.rules.stops(self.tokenizer, row) for row in rows]
        return torch.tensor(ends, dtype=torch.bool, device=input_ids.device)


class _RepetitionPenalty:
    """Makes tokens less likely that were generated lately."""

    def __init__(self, penalty: float, window: int, prompt_tokens: int) -> None:
        self.penalty, self.window, self.prompt_tokens = penalty, window, prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits ``[B, vocabulary]``, from tokens int64 ``[B, n]`` and logits."""
        generated = input_ids[:, self.prompt_tokens :]
        if generated.shape[1] <= self.window:
            return scores
        lately = generated[:, -self.window :]
        logits = scores.gather(1, lately)  # a token that came twice is penalised once
        return scores.scatter(1, lately, torch.where(logits < 0, logits * self.penalty, logits / self.penalty))
