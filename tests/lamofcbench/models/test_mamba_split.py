"""The split Falcon-Mamba is the full one: same logits, same tokens, whatever the batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest_models import fill_with_nan, randomised

from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.models.base import MODELS
from lamofcbench.models.loading import load_model
from lamofcbench.models.mamba import MambaSplitModel
from lamofcbench.models.selective_scan import library_scan_replaced
from lamofcbench.scenarios.base import SCENARIOS, Axis, Backbone, FeatureSpecs, Scenario, TensorSpec

PROMPTS = ["12+7=?", "", "how many apples are 3 and 14?", "9"]
"""Of 7, 1, 24 and 2 tokens with <bos>; two are shorter than the convolution's kernel."""
KERNEL = 4
NEW_TOKENS = 8
SPLIT = 4

CONFIGURATIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "as the mini edition's": (4, {}),
    "as the 7B's": (4, {"expand": 16, "intermediate_size": 64, "state_size": 16, "tie_word_embeddings": False}),
    "short kernel": (3, {"conv_kernel": 2}),
    "no bias of the convolution": (1, {"use_conv_bias": False, "num_hidden_layers": 3}),
    "split after the last layer": (2, {"num_hidden_layers": 3}),
}


@pytest.fixture(scope="module")
def make_mamba(tokenizer: Any) -> Callable[..., Any]:
    """Makes a tiny Falcon-Mamba with every weight random, the convolution's bias included; keywords go to its config.

    The library leaves that bias at zero, where padding could do no harm and a missing mask would go unseen.
    """

    def make(seed: int = 0, **changes: Any) -> Any:
        from transformers import FalconMambaConfig, FalconMambaForCausalLM

        settings: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "state_size": 4,
            "num_hidden_layers": 6,
            "time_step_rank": 3,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": None,
        }
        return randomised(FalconMambaForCausalLM(FalconMambaConfig(**{**settings, **changes})), seed, spread=0.4)

    return make


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda name: name.replace(" ", "-"))
def split_model(request: Any, make_mamba: Any, tokenizer: Any) -> MambaSplitModel:
    split, changes = CONFIGURATIONS[request.param]
    return MambaSplitModel(make_mamba(**changes), tokenizer, split, max_new_tokens=NEW_TOKENS)


@pytest.fixture
def decoder(make_mamba: Any, tokenizer: Any) -> MambaSplitModel:
    """A model that a test may spoil."""
    return MambaSplitModel(make_mamba(), tokenizer, SPLIT, max_new_tokens=NEW_TOKENS)


def changed(features: FeatureSet, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> FeatureSet:
    """The features with one of their tensors changed."""
    return FeatureSet({key: change(value) if key == name else value for key, value in features.tensors.items()})


def with_noise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor + 2 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1))


def logits_of_steps(split_model: MambaSplitModel, run: Callable[[], Any]) -> list[torch.Tensor]:
    """The logits `[B, vocabulary]` of each step of a generation."""
    steps: list[torch.Tensor] = []
    head = split_model.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda module, inputs, output: steps.append(output[:, -1].clone()))
    try:
        run()
    finally:
        handle.remove()
    return steps


def test_one_prompt_gives_the_full_models_logits_to_the_last_bit(split_model: MambaSplitModel) -> None:
    for prompt in PROMPTS:
        features = split_model.front(prompt)
        logits, expected = split_model.prefill_logits([features])[0], split_model.full_logits(prompt)
        if len(features["hidden"]) >= KERNEL:
            assert torch.equal(logits, expected)
        else:  # without a cache the library convolves a window of another width, whose sums run in another order
            torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
        tail = logits_of_steps(split_model, lambda one=features: split_model.generate_tokens([one]))
        full = logits_of_steps(split_model, lambda one=prompt: split_model.full_tokens(one))
        assert len(tail) == len(full) == NEW_TOKENS
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(tail, full, strict=True))


