"""Stop strings, the repetition penalty and the beginning of the answer, against plain loops and texts made by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from lamofcbench.errors import ScenarioError
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.models.generation import GenerationRules
from lamofcbench.models.language_model import DecoderOptions
from lamofcbench.models.loading import parse_options
from lamofcbench.models.teacher_forcing import CONTINUATION
from lamofcbench.scenarios.base import SCENARIOS

PROMPTS = ["12+7=?", "how many apples are 3 and 14?", "9"]
NEW_TOKENS = 24
CHATML = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if enable_thinking is false %}()" + "{% endif %}{% endif %}"
)


def split_model(decoder: Any, tokenizer: Any, **settings: Any) -> DecoderSplitModel:
    return DecoderSplitModel(decoder, tokenizer, 4, **{"max_new_tokens": NEW_TOKENS, **settings})


def plainly(model: DecoderSplitModel, prompt: str, penalty: float, window: int) -> list[int]:
    """Greedy generation without a cache, written anew."""
    ids, new = model.token_ids(prompt).tolist(), list[int]()
    while len(new) < NEW_TOKENS:
        logits = model.model(input_ids=torch.tensor([ids + new]), use_cache=False).logits[0, -1].tolist()
        if len(new) > window:
            for token in set(new[-window:]):
                logits[token] = logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
        new.append(max(range(len(logits)), key=logits.__getitem__))
    return new


# --------------------------------------------------------------------------------------------------- stop strings


@pytest.fixture(scope="module")
def free(make_decoder: Any, tokenizer: Any) -> list[str]:
    """What the model writes where nothing stops it."""
    model = split_model(make_decoder(), tokenizer)
    return model.tail([model.front(prompt) for prompt in PROMPTS])


def test_a_text_ends_before_its_first_stop_string(make_decoder: Any, tokenizer: Any, free: list[str]) -> None:
    stops = (free[0][5:7], free[1][3:5])
    model = split_model(make_decoder(), tokenizer, rules=GenerationRules(stop_strings=stops))
    features = [model.front(prompt) for prompt in PROMPTS]
    expected = []
    for text in free:
        places = [text.index(stop) for stop in stops if stop in text]
        expected.append(text[: min(places)] if places else text)
    assert expected[0] != free[0] and expected[1] != free[1] and len({*map(len, expected)}) > 1
    assert model.tail(features) == expected  # together, though they end apart
    assert [model.tail([one])[0] for one in features] == expected
    assert [model.full(prompt) for prompt in PROMPTS] == expected


def test_generation_ends_with_the_token_that_completes_it(make_decoder: Any, tokenizer: Any, free: list[str]) -> None:
    stop = free[0][5]  # a token is a character here
    model = split_model(make_decoder(), tokenizer, rules=GenerationRules(stop_strings=(stop,)))
    features = [model.front(prompt) for prompt in PROMPTS]
    whole = split_model(make_decoder(), tokenizer).full_tokens(PROMPTS[0])
    end = whole.index(tokenizer.convert_tokens_to_ids(stop)) + 1
    tokens = model.generate_tokens(features)
    assert tokens[0] == whole[:end] and len(tokens[1]) != end
    assert model.full_tokens(PROMPTS[0]) == tokens[0]
    conditioned = model.conditioned(features)
    assert conditioned[0].given[CONTINUATION].tolist() == tokens[0]
    texts, response = model.tail_and_response(conditioned)
    assert texts == model.tail(features) and response.shape[1] == max(map(len, tokens))


def test_a_stop_string_of_the_prompt_stops_nothing(make_decoder: Any, tokenizer: Any, free: list[str]) -> None:
    rules = GenerationRules(stop_strings=("7=?",))
    model = split_model(make_decoder(), tokenizer, rules=rules)
    assert "7=?" not in free[0] and model.tail([model.front(PROMPTS[0])]) == free[:1]
    assert model.full(PROMPTS[0]) == free[0]


# ------------------------------------------------------------------------------------------------ repetition penalty


@pytest.mark.parametrize(("penalty", "window"), [(3.0, 4), (1.5, 16), (0.5, 2)])
def test_the_penalty_is_that_of_a_plain_loop(make_decoder: Any, tokenizer: Any, penalty: float, window: int) -> None:
    rules = GenerationRules(repetition_penalty=penalty, repetition_window=window)
    model = split_model(make_decoder(), tokenizer, rules=rules)
    expected = [plainly(model, prompt, penalty, window) for prompt in PROMPTS]
    features = [model.front(prompt) for prompt in PROMPTS]
    assert model.generate_tokens(features) == expected
    assert [model.full_tokens(prompt) for prompt in PROMPTS] == expected  # whose prompts do not count
    free = [plainly(model, prompt, 1.0, window) for prompt in PROMPTS]
    assert expected != free
    for penalised, plain in zip(expected, free, strict=True):  # not before more than a window was generated
        assert penalised[: window + 1] == plain[: window + 1]


# -------------------------------------------------------------------------------------------- the assistant's turn


@pytest.fixture
def chatting(tokenizer: Any) -> Any:
    chatting = copy.deepcopy(tokenizer)
    chatting.chat_template = CHATML
    return chatting


def test_the_assistants_turn_begins_with_the_prefix(make_decoder: Any, chatting: Any) -> None:
    model = split_model(make_decoder(), chatting, chat_template=True, answer_prefix="so it is")
    assert model.prompting.templated(model.tokenizer, "1+1?") == "<user>1+1?<end><assistant>so it is"
    plain = split_model(make_decoder(), chatting, chat_template=True)
    assert plain.prompting.templated(plain.tokenizer, "1+1?") == "<user>1+1?<end><assistant>()"
    characters = chatting("<user>1+1?<end><assistant>so it is", add_special_tokens=False)["input_ids"]
    assert model.token_ids("1+1?").tolist() == characters


def test_the_tokenizer_adds_its_own_tokens_unless_the_template_has_written_them(
    make_decoder: Any, chatting: Any
) -> None:
    settings = {"chat_template": True, "special_tokens_with_template": True}
    without = split_model(make_decoder(), chatting, chat_template=True).token_ids("1").tolist()
    added = split_model(make_decoder(), chatting, **settings).token_ids("1").tolist()
    assert added == [chatting.bos_token_id, *without]
    chatting.chat_template = "<bos>" + CHATML
    written = split_model(make_decoder(), chatting, **settings).token_ids("1").tolist()
    assert written.count(chatting.bos_token_id) == 1


def test_a_prefix_without_a_template_is_refused(make_decoder: Any, tokenizer: Any) -> None:
    with pytest.raises(ScenarioError, match="it needs option chat_template"):
        split_model(make_decoder(), tokenizer, answer_prefix="so it is")


# --------------------------------------------------------------------------------------------------- full scenarios


@pytest.mark.parametrize("suffix", ["", "-mamba"])
def test_full_language_tasks_have_the_published_options(suffix: str) -> None:
    for task in ("arc-challenge", "hellaswag", "truthfulqa-mc1", "winogrande"):
        scenario = SCENARIOS.get(f"clu-{task}{suffix}")
        options = parse_options(DecoderOptions, scenario)
        assert (options.max_new_tokens, options.answer_prefix) == (100, "The best answer is")
        assert options.stop_strings == ("\n\n", ".") and options.repetition_penalty == 1
        assert scenario.batch_size == 1 and options.chat_template and options.special_tokens_with_template
    options = parse_options(DecoderOptions, SCENARIOS.get(f"clu-gsm8k{suffix}"))
    assert (options.max_new_tokens, options.answer_prefix) == (256, "")
    assert options.stop_strings == ("Question:", "</s>", "<|im_end|>")


def test_an_option_out_of_range_is_refused() -> None:
    scenario = SCENARIOS.get("clu-gsm8k")
    for wrong in ({"stop_strings": [""]}, {"repetition_penalty": 0}, {"repetition_window": 0}):
        backbone = scenario.backbone.model_copy(update={"options": {**scenario.backbone.options, **wrong}})
        with pytest.raises(ScenarioError, match=next(iter(wrong))):
            parse_options(DecoderOptions, scenario.model_copy(update={"backbone": backbone}))
