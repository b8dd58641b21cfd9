"""A live key-value cache becomes features, and features a cache, with the model none the wiser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lamofcbench.caches import (
    append_to,
    cache_of,
    cache_of_batch,
    cache_specs,
    cache_specs_of,
    features_of,
    features_of_batch,
)
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet, check_features, equal_bits
from lamofcbench.streaming import StreamDecoder, StreamEncoder


@pytest.fixture(scope="module")
def model() -> Any:
    """A tiny Llama with grouped heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 50}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)).eval()


@torch.no_grad()
def run(model: Any, ids: torch.Tensor, cache: Any = None) -> tuple[Any, torch.Tensor]:
    output = model(input_ids=ids, past_key_values=cache, use_cache=True)
    return output.past_key_values, output.logits


def prompt(tokens: int, rows: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 50, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def test_specs_of_the_config_are_those_of_the_cache(model: Any) -> None:
    cache, _ = run(model, prompt(5))
    specs = cache_specs(model.config, "float32")
    assert specs == cache_specs_of(cache, model.config)
    assert [spec.name for spec in specs.tensors] == ["key.0", "key.1", "key.2", "value.0", "value.1", "value.2"]
    assert specs["key.0"].rotary_base == 10000.0 and specs["value.0"].rotary_base is None
    assert check_features(features_of(cache), specs) == {"tokens": 5}
    assert cache_specs_of(cache)["key.0"].rotary_base is None


def test_a_model_goes_on_from_the_restored_cache_as_from_its_own(model: Any) -> None:
    ids = prompt(9)
    cache, _ = run(model, ids)
    restored = cache_of(features_of(cache), model.config)
    (_, logits), (_, again) = run(model, prompt(2, seed=1), cache), run(model, prompt(2, seed=1), restored)
    assert torch.equal(logits, again)


def test_a_prefix_and_what_came_later_make_the_whole(model: Any) -> None:
    cache, _ = run(model, prompt(6))
    restored = cache_of(features_of(cache, 0, 4))
    cache, _ = run(model, prompt(3, seed=1), cache)
    append_to(restored, features_of(cache, 4))
    whole, parts = features_of(cache), features_of(restored)
    assert whole["key.0"].shape[1] == 9 and all(equal_bits(whole[name], parts[name]) for name in whole)


def test_a_row_of_a_batch_is_a_sequence(model: Any) -> None:
    cache, _ = run(model, prompt(5, rows=3))
    features = features_of(cache, row=2)
    assert equal_bits(features["value.1"], cache.layers[1].values[2])
    with pytest.raises(ScenarioError, match="3 rows; there is no row 3"):
        features_of(cache, row=3)
    with pytest.raises(ScenarioError, match="3 layers and 3 rows"):
        append_to(cache, features)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("key.2", (2, 2, 9), r"key\.2 is \[2, 2, 9\]; the cache takes \[2, tokens, 8\]"),
        ("value.1", (2, 2, 4), r"value\.1 is \[2, 2, 4\]; the cache takes \[2, tokens, 8\]"),
        ("value.2", (3, 2, 8), r"value\.2 is \[3, 2, 8\]; a cache takes .* as many heads in keys and values"),
        ("key.1", (2, 3, 8), r"key\.1 is \[2, 3, 8\]; .* as many tokens in all layers, where key\.0 is \[2, 2, 8\]"),
        ("value.2", (2, 8), r"value\.2 is \[2, 8\]; a cache takes \[heads, tokens, width\]"),
    ],
)
def test_what_does_not_fit_a_cache_leaves_it_as_it_was(
    model: Any, name: str, shape: tuple[int, ...], message: str
) -> None:
    cache, _ = run(model, prompt(5))
    wrong = FeatureSet({**features_of(cache, 3).tensors, name: torch.zeros(shape)})
    with pytest.raises(ScenarioError, match=message):
        append_to(cache, wrong)
    assert [layer.get_seq_length() for layer in cache.layers] == [5] * 3
    if "as many" in message or len(shape) < 3:
        with pytest.raises(ScenarioError, match=message):
            cache_of(wrong)
    with pytest.raises(ScenarioError, match=rf"{name} is|same layers, heads, widths and dtype: tensor '{name}'"):
        cache_of_batch([features_of(cache), wrong])


@torch.no_grad()
def test_sequences_of_a_padded_batch_go_on_as_each_by_itself(model: Any) -> None:
    ids = [prompt(tokens, seed=tokens) for tokens in (4, 7)]
    alone = [run(model, each)[0] for each in ids]
    cache, mask = cache_of_batch([features_of(each) for each in alone], model.config)
    assert mask.tolist() == [[0, 0, 0, 1, 1, 1, 1], [1] * 7]
    again = features_of_batch(cache, mask)
    assert all(equal_bits(a[n], b[n]) for a, b in zip(again, map(features_of, alone), strict=True) for n in a)

    token = prompt(1, rows=2, seed=3)
    output = model(
        input_ids=token,
        past_key_values=cache,
        attention_mask=torch.cat([mask, torch.ones(2, 1, dtype=torch.long)], 1),
        position_ids=mask.sum(1, keepdim=True),
    )
    for row, each in enumerate(alone):
        expected = run(model, token[row : row + 1], each)[1]
        assert (output.logits[row] - expected[0]).abs().max() < 1e-4


