"""Scoring a given text behind a decoded prompt is what the full model does in one pass, token by token or together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest_models import fill_with_nan, randomised
from torch import Tensor

from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.models.decoder_continuation import CONTINUATION, DecoderContinuationModel

TEXTS = ["12+7=?19", "how many apples are 3 and 14?", "9+9+9+9", "seven"]
SCORED = 4


@pytest.fixture(scope="module", params=[{}, {"tie_word_embeddings": False}, {"attn_implementation": "eager"}], ids=str)
def model(request: Any, make_decoder: Any, tokenizer: Any) -> DecoderContinuationModel:
    return DecoderContinuationModel(make_decoder(**request.param), tokenizer, 4, continuation_tokens=SCORED)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_tail_gives_the_full_models_log_probabilities_alone_and_in_a_ragged_batch(model: Any) -> None:
    features = [model.front(text) for text in TEXTS]
    expected = [model.full(text) for text in TEXTS]
    for text, one, together, full in zip(TEXTS, features, model.tail(features), expected, strict=True):
        assert full.shape == (SCORED,) and full.dtype is torch.float32 and bool((full < 0).all())
        assert len(one["hidden"]) + SCORED == len(model.token_ids(text))
        close(model.tail([one])[0], full)
        close(together, full)


def test_the_first_token_is_scored_to_the_last_bit(model: Any) -> None:
    for text in TEXTS:
        features = model.front(text)
        logits = model.continuation_logits([features], [features.given[CONTINUATION]])[0]
        assert torch.equal(logits[0], model.prefill_logits([features])[0])


def test_all_tokens_at_once_are_the_tokens_of_generation_one_by_one(model: Any) -> None:
    """Forced to the tokens that greedy generation chooses, each step prefers the next of them."""
    features = [model.front(text) for text in TEXTS]
    chosen = [torch.tensor(tokens) for tokens in model.generate_tokens(features, max_new_tokens=6)]
    for logits, tokens in zip(model.continuation_logits(features, chosen), chosen, strict=True):
        assert logits[: len(tokens)].argmax(-1).tolist() == tokens.tolist()


def test_continuations_may_differ_in_length(model: Any) -> None:
    features = [model.front(text) for text in TEXTS]
    continuations = [torch.arange(4, 4 + length) for length in (1, 5, 2, 7)]
    together = model.continuation_logits(features, continuations)
    assert together.shape[:2] == (4, 7)
    for one, tokens, logits in zip(features, continuations, together, strict=True):
        close(logits[: len(tokens)], model.continuation_logits([one], [tokens])[0])
        assert not logits[len(tokens) :].any()
    short = model.continuation_logits(features, [tokens[:1] for tokens in continuations])
    for first, logits in zip(short, together, strict=True):
        close(first, logits[:1])


def test_the_front_runs_for_new_tokens_alone(make_decoder: Any, tokenizer: Any) -> None:
    model = DecoderContinuationModel(make_decoder(), tokenizer, 4, continuation_tokens=SCORED)
    features = [model.front(text) for text in TEXTS]
    before = torch.stack(model.tail(features))
    fill_with_nan(model.front_modules())
    after = torch.stack(model.tail(features))
    assert torch.equal(after[:, 0], before[:, 0]) and bool(after[:, 1:].isnan().all())


def test_every_tensor_counts(model: Any) -> None:
    features = model.front(TEXTS[1])
    expected = model.tail([features])[0]
    for name in features:
        noise = torch.randn(features[name].shape, generator=torch.Generator().manual_seed(1))
        changed = {key: tensor + 2 * noise if key == name else tensor for key, tensor in features.tensors.items()}
        found = model.tail([FeatureSet(changed, given=features.given)])[0]
        assert torch.equal(found[0], expected[0]) == (name != "hidden"), name
        assert not torch.allclose(found[1:], expected[1:]), f"{name} is dead"


def test_gradients_reach_every_feature_where_they_are_on(model: Any) -> None:
    features = model.front(TEXTS[1])
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in features.tensors.items()}
    [logits] = model.continuation_logits([FeatureSet(leaves)], [features.given[CONTINUATION]])
    logits.log_softmax(-1).square().sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves.values())


def test_the_response_is_what_the_tail_scores_with(model: Any) -> None:
    features = [model.front(text) for text in TEXTS]
    assert [one.given for one in model.conditioned(features)] == [one.given for one in features]
    response = model.response(features)
    assert model.response_lengths(features) == [SCORED] * len(TEXTS)
    for one, logits, scored in zip(features, response, model.tail(features), strict=True):
        chosen = logits.log_softmax(-1).gather(-1, one.given[CONTINUATION][:, None])[:, 0]
        torch.testing.assert_close(scored, chosen, atol=0, rtol=0)


def test_the_continuation_stands_beside_the_features_and_not_among_them(model: Any) -> None:
    features = model.front(TEXTS[0])
    assert list(features.given) == [CONTINUATION] and CONTINUATION not in features
    assert features.given[CONTINUATION].dtype is torch.int64
    assert features.given[CONTINUATION].tolist() == model.token_ids(TEXTS[0])[-SCORED:].tolist()
    prompt = DecoderSplitModel.front(model, model.token_ids(TEXTS[0])[:-SCORED])
    assert all(torch.equal(prompt[name], features[name]) for name in features)


def test_a_text_no_longer_than_what_is_scored_is_an_error(model: Any) -> None:
    with pytest.raises(ScenarioError, match="leaves no prompt before the 4 scored"):
        model.front("abc")
    assert model.tail([]) == []


def test_a_llama_scores_the_same_way(tokenizer: Any) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 36, "intermediate_size": 48, "num_attention_heads": 9, "num_key_value_heads": 3}
    config = LlamaConfig(vocab_size=len(tokenizer), num_hidden_layers=4, eos_token_id=None, **sizes)
    llama = randomised(LlamaForCausalLM(config), spread=0.3)
    model = DecoderContinuationModel(llama, tokenizer, 1, continuation_tokens=SCORED)
    for text, found in zip(TEXTS, model.tail([model.front(text) for text in TEXTS]), strict=True):
        close(found, model.full(text))
