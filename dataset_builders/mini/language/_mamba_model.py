"""The Falcon-Mamba decoders of the language tasks, with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataset_builders.mini.language._language_training import generation_settings

if TYPE_CHECKING:
    from transformers import FalconMambaForCausalLM, PreTrainedTokenizerFast


def make_mamba(
    tokenizer: PreTrainedTokenizerFast, max_new_tokens: int, layers: int = 8, hidden: int = 128, states: int = 8
) -> FalconMambaForCausalLM:
    """Returns a decoder with random weights; the split stands after layer 4 of its 8."""
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    config = FalconMambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        state_size=states,
        num_hidden_layers=layers,
        tie_word_embeddings=True,
        # The defaults are meant for wide and deep models; at this size they slow the start.
        initializer_range=0.05,
        rescale_prenorm_residual=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = FalconMambaForCausalLM(config)
    # It is meant for new weights, but the library rescales loaded ones as well.
    model.config.rescale_prenorm_residual = False
    model.generation_config = generation_settings(tokenizer, max_new_tokens)
    return model
