"""The split decoder is the full decoder: same logits, same tokens, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest_models import fill_with_nan, randomised

from lamofcbench.errors import PluginError, ScenarioError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.models.injection import StandIn
from lamofcbench.models.restored_layer import keyword_of_cache
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

PROMPTS = ["12+7=?", "", "how many apples are 3 and 14?", "9"]
"""The empty one is a prompt of a single token, <bos>."""
NEW_TOKENS = 8

CONFIGURATIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "grouped queries": (4, {}),
    "one head per query, untied": (2, {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    "one head for all, biases": (5, {"num_key_value_heads": 1, "attention_bias": True}),
    "head wider than its share": (0, {"head_dim": 24, "num_hidden_layers": 3}),
    "split after the last layer": (3, {"num_hidden_layers": 4}),
    "eager attention": (4, {"attn_implementation": "eager"}),
}


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda name: name.replace(" ", "-"))
def split_model(request: Any, make_decoder: Any, tokenizer: Any) -> DecoderSplitModel:
    split, changes = CONFIGURATIONS[request.param]
    model = make_decoder(**changes)
    return DecoderSplitModel(model, tokenizer, split, max_new_tokens=NEW_TOKENS)


@pytest.fixture
def decoder(make_decoder: Any, tokenizer: Any) -> DecoderSplitModel:
    """A model that a test may spoil."""
    return DecoderSplitModel(make_decoder(), tokenizer, 4, max_new_tokens=NEW_TOKENS)


def perturbed(features: FeatureSet, name: str) -> FeatureSet:
    noise = torch.randn(features[name].shape, generator=torch.Generator().manual_seed(1))
    return FeatureSet({key: tensor + 2 * noise if key == name else tensor for key, tensor in features.tensors.items()})


def logits_of_steps(split_model: DecoderSplitModel, run: Callable[[], Any]) -> list[torch.Tensor]:
    """The logits `[B, vocabulary]` of each step of a generation."""
    steps: list[torch.Tensor] = []
    head = split_model.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda module, inputs, output: steps.append(output[:, -1].clone()))
    try:
        run()
    finally:
        handle.remove()
    return steps


def test_one_prompt_gives_the_full_models_logits_to_the_last_bit(split_model: DecoderSplitModel) -> None:
    for prompt in PROMPTS:
        logits = split_model.prefill_logits([split_model.front(prompt)])
        assert torch.equal(logits[0], split_model.full_logits(prompt))


def test_a_ragged_batch_gives_the_full_models_logits(split_model: DecoderSplitModel) -> None:
    logits = split_model.prefill_logits([split_model.front(prompt) for prompt in PROMPTS])
    expected = torch.stack([split_model.full_logits(prompt) for prompt in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_generation_is_that_of_the_full_model_alone_and_in_a_ragged_batch(split_model: DecoderSplitModel) -> None:
    features = [split_model.front(prompt) for prompt in PROMPTS]
    expected = [split_model.full_tokens(prompt) for prompt in PROMPTS]
    assert all(len(tokens) == NEW_TOKENS for tokens in expected)
    assert len({tuple(tokens) for tokens in expected}) == len(PROMPTS)  # the prompts matter
    assert [split_model.generate_tokens([one])[0] for one in features] == expected
    assert split_model.generate_tokens(features) == expected
    assert split_model.tail(features) == [split_model.full(prompt) for prompt in PROMPTS]


def test_padded_samples_stay_right_through_every_step_of_decoding(split_model: DecoderSplitModel) -> None:
    """Wrong positions leave the prefill right and spoil the steps after it, so each step's logits are compared."""
    short, long = split_model.front("9"), split_model.front("how many apples are 3 and 14?")
    batched = logits_of_steps(split_model, lambda: split_model.generate_tokens([short, long]))
    alone = logits_of_steps(split_model, lambda: split_model.full_tokens("9"))
    assert len(batched) == len(alone) == NEW_TOKENS
    for together, single in zip(batched, alone, strict=True):
        torch.testing.assert_close(together[0], single[0], atol=2e-4, rtol=2e-4)