def test_masks_that_do_not_tell_a_sequence_are_refused(model: Any) -> None:
    cache, _ = run(model, prompt(4, rows=2))
    for mask, why in (
        (torch.ones(2, 5), r"the mask is \[2, 5\]; the cache holds \[2, 4\]"),
        (torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1]]), "row 1 has no tokens, or a gap"),
        (torch.zeros(2, 4), "row 0 has no tokens"),
    ):
        with pytest.raises(ScenarioError, match=why):
            features_of_batch(cache, mask)
    with pytest.raises(ScenarioError, match="one feature set at least"):
        cache_of_batch([])


def test_features_do_not_share_memory_with_the_cache(model: Any) -> None:
    cache, _ = run(model, prompt(5))
    features = features_of(cache)
    restored = cache_of(features)
    features["key.0"].zero_()
    assert cache.layers[0].keys.any() and restored.layers[0].keys.any()


def test_a_codec_is_fitted_on_caches_and_streams_a_growing_one(model: Any) -> None:
    caches = [run(model, prompt(20 + seed, seed=seed))[0] for seed in range(6)]
    codec = CODECS.get("uniform")(cache_specs(model.config, "float32"), {"step": 0.05})
    codec = codec.fit([features_of(cache) for cache in caches])
    sender, receiver = StreamEncoder(codec), StreamDecoder(codec)
    cache, _ = run(model, prompt(12, seed=9))
    restored = cache_of(receiver.append(sender.append(features_of(cache))), model.config)
    cache, _ = run(model, prompt(1, seed=10), cache)
    append_to(restored, receiver.append(sender.append(features_of(cache, sender.tokens))))
    assert restored.get_seq_length() == sender.tokens == 13
    (_, logits), (_, again) = run(model, prompt(1, seed=11), cache), run(model, prompt(1, seed=11), restored)
    assert (logits - again).abs().max() < 0.05 * logits.std()


def test_caches_that_do_not_hold_every_token_are_refused(model: Any) -> None:
    from transformers import DynamicCache, MistralConfig

    with pytest.raises(ScenarioError, match="run the model on at least one token"):
        features_of(DynamicCache(config=model.config))
    with pytest.raises(ScenarioError, match="run the model on at least one token"):
        features_of(DynamicCache())
    windows = DynamicCache(config=MistralConfig(sliding_window=4, num_hidden_layers=2))
    with pytest.raises(ScenarioError, match="layer 0 of the cache is a DynamicSlidingWindowLayer"):
        cache_specs_of(windows)


def test_a_config_that_says_too_little_is_refused() -> None:
    with pytest.raises(ScenarioError, match="does not tell what its caches hold; use cache_specs_of"):
        cache_specs(SimpleNamespace(), "float32")  # type: ignore[arg-type]
    mixed = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_size": 8, "layer_types": ["sliding_attention"]}
    with pytest.raises(ScenarioError, match="layers of sliding_attention"):
        cache_specs(SimpleNamespace(**mixed), "float32")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        {"num_hidden_layers": 2, "hidden_size": 8, "num_key_value_heads": 2},
        {"num_hidden_layers": [2, 2], "hidden_size": 8, "num_attention_heads": 2},
        {"num_hidden_layers": 2, "hidden_size": [8, 8], "num_attention_heads": 2},
        {"num_hidden_layers": 2, "head_dim": "4", "num_attention_heads": 2},
    ],
)
def test_a_config_that_says_it_otherwise_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="does not tell what its caches hold; use cache_specs_of"):
        cache_specs(SimpleNamespace(**said), "float32")  # type: ignore[arg-type]


@pytest.mark.parametrize(("dtype", "tokens"), [("float64", 8), ("float32", 0), ("float32", 2**40)])
def test_what_no_cache_may_have_is_told_in_a_line(dtype: Any, tokens: int) -> None:
    said = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    with pytest.raises(ScenarioError, match=f"^a cache of '{dtype}' with up to {tokens} tokens cannot be declared: "):
        cache_specs(SimpleNamespace(**said), dtype, tokens=tokens)  # type: ignore[arg-type]


def test_heads_that_queries_share_are_not_taken_for_theirs() -> None:
    from transformers import FalconConfig

    config = FalconConfig(hidden_size=64, num_attention_heads=4, num_hidden_layers=2, multi_query=True)
    with pytest.raises(ScenarioError, match="does not tell what its caches hold; use cache_specs_of"):
        cache_specs(config, "float32")
    config.multi_query = False
    assert cache_specs(config, "float32").tensors[0].shape[0] == 4


def test_features_of_no_cache_are_refused() -> None:
    for tensors in ({"hidden": torch.zeros(2, 4)}, {"key.0": torch.zeros(1, 2, 4)}):
        with pytest.raises(ScenarioError, match=r"a cache takes key\.0, value\.0 and so on"):
            cache_of(FeatureSet(tensors))
