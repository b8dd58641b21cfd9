"""The real decoder of the small edition: its split is exact, and its tails need no weight of the front for a prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest_models import fill_with_nan

from lamofcbench.features import check_features
from lamofcbench.models import load_model
from lamofcbench.models.decoder_continuation import CONTINUATION
from lamofcbench.scenarios.base import SCENARIOS

TEXT = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: "
TEXTS = [f"{TEXT}once or twice she had peeped into the book her sister was reading, but it had no pictures.", TEXT * 2]


@pytest.fixture(scope="module")
def prose(small_model: Any) -> Any:
    return load_model(SCENARIOS.get("small-clu-prose"))


def test_features_match_the_declarations_and_keep_real_outliers(prose: Any) -> None:
    scenario = SCENARIOS.get("small-clu-prose")
    features = prose.front(TEXTS[0]).cast(scenario.specs)
    check_features(features, scenario.specs)
    hidden = features["hidden"].float().abs()
    assert hidden[0].max() > 300 and hidden[1:].median() < 3  # the first token carries massive activations


def test_scored_text_is_that_of_the_full_model_in_a_ragged_batch(prose: Any) -> None:
    found = prose.tail([prose.front(text) for text in TEXTS])
    for text, one in zip(TEXTS, found, strict=True):
        torch.testing.assert_close(one, prose.full(text), atol=2e-3, rtol=1e-3)
    assert 1.0 < -float(found[0].mean()) < 6.0  # real text, of which the model knows something


def test_generation_is_that_of_the_full_model(prose: Any) -> None:
    prompts = ["The capital of France is", TEXT]
    features = [prose.front(prose.token_ids(prompt + TEXTS[1])) for prompt in prompts]
    inputs = [prose.divided(prompt + TEXTS[1])[0] for prompt in prompts]
    expected = [prose.full_tokens(one, max_new_tokens=4) for one in inputs]
    assert prose.generate_tokens(features, max_new_tokens=4) == expected


def test_the_prompt_needs_no_weight_of_the_front(prose: Any) -> None:
    """The last test of this model, which it spoils."""
    features = [prose.front(text) for text in TEXTS]
    assert all(list(one.given) == [CONTINUATION] for one in features)
    before = prose.prefill_logits(features)
    fill_with_nan(prose.front_modules())
    assert torch.equal(prose.prefill_logits(features), before)
    assert bool(torch.stack(prose.tail(features))[:, 1:].isnan().all())