def test_the_prefill_needs_no_weight_of_the_front(make_decoder: Any, tokenizer: Any) -> None:
    for tied in (True, False):
        model = DecoderSplitModel(make_decoder(tie_word_embeddings=tied), tokenizer, 4, max_new_tokens=NEW_TOKENS)
        features = [model.front(prompt) for prompt in PROMPTS]
        logits, first = model.prefill_logits(features), model.generate_tokens(features, max_new_tokens=1)
        assert len(model.front_modules()) == (5 if tied else 6)
        fill_with_nan(model.front_modules())
        assert torch.equal(model.prefill_logits(features), logits)
        assert model.generate_tokens(features, max_new_tokens=1) == first
        assert model.full_logits("9").isnan().all()  # the weights are gone indeed


def test_no_layer_behind_the_split_runs_in_the_front(decoder: DecoderSplitModel) -> None:
    before = decoder.front("12+7=?")
    fill_with_nan(list(decoder.model.model.layers[5:]))
    after = decoder.front("12+7=?")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_hidden_state_decides_the_first_token_and_caches_the_later_ones(decoder: DecoderSplitModel) -> None:
    features = decoder.front("how many apples are 3 and 14?")
    first, second = logits_of_steps(decoder, lambda: decoder.generate_tokens([features], 2))
    for name in features:
        changed = perturbed(features, name)
        other_first, other_second = logits_of_steps(decoder, lambda one=changed: decoder.generate_tokens([one], 2))
        assert torch.equal(first, other_first) == (name != "hidden"), name
        assert not torch.equal(second, other_second), f"{name} is dead"


def test_features_have_the_scenarios_names_shapes_and_order(decoder: DecoderSplitModel) -> None:
    tokens = Axis(name="tokens", limit=64)
    caches = [(f"{role}.{layer}", role, (2, tokens, 8)) for role in ("key", "value") for layer in range(5)]
    specs = FeatureSpecs(
        tensors=tuple(
            TensorSpec(name=name, role=role, shape=shape, dtype="float32")
            for name, role, shape in [*caches, ("hidden", "hidden", (tokens, 32))]
        )
    )
    assert check_features(decoder.front("12+7=?"), specs) == {"tokens": 7}  # six characters behind <bos>


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_stored_in_half_precision_are_computed_on_in_full(decoder: DecoderSplitModel, dtype: Any) -> None:
    stored = [decoder.front(prompt) for prompt in PROMPTS]
    stored = [FeatureSet({name: tensor.to(dtype) for name, tensor in one.tensors.items()}) for one in stored]
    widened = [FeatureSet({name: tensor.float() for name, tensor in one.tensors.items()}) for one in stored]
    assert decoder.prefill_logits(stored).dtype is torch.float32
    assert torch.equal(decoder.prefill_logits(stored), decoder.prefill_logits(widened))
    assert decoder.generate_tokens(stored) == decoder.generate_tokens(widened)


def test_inputs_of_the_tail_are_not_modified(decoder: DecoderSplitModel) -> None:
    features = [decoder.front(prompt) for prompt in PROMPTS]
    copies = [{name: tensor.clone() for name, tensor in one.tensors.items()} for one in features]
    decoder.tail(features)
    assert all(torch.equal(one[name], copy[name]) for one, copy in zip(features, copies, strict=True) for name in one)


def test_padding_is_zeros(decoder: DecoderSplitModel) -> None:
    """Masked attention multiplies padding by zero, so anything but finite numbers would leak."""
    padded = decoder.padded_batch([decoder.front("9"), decoder.front("12+7=?")])
    assert padded.mask.tolist() == [[0] * 5 + [1] * 2, [1] * 7]
    assert padded.positions.tolist() == [[0] * 6 + [1], list(range(7))]
    for tensor in (padded.hidden, *(tensor for memory in padded.memories for tensor in memory)):
        assert not tensor[0, ..., :5, :].any()


