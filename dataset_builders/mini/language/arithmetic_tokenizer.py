"""The tokenizer of mini-clu-arithmetic: whole words with their leading space, digits as single characters."""

from typing import TYPE_CHECKING

from dataset_builders.mini.language.arithmetic_problems import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN)
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
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = [*"0123456789", *"+-,.? ", RESULT_MARK]
    words = [word for word in vocabulary() if word.isalpha()]
    tokens = [*SPECIAL, *marks, *words, *(f" {word}" for word in words)]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
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
