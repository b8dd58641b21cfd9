"""The tokenizer of the multiple-choice tasks: whole words, punctuation marks, and letters in brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataset_builders.mini.language._word_tokenizer import word_tokenizer
from dataset_builders.mini.language.choices import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer; it prepends `<bos>`, pads on the left, and decodes with a space between tokens.

    >>> tokenizer = make_tokenizer()
    >>> tokenizer.tokenize("What is big? piano (A) crate (B) Answer:")
    ['What', 'is', 'big', '?', 'piano', '(A)', 'crate', '(B)', 'Answer', ':']
    >>> tokenizer.decode(tokenizer("the first means the piano (A)").input_ids, skip_special_tokens=True)
    'the first means the piano (A)'
    """
    from tokenizers import Regex, pre_tokenizers

    marks = pre_tokenizers.Split(Regex("[.,?:]"), behavior="isolated")
    return word_tokenizer(vocabulary(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks]))
