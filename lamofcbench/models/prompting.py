"""How a text becomes a decoder's prompt: plain or in the tokenizer's chat template, with special tokens or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamofcbench.errors import ScenarioError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PromptRules:
    """What a scenario's options say about prompts.

    Attributes:
        chat_template: True to put the text as a user's message into the tokenizer's chat template, with thinking
            switched off where the template knows it.
        add_special_tokens: False to keep the tokenizer from adding special tokens to a plain prompt.
        answer_prefix: how the assistant's turn begins in the chat template.
        special_tokens_with_template: True to let the tokenizer add its own to the template's text, too, unless that
            begins with the ``<bos>``.

    Raises:
        ScenarioError: if there is an answer prefix without a chat template.
    """

    chat_template: bool = False
    add_special_tokens: bool = True
    answer_prefix: str = ""
    special_tokens_with_template: bool = False

    def __post_init__(self) -> None:
        if self.answer_prefix and not self.chat_template:
            raise ScenarioError("option answer_prefix begins the assistant's turn; it needs option chat_template")

    def tokens(self, tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
        """The token ids of a prompt.

        Raises:
            ScenarioError: if a chat template is asked for that the tokenizer does not have.
        """
        if not self.chat_template:
            return list(tokenizer(text, add_special_tokens=self.add_special_tokens)["input_ids"])
        if not tokenizer.chat_template:
            raise ScenarioError("option chat_template is set, but the tokenizer has no chat template")
        templated, bos = self.templated(tokenizer, text), tokenizer.bos_token
        adds = self.special_tokens_with_template and not (bos and templated.startswith(bos))
        return list(tokenizer(templated, add_special_tokens=adds)["input_ids"])

    def templated(self, tokenizer: PreTrainedTokenizerBase, text: str) -> str:
        """A prompt in the chat template, up to where the model goes on."""
        messages = [{"role": "user", "content": text}]
        if self.answer_prefix:
            messages.append({"role": "assistant", "content": self.answer_prefix})
        templated = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not self.answer_prefix,
            continue_final_message=bool(self.answer_prefix),
            enable_thinking=False,
        )
        return str(templated)
