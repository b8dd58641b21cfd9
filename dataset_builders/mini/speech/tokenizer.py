"""The tokenizer of the mini speech model: whole words, and the special tokens that order the two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataset_builders.mini.speech.grammar import Task, vocabulary
from lamofcbench.models.kimi_audio import (
    ANSWER_IN_TEXT,
    ASSISTANT,
    BLANK,
    MEDIA_BEGIN,
    MEDIA_END,
    MESSAGE_END,
    TEXT_END,
    USER,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Stands in the audio stream where the published model has the tokens of an audio tokenizer.
AUDIO, UNKNOWN = "<|audio|>", "<unk>"
SPECIAL = (UNKNOWN, BLANK, TEXT_END, USER, ASSISTANT, MEDIA_BEGIN, MEDIA_END, ANSWER_IN_TEXT, MESSAGE_END, AUDIO)

INSTRUCTIONS: dict[Task, str] = {
    "transcribe": "write what you hear",
    "request": "do what you hear",
    "choose": "choose the letter",
    "answer": "answer the question",
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer; it adds no special tokens, and words are joined with spaces.

    >>> tokenizer = make_tokenizer()
    >>> tokenizer.decode(tokenizer("find the red box").input_ids)
    'find the red box'
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    instructed = {word for text in INSTRUCTIONS.values() for word in text.split()}
    tokens = [*SPECIAL, *sorted(instructed | set(vocabulary()))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)  # joins tokens with spaces
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=BLANK,
        eos_token=TEXT_END,
        unk_token=UNKNOWN,
        additional_special_tokens=[token for token in SPECIAL if token not in (BLANK, TEXT_END, UNKNOWN)],
        clean_up_tokenization_spaces=False,
        model_max_length=128,
    )
