"""The tokenizer of mini-clu-arithmetic: whole words with their leading space, digits as single characters."""

from typing import TYPE_CHECKING

from dataset_builders.mini.language._word_tokenizer import word_tokenizer
from dataset_builders.mini.language.arithmetic_problems import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

RESULT_MARK = " #### "
# A space before a digit is a token of its own, so that a digit has one embedding wherever it stands.
PIECES = rf"{RESULT_MARK}| ?[A-Za-z]+|[^A-Za-z ]| "


def make_tokenizer() -> "PreTrainedTokenizerFast":
    """Returns the tokenizer; it prepends `<bos>`, pads on the left, and decodes to the text it was given.

    >>> tokenizer = make_tokenizer()
    >>> tokenizer.tokenize("Mia has 47 coins.")
    ['Mia', ' has', ' ', '4', '7', ' coins', '.']
    >>> tokenizer.decode(tokenizer("+7815 #### 85").input_ids, skip_special_tokens=True)
    '+7815 #### 85'
    """
    from tokenizers import Regex, decoders, pre_tokenizers

    marks = [*"0123456789", *"+-,.? ", RESULT_MARK]
    words = [word for word in vocabulary() if word.isalpha()]
    splitter = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    return word_tokenizer([*marks, *words, *(f" {word}" for word in words)], splitter, decoders.Fuse())
