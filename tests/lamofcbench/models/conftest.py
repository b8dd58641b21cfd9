"""Tiny random models of the real classes, with every weight random: zeros and ones would hide mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest_models import randomised

WORDS = [*"0123456789", *"abcdefghijklmnopqrstuvwxyz", "+", "=", "?"]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A tokenizer of single characters that writes `<bos>` before a prompt."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", *WORDS]
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def make_decoder() -> Callable[..., Any]:
    """Makes a tiny random Qwen3; keywords go to its config."""

    def make(seed: int = 0, **changes: Any) -> Any:
        from transformers import Qwen3Config, Qwen3ForCausalLM

        settings: dict[str, Any] = {
            "vocab_size": 4 + len(WORDS),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": None,
            "tie_word_embeddings": True,
        }
        return randomised(Qwen3ForCausalLM(Qwen3Config(**{**settings, **changes})), seed, spread=0.3)

    return make


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., Any]:
    """Makes a tiny random DINOv3; keywords go to its config."""

    def make(seed: int = 0, **changes: Any) -> Any:
        from transformers import DINOv3ViTConfig, DINOv3ViTModel

        settings: dict[str, Any] = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "patch_size": 8,
            "image_size": 32,
            "num_register_tokens": 4,
        }
        return randomised(DINOv3ViTModel(DINOv3ViTConfig(**{**settings, **changes})), seed)

    return make
