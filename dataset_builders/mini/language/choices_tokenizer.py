"""The tokenizer of the multiple-choice tasks: whole words, punctuation marks, and letters in brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataset_builders.mini.language.choices import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer; it prepends `<bos>`, pads on the left, and decodes with a space between tokens.

    >>> tokenizer = make_tokenizer()
    >>> tokenizer.tokenize("What is big? piano (A) crate (B) Answer:")
    ['What', 'is', 'big', '?', 'piano', '(A)', 'crate', '(B)', 'Answer', ':']
    >>> tokenizer.decode(tokenizer("the first means the piano (A)").input_ids, skip_special_tokens=True)
    'the first means the piano (A)'
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIAL, *vocabulary()]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("[.,?:]"), behavior="isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokens.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=128,
    )