def test_a_ragged_batch_gives_the_full_models_logits(split_model: MambaSplitModel) -> None:
    logits = split_model.prefill_logits([split_model.front(prompt) for prompt in PROMPTS])
    expected = torch.stack([split_model.full_logits(prompt) for prompt in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_generation_is_that_of_the_full_model_alone_and_in_a_ragged_batch(split_model: MambaSplitModel) -> None:
    features = [split_model.front(prompt) for prompt in PROMPTS]
    expected = [split_model.full_tokens(prompt) for prompt in PROMPTS]
    assert all(len(tokens) == NEW_TOKENS for tokens in expected)
    assert len({tuple(tokens) for tokens in expected}) == len(PROMPTS)  # the prompts matter
    assert [split_model.generate_tokens([one])[0] for one in features] == expected
    assert split_model.generate_tokens(features) == expected
    assert split_model.tail(features) == [split_model.full(prompt) for prompt in PROMPTS]


def test_padded_samples_stay_right_through_every_step_of_decoding(split_model: MambaSplitModel) -> None:
    short, long = split_model.front("9"), split_model.front(PROMPTS[2])
    batched = logits_of_steps(split_model, lambda: split_model.generate_tokens([short, long]))
    alone = logits_of_steps(split_model, lambda: split_model.full_tokens("9"))
    assert len(batched) == len(alone) == NEW_TOKENS
    for together, single in zip(batched, alone, strict=True):
        torch.testing.assert_close(together[0], single[0], atol=2e-4, rtol=2e-4)


def test_the_split_model_is_the_librarys_model(make_mamba: Any, tokenizer: Any) -> None:
    """The library's own scan and generation, with no code of ours between."""
    split_model = MambaSplitModel(make_mamba(), tokenizer, SPLIT, max_new_tokens=NEW_TOKENS)
    for prompt in PROMPTS:
        ids = split_model.token_ids(prompt)[None]
        with torch.no_grad():
            logits = split_model.model(input_ids=ids, use_cache=False).logits[0, -1]
            tokens = split_model.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[0, ids.shape[1] :]
        torch.testing.assert_close(split_model.full_logits(prompt), logits, atol=1e-4, rtol=1e-4)
        assert split_model.full_tokens(prompt) == tokens.tolist()


def test_the_prefill_needs_no_weight_of_the_front(make_mamba: Any, tokenizer: Any) -> None:
    for tied in (True, False):
        mamba = make_mamba(tie_word_embeddings=tied)
        model = MambaSplitModel(mamba, tokenizer, SPLIT, max_new_tokens=NEW_TOKENS)
        features = [model.front(prompt) for prompt in PROMPTS]
        logits, first = model.prefill_logits(features), model.generate_tokens(features, max_new_tokens=1)
        assert len(model.front_modules()) == (SPLIT + 1 if tied else SPLIT + 2)
        fill_with_nan(model.front_modules())
        assert torch.equal(model.prefill_logits(features), logits)
        assert model.generate_tokens(features, max_new_tokens=1) == first
        assert model.full_logits("9").isnan().all()  # the weights are gone indeed


def test_no_layer_behind_the_split_runs_in_the_front(decoder: MambaSplitModel) -> None:
    before = decoder.front("12+7=?")
    fill_with_nan(list(decoder.layers[SPLIT + 1 :]))
    after = decoder.front("12+7=?")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_hidden_state_decides_the_first_token_and_states_the_later_ones(decoder: MambaSplitModel) -> None:
    features = decoder.front(PROMPTS[2])
    first, second = logits_of_steps(decoder, lambda: decoder.generate_tokens([features], 2))
    for name in features:
        other = changed(features, name, with_noise)
        other_first, other_second = logits_of_steps(decoder, lambda one=other: decoder.generate_tokens([one], 2))
        assert torch.equal(first, other_first) == (name != "hidden"), name
        assert not torch.equal(second, other_second), f"{name} is dead"


def test_column_0_of_the_convolution_states_is_dead_and_no_other_is(decoder: MambaSplitModel) -> None:
    features = decoder.front(PROMPTS[2])
    expected = logits_of_steps(decoder, lambda: decoder.generate_tokens([features]))
    for column in range(4):

        def spoilt(state: torch.Tensor, column: int = column) -> torch.Tensor:
            state = state.clone()
            state[:, column] = 1e3
            return state

        for layer in range(SPLIT + 1):
            other = changed(features, f"conv_state.{layer}", spoilt)
            found = logits_of_steps(decoder, lambda one=other: decoder.generate_tokens([one]))
            same = all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
            assert same == (column == 0), f"layer {layer}, column {column}"


def test_features_have_the_scenarios_names_shapes_and_order(decoder: MambaSplitModel) -> None:
    tokens = Axis(name="tokens", limit=64)
    states = [
        (f"{role}.{layer}", role, shape)
        for role, shape in (("ssm_state", (64, 4)), ("conv_state", (64, 4)))
        for layer in range(SPLIT + 1)
    ]
    specs = FeatureSpecs(
        tensors=tuple(
            TensorSpec(name=name, role=role, shape=shape, dtype="float32")
            for name, role, shape in [*states, ("hidden", "hidden", (tokens, 32))]
        )
    )
    features = decoder.front("12+7=?")
    assert check_features(features, specs) == {"tokens": 7}  # six characters behind <bos>
    assert all(features[name].is_contiguous() for name in features)
    full = SCENARIOS.get("clu-gsm8k-mamba")
    assert [spec.name for spec in full.tensors] == list(features)


def test_convolution_states_of_short_prompts_begin_with_zeros(decoder: MambaSplitModel) -> None:
    state = decoder.front("9")["conv_state.0"]  # two tokens
    assert not state[:, :2].any() and state[:, 2:].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_stored_in_half_precision_are_computed_on_in_full(decoder: MambaSplitModel, dtype: Any) -> None:
    stored = [decoder.front(prompt) for prompt in PROMPTS]
    stored = [FeatureSet({name: tensor.to(dtype) for name, tensor in one.tensors.items()}) for one in stored]
    widened = [FeatureSet({name: tensor.float() for name, tensor in one.tensors.items()}) for one in stored]
    assert torch.equal(decoder.prefill_logits(stored), decoder.prefill_logits(widened))
    assert decoder.generate_tokens(stored) == decoder.generate_tokens(widened)


def test_a_model_in_half_precision_keeps_its_residual_stream_and_scan_states_in_single(
    make_mamba: Any, tokenizer: Any
) -> None:
    model = MambaSplitModel(make_mamba().bfloat16(), tokenizer, SPLIT, max_new_tokens=NEW_TOKENS)
    features = model.front(PROMPTS[2])
    assert features["hidden"].dtype is torch.float32
    assert features["ssm_state.0"].dtype is torch.float32
    assert features["conv_state.0"].dtype is torch.bfloat16
    assert model.generate_tokens([features])[0] == model.full_tokens(PROMPTS[2])
    assert torch.equal(model.prefill_logits([features])[0], model.full_logits(PROMPTS[2]))


def test_inputs_of_the_tail_are_not_modified(decoder: MambaSplitModel) -> None:
    features = [decoder.front(prompt) for prompt in PROMPTS]
    copies = [{name: tensor.clone() for name, tensor in one.tensors.items()} for one in features]
    decoder.tail(features)
    assert all(torch.equal(one[name], copy[name]) for one, copy in zip(features, copies, strict=True) for name in one)


def test_the_model_is_as_before_after_use_and_after_failure(
    decoder: MambaSplitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.falcon_mamba import modeling_falcon_mamba as library

    layers, before = list(decoder.layers), decoder.full_logits("12+7=?")
    features, scan = decoder.front("12+7=?"), library.mamba_selective_scan
    decoder.tail([features])
    with monkeypatch.context() as patch:
        patch.setattr(decoder.model.backbone.norm_f, "forward", lambda hidden: 1 / 0)
        for run in (decoder.tail, decoder.prefill_logits):
            with pytest.raises(ZeroDivisionError):
                run([features])
    assert all(one is other for one, other in zip(decoder.layers, layers, strict=True))
    assert library.mamba_selective_scan is scan
    assert torch.equal(decoder.full_logits("12+7=?"), before)


def test_a_second_tail_at_the_same_time_is_refused(decoder: MambaSplitModel) -> None:
    features = decoder.front("9")
    with decoder.restored(decoder.padded_batch([features]), caching=True), pytest.raises(PluginError, match="busy"):
        decoder.tail([features])


def test_an_empty_batch_has_no_predictions_and_an_empty_prompt_is_an_error(decoder: MambaSplitModel) -> None:
    assert decoder.tail([]) == []
    with pytest.raises(ScenarioError, match="at least one token"):
        decoder.front(torch.tensor([], dtype=torch.int64))


def test_models_that_cannot_be_split_are_refused(make_mamba: Any, make_decoder: Any, tokenizer: Any) -> None:
    with pytest.raises(ScenarioError, match=r"layers 0\.\.5"):
        MambaSplitModel(make_mamba(), tokenizer, 6, max_new_tokens=1)
    with pytest.raises(ScenarioError, match="max_new_tokens"):
        MambaSplitModel(make_mamba(), tokenizer, SPLIT)
    with pytest.raises(ScenarioError, match="layer 0 of Qwen3ForCausalLM keeps a DynamicLayer"):
        MambaSplitModel(make_decoder(), tokenizer, SPLIT, max_new_tokens=1)
    with pytest.raises(ScenarioError, match="use_bias"):
        MambaSplitModel(make_mamba(use_bias=True), tokenizer, SPLIT, max_new_tokens=1)


def scenario(**options: Any) -> Scenario:
    """A scenario whose weights stand in a folder."""
    return Scenario(
        id="tiny-mamba",
        version=1,
        edition="user",
        category="CLU",
        title="Nothing",
        backbone=Backbone(adapter="falcon-mamba-decoder", source="./weights", options=options),
        splits=(SPLIT,),
        tensors=(TensorSpec(name="hidden", role="hidden", shape=(Axis(name="tokens", limit=64), 32), dtype="float32"),),
        prediction="text",
        metric="exact-match-number",
        direction="up",
        batch_size=2,
        test_samples=1,
        calibration_samples=1,
        licence="Apache-2.0",
    )


@pytest.fixture
def folder(tmp_path: Path, make_mamba: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of a tiny model as `save_pretrained` writes them."""
    make_mamba().save_pretrained(tmp_path / "weights")
    tokenizer.save_pretrained(tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "weights"


def test_a_saved_model_loads_from_its_folder(folder: Path, decoder: MambaSplitModel) -> None:
    loaded = load_model(scenario(max_new_tokens=NEW_TOKENS))
    assert type(loaded) is MODELS.get("falcon-mamba-decoder") is MambaSplitModel
    assert loaded.full(PROMPTS[0]) == decoder.full(PROMPTS[0])
    wide = load_model(scenario(max_new_tokens=NEW_TOKENS, compute_dtype="bfloat16"))
    assert wide.model.dtype is torch.bfloat16


def test_a_config_for_which_the_library_changes_loaded_weights_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rescale_prenorm_residual": True}))
    with pytest.raises(ScenarioError, match="rescale_prenorm_residual"):
        load_model(scenario(max_new_tokens=1))


def test_wrong_options_are_errors(folder: Path) -> None:
    with pytest.raises(ScenarioError, match="max_new_tokens"):
        load_model(scenario(max_new_token=3))
    with pytest.raises(ScenarioError, match="max_new_tokens"):
        load_model(scenario())
    with pytest.raises(ScenarioError, match="compute_dtype"):
        load_model(scenario(max_new_tokens=3, compute_dtype="float12"))


def test_missing_weights_are_an_error(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="weights"):
        load_model(scenario(max_new_tokens=1))


def test_the_fast_scan_generates_what_the_librarys_does(decoder: MambaSplitModel) -> None:
    ids = decoder.token_ids(PROMPTS[2])[None]
    with torch.no_grad():
        expected = decoder.model(input_ids=ids, use_cache=False).logits
        with library_scan_replaced():
            found = decoder.model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_in_the_published_dtype_the_stored_features_go_on_as_the_whole_model_does(
    make_mamba: Any, tokenizer: Any
) -> None:
    """fp16, in which the full scenarios compute; they store the scan's states in it, too, which are wider."""
    full = SCENARIOS.get("clu-gsm8k-mamba")
    assert full.backbone.options["compute_dtype"] == "float16"
    stored = {spec.name: getattr(torch, spec.dtype) for spec in full.tensors}
    model = MambaSplitModel(make_mamba().half(), tokenizer, SPLIT, max_new_tokens=NEW_TOKENS)
    for prompt in PROMPTS:
        features = model.front(prompt)
        cast = FeatureSet({name: tensor.to(stored[name]) for name, tensor in features.tensors.items()})
        assert model.generate_tokens([cast])[0] == model.full_tokens(prompt)