def test_the_model_is_as_before_after_use_and_after_failure(
    decoder: DecoderSplitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, before = list(decoder.model.model.layers), decoder.full_logits("12+7=?")
    parameters = [name for name, _ in decoder.model.named_parameters()]
    features = decoder.front("12+7=?")
    decoder.tail([features])
    with monkeypatch.context() as patch:
        patch.setattr(decoder.model.model.norm, "forward", lambda hidden: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoder.tail([features])
        with pytest.raises(ZeroDivisionError):
            decoder.prefill_logits([features])
    assert all(one is other for one, other in zip(decoder.model.model.layers, layers, strict=True))
    assert not any(isinstance(module, StandIn) or module._forward_hooks for module in decoder.model.modules())
    assert [name for name, _ in decoder.model.named_parameters()] == parameters
    assert torch.equal(decoder.full_logits("12+7=?"), before)


def test_a_second_tail_at_the_same_time_is_refused(decoder: DecoderSplitModel) -> None:
    features = decoder.front("9")
    with decoder.restored(decoder.padded_batch([features]), caching=True), pytest.raises(PluginError, match="busy"):
        decoder.tail([features])


def test_text_ends_at_the_end_token_and_holds_no_special_ones(make_decoder: Any, tokenizer: Any) -> None:
    free = DecoderSplitModel(make_decoder(), tokenizer, 4, max_new_tokens=NEW_TOKENS)
    endless = [free.full_tokens(prompt) for prompt in PROMPTS]
    stop = endless[0][3]  # so that prompts end at different steps, and some not at all
    model = DecoderSplitModel(make_decoder(eos_token_id=stop), tokenizer, 4, max_new_tokens=NEW_TOKENS)
    expected = [one[: one.index(stop) + 1] if stop in one else one for one in endless]
    assert len({len(one) for one in expected}) > 1
    assert model.generate_tokens([model.front(prompt) for prompt in PROMPTS]) == expected
    assert model.text([[1, 4, 5, 2, 0, 0]]) == ["01"]


def test_settings_that_need_the_prompts_tokens_do_not_count(make_decoder: Any, tokenizer: Any) -> None:
    expected = DecoderSplitModel(make_decoder(), tokenizer, 4, max_new_tokens=NEW_TOKENS).full_tokens("12+7=?")
    model = make_decoder()
    model.generation_config.update(repetition_penalty=5.0, do_sample=True, temperature=2.0, top_k=3)
    split_model = DecoderSplitModel(model, tokenizer, 4, max_new_tokens=NEW_TOKENS)
    assert split_model.full_tokens("12+7=?") == expected
    assert split_model.generate_tokens([split_model.front("12+7=?")]) == [expected]


def test_an_empty_batch_has_no_predictions(decoder: DecoderSplitModel) -> None:
    assert decoder.tail([]) == []


def test_a_prompt_without_tokens_is_an_error(decoder: DecoderSplitModel) -> None:
    with pytest.raises(ScenarioError, match="at least one token"):
        decoder.front(torch.tensor([], dtype=torch.int64))
    with pytest.raises(ScenarioError, match="without tokens"):
        features = decoder.front("9")
        decoder.tail([FeatureSet({name: tensor[..., :0, :] for name, tensor in features.tensors.items()})])


@pytest.mark.parametrize("keyword", ["cache", "past_key_values", "cache_params"])
def test_the_cache_goes_by_the_name_that_the_library_has_for_it(keyword: str) -> None:
    """Releases of transformers differ in it, and so do families."""
    forward = eval(f"lambda self, hidden_states, {keyword}=None: hidden_states")
    assert keyword_of_cache(type("Layer", (torch.nn.Module,), {"forward": forward})()) == keyword


def test_a_layer_without_a_cache_is_refused() -> None:
    with pytest.raises(ScenarioError, match="Linear takes no cache as cache, past_key_values, cache_params"):
        keyword_of_cache(torch.nn.Linear(1, 1))


def test_models_that_cannot_be_split_are_refused(make_decoder: Any, tokenizer: Any) -> None:
    with pytest.raises(ScenarioError, match=r"layers 0\.\.5"):
        DecoderSplitModel(make_decoder(), tokenizer, 6, max_new_tokens=1)
    with pytest.raises(ScenarioError, match="max_new_tokens"):
        DecoderSplitModel(make_decoder(), tokenizer, 4)
    sliding = make_decoder(use_sliding_window=True, sliding_window=4, max_window_layers=2)
    with pytest.raises(ScenarioError, match=r"layer 2 .* full attention"):
        DecoderSplitModel(sliding, tokenizer, 4, max_new_tokens=1)


SHORT = {"original_max_position_embeddings": 16, "factor": 4.0}
FIXED_SCALING: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "yarn": SHORT,
    "llama3": {**SHORT, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
}
SCALING_BY_LENGTH: dict[str, dict[str, Any]] = {
    "dynamic": {"factor": 4.0},
    "longrope": {**SHORT, "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]},
}


def scaled(make_decoder: Any, kind: str, settings: dict[str, Any]) -> Any:
    rope = {"rope_type": kind, "rope_theta": 10_000.0, **settings}
    return make_decoder(rope_parameters=rope, max_position_embeddings=64 if "original" in str(settings) else 16)


@pytest.mark.parametrize("kind", FIXED_SCALING)
def test_fixed_rotary_scaling_gives_the_same_tokens_in_a_ragged_batch(
    make_decoder: Any, tokenizer: Any, kind: str
) -> None:
    split_model = DecoderSplitModel(
        scaled(make_decoder, kind, FIXED_SCALING[kind]), tokenizer, 4, max_new_tokens=NEW_TOKENS
    )
    features = [split_model.front(prompt) for prompt in PROMPTS]
    assert split_model.generate_tokens(features) == [split_model.full_tokens(prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("kind", SCALING_BY_LENGTH)
def test_rotary_scaling_by_the_longest_of_a_batch_is_refused(make_decoder: Any, tokenizer: Any, kind: str) -> None:
    """Why: in transformers itself a short prompt has other logits beside a long one."""
    model = scaled(make_decoder, kind, SCALING_BY_LENGTH[kind])
    short = torch.tensor([[1, 7, 9, 12, 30, 5]])
    padded = torch.cat([torch.nn.functional.pad(short, (33, 0)), torch.arange(4, 43)[None]])
    mask = (padded > 0).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        alone = model(short).logits[0, -1]
        beside = model(padded, attention_mask=mask, position_ids=positions).logits[0, -1]
    assert (alone - beside).abs().max() > 1e-2
    with pytest.raises(ScenarioError, match=f"rope type '{kind}'.* depend on the batch"):
        DecoderSplitModel(model, tokenizer, 4, max_new_tokens=NEW_TOKENS)


def test_sliding_windows_behind_the_split_are_right(make_decoder: Any, tokenizer: Any) -> None:
    model = make_decoder(use_sliding_window=True, sliding_window=4, max_window_layers=5)
    split_model = DecoderSplitModel(model, tokenizer, 4, max_new_tokens=NEW_TOKENS)
    features = [split_model.front(prompt) for prompt in PROMPTS]
    assert split_model.generate_tokens(features) == [split_model.full_tokens(prompt) for prompt in PROMPTS]


FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {},
    "Gemma": {},
    "Olmo2": {},
    "Granite": {"embedding_multiplier": 3.0},  # multiplies what it is given as embeddings
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64},  # adds positions to it
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_decoders_split_the_same_way(family: str, tokenizer: Any) -> None:
    import transformers

    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": None,
    }
    config = getattr(transformers, f"{family}Config")(**{**settings, **FAMILIES[family]})
    model = randomised(getattr(transformers, f"{family}ForCausalLM")(config), spread=0.3)
    split_model = DecoderSplitModel(model, tokenizer, 1, max_new_tokens=8)
    features = [split_model.front(prompt) for prompt in PROMPTS]
    assert torch.equal(split_model.prefill_logits(features[:1])[0], split_model.full_logits(PROMPTS[0]))
    assert split_model.generate_tokens(features) == [split_model.full_tokens(prompt) for prompt in PROMPTS]


def test_a_decoder_with_another_kind_of_memory_is_refused(tokenizer: Any) -> None:
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    config = FalconMambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, time_step_rank=4)
    with pytest.raises(ScenarioError, match="layer 0 of FalconMambaForCausalLM"):
        DecoderSplitModel(FalconMambaForCausalLM(config), tokenizer, 0, max_new_tokens=1)


def test_the_chat_template_is_applied_with_thinking_off(make_decoder: Any, tokenizer: Any) -> None:
    import copy

    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = (
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}={% endif %}{% if enable_thinking is false %}?{% endif %}"
    )
    plain = DecoderSplitModel(make_decoder(), tokenizer, 4, max_new_tokens=1)
    chat = DecoderSplitModel(make_decoder(), chatty, 4, max_new_tokens=1, chat_template=True)
    assert chat.token_ids("1+1").tolist() == plain.token_ids("1+1=?").tolist()
    bare = DecoderSplitModel(make_decoder(), tokenizer, 4, max_new_tokens=1, add_special_tokens=False)
    assert bare.token_ids("1+1").tolist() == plain.token_ids("1+1").tolist()[1:]
    with pytest.raises(ScenarioError, match="no chat template"):
        DecoderSplitModel(make_decoder(), tokenizer, 4, max_new_tokens=1, chat_template=True).front("1+1")
