"""The split Kimi-Audio is the whole one: same logits and texts, whatever the batch; it loads the published layout."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan, randomised

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.models.generation import GenerationRules
from lamofcbench.models.kimi_audio import (
    BLANK,
    SAMPLE_RATE,
    TEXT_END,
    AudioAdaptor,
    KimiAudioOptions,
    KimiAudioSplitModel,
    Listener,
    SpokenPrompt,
    TwoStreamEmbedding,
    _audio_tokenizer,
    decode_audio,
    decoder_class,
    encoder_class,
    make_streams,
    token_count,
)
from lamofcbench.models.kimi_tokenizer import SPECIAL, KimiTokenizer, read_ranks
from lamofcbench.models.loading import parse_options
from lamofcbench.scenarios.base import SCENARIOS, Axis, Backbone, FeatureSpecs, Scenario, TensorSpec

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b"hell": 258, b" h": 259}
SPLIT = 4
NEW_TOKENS = 7
AUDIO_TOKEN = 330  # behind the table of pieces and its special tokens
VOCABULARY = 340


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE)).astype(np.float32) * 0.1


def prompt(seconds: float, instruction: str, seed: int) -> SpokenPrompt:
    samples = wave(seconds, seed)
    tokens = [AUDIO_TOKEN + (seed + place) % 4 for place in range(token_count(len(samples)))]
    return SpokenPrompt(samples, instruction, tokens)


PROMPTS = [prompt(0.5, "write", 1), prompt(1.6, "", 2), prompt(0.05, "say hello again", 3), prompt(0.9, "hello?", 4)]
"""One is longer than the encoder's window of 1.28 s, one is a single position long, one has no instruction."""


def make_parts(**changes: Any) -> tuple[Any, Any]:
    """A decoder and an encoder with every weight random."""
    from transformers import Qwen2Config, WhisperConfig

    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "kimia_adaptor_input_dim": 4 * 16,
        "tie_word_embeddings": False,
    }
    decoder = decoder_class()(Qwen2Config(**{**settings, **changes}))
    whisper = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        vocab_size=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        num_mel_bins=80,
        max_source_positions=64,
    )
    return randomised(decoder, 0, spread=0.3), randomised(encoder_class()(whisper), 1, spread=0.3)


def make_model(**changes: Any) -> KimiAudioSplitModel:
    decoder, encoder = make_parts(**changes)
    return KimiAudioSplitModel(decoder, KimiTokenizer(RANKS), SPLIT, encoder, max_new_tokens=NEW_TOKENS)


@pytest.fixture(scope="module", params=[{}, {"num_key_value_heads": 1, "attn_implementation": "eager"}])
def model(request: Any) -> KimiAudioSplitModel:
    return make_model(**request.param)


@pytest.fixture
def fresh() -> KimiAudioSplitModel:
    """A model that a test may spoil."""
    return make_model()


# ------------------------------------------------------------------------------------------------------ exactness


def test_responses_to_audio_tokens_choose_what_is_written_and_carry_gradients(model: KimiAudioSplitModel) -> None:
    conditioned = model.conditioned([model.front(one) for one in PROMPTS])
    written = [model.full_tokens(one) for one in PROMPTS]
    assert [row[:n].argmax(-1).tolist() for row, n in
            zip(model.response(conditioned), model.response_lengths(conditioned), strict=True)] == written  # fmt: skip
    leaves = [{name: tensor.clone().requires_grad_() for name, tensor in one.tensors.items()} for one in conditioned]
    sets = [FeatureSet(tensors, one.side, one.given) for tensors, one in zip(leaves, conditioned, strict=True)]
    loss = model.response(sets)[0].square().sum()
    own, *others = (
        torch.autograd.grad(loss, list(one.values()), retain_graph=True, allow_unused=True) for one in leaves
    )
    assert all(gradient is not None and torch.isfinite(gradient).all() and gradient.any() for gradient in own)
    assert not any(gradient is not None and gradient.any() for one in others for gradient in one)


def test_one_prompt_gives_the_full_models_logits_to_the_last_bit(model: KimiAudioSplitModel) -> None:
    for one in PROMPTS:
        assert torch.equal(model.prefill_logits([model.front(one)])[0], model.full_logits(one))


def test_generation_is_that_of_the_full_model_alone_and_in_a_ragged_batch(model: KimiAudioSplitModel) -> None:
    features = [model.front(one) for one in PROMPTS]
    assert len({len(one["hidden"]) for one in features}) == len(PROMPTS)
    expected = [model.full_tokens(one) for one in PROMPTS]
    assert len({tuple(tokens) for tokens in expected}) == len(PROMPTS)  # the prompts matter
    assert [model.generate_tokens([one])[0] for one in features] == expected
    assert model.generate_tokens(features) == expected
    assert model.tail(features) == [model.full(one) for one in PROMPTS]


def test_generation_is_the_published_loop_over_two_streams(model: KimiAudioSplitModel) -> None:
    """Two tokens a step, the audio token always blank, positions counted on, and no cache to go wrong."""
    table = model.model.get_input_embeddings()
    blank, end = (model.tokenizer.convert_tokens_to_ids(token) for token in (BLANK, TEXT_END))
    for one in PROMPTS:
        embedded, written = model.prompt(one)["inputs_embeds"], []
        with torch.no_grad():
            for _ in range(NEW_TOKENS):
                token = int(model.model(inputs_embeds=embedded, use_cache=False).logits[0, -1].argmax())
                written.append(token)
                if token == end:
                    break
                added = table.table.weight[token] * (token != 0) + table.table.weight[blank]
                embedded = torch.cat([embedded, added[None, None]], dim=1)
        assert model.full_tokens(one) == written


def test_the_prefill_needs_no_weight_of_the_front(fresh: KimiAudioSplitModel) -> None:
    features = [fresh.front(one) for one in PROMPTS]
    logits, first = fresh.prefill_logits(features), fresh.generate_tokens(features, max_new_tokens=1)
    fill_with_nan(fresh.front_modules())
    assert torch.equal(fresh.prefill_logits(features), logits)
    assert fresh.generate_tokens(features, max_new_tokens=1) == first
    assert fresh.full_logits(PROMPTS[0]).isnan().all()  # the weights are gone indeed
    left = [name for name, weight in fresh.model.named_parameters() if not weight.isnan().any()]
    assert all(name.startswith(("model.layers.5.", "model.norm.", "lm_head.")) for name in left)


def test_no_layer_behind_the_split_runs_in_the_front(fresh: KimiAudioSplitModel) -> None:
    before = fresh.front(PROMPTS[0])
    fill_with_nan([*fresh.layers[SPLIT + 1 :], fresh.model.lm_head])
    after = fresh.front(PROMPTS[0])
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_tensor_is_alive_once_a_second_token_is_written(model: KimiAudioSplitModel) -> None:
    features = model.front(PROMPTS[0])

    def logits(given: FeatureSet) -> list[torch.Tensor]:
        steps: list[torch.Tensor] = []
        handle = model.model.lm_head.register_forward_hook(lambda module, inputs, output: steps.append(output[0, -1]))
        try:
            model.generate_tokens([given], 2)
        finally:
            handle.remove()
        return steps

    first, second = logits(features)
    for name in features:
        noise = torch.randn(features[name].shape, generator=torch.Generator().manual_seed(1))
        changed = {key: tensor + 2 * noise if key == name else tensor for key, tensor in features.tensors.items()}
        other_first, other_second = logits(FeatureSet(changed))
        assert torch.equal(first, other_first) == (name != "hidden"), name
        assert not torch.equal(second, other_second), f"{name} is dead"


def test_features_have_the_full_scenarios_names_and_axes(model: KimiAudioSplitModel) -> None:
    full = SCENARIOS.get("cau-librispeech-clean")
    sizes = {"key": (model.model.config.num_key_value_heads, 8), "value": (model.model.config.num_key_value_heads, 8)}
    tokens = Axis(name="tokens", limit=100)
    specs = FeatureSpecs(
        tensors=tuple(
            TensorSpec(
                name=spec.name,
                role=spec.role,
                shape=(sizes[spec.role][0], tokens, 8) if spec.role in sizes else (tokens, 32),
                dtype="float32",
            )
            for spec in full.tensors
        )
    )
    check_features(model.front(PROMPTS[0]), specs)


# ---------------------------------------------------------------------------------------- streams, sums and hearing


def test_both_streams_hold_the_message_in_the_published_order() -> None:
    tokenizer = KimiTokenizer(RANKS)
    streams = make_streams(tokenizer, "hell", [330, 331])
    names = {256 + 4 + place: name for name, place in SPECIAL.items()}
    assert [names.get(id, id) for id in streams.audio] == [
        "<|im_kimia_user_msg_start|>",
        "<|im_kimia_text_blank|>",
        "<|im_media_begin|>",
        330,
        331,
        "<|im_media_end|>",
        "<|im_kimia_speech_ct_id|>",
        "<|im_msg_end|>",
        "<|im_kimia_assistant_msg_start|>",
    ]
    assert [names.get(id, id) for id in streams.text] == [BLANK, 258, *[BLANK] * 7]
    assert streams.audio[streams.heard] == [330, 331]


def test_what_is_heard_is_added_to_the_audio_token_and_scaled_before_the_text_is_added() -> None:
    table = torch.nn.Embedding(10, 4)
    embedding = TwoStreamEmbedding(table, blank=9)
    text, audio = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5, 6]])
    heard = torch.randn(1, 4)
    rows = table.weight
    embedded = embedding(text, audio, heard, torch.tensor([[False, True, False]]))[0]
    torch.testing.assert_close(embedded[0], rows[4] + rows[1])
    torch.testing.assert_close(embedded[1], (rows[5] + heard[0]) * math.sqrt(2) + rows[2])
    torch.testing.assert_close(embedding(text)[0], rows[text[0]] + rows[9])
    torch.testing.assert_close(embedding(torch.tensor([[0], [1]]))[:, 0], torch.stack([rows[9], rows[9] + rows[1]]))


def test_audio_takes_a_position_for_every_80_ms_also_beyond_a_window() -> None:
    _, encoder = make_parts()
    listener = Listener(encoder, AudioAdaptor(64, 8, 1e-6)).eval()
    assert listener.window == 64 * 2 * 160
    with torch.no_grad():
        for samples in (1, 1280, 1281, listener.window, listener.window + 1, 3 * listener.window - 5):
            assert listener(wave(samples / SAMPLE_RATE)[:samples]).shape == (token_count(samples), 8)
        long = wave(2.0)
        parts = [listener(long[: listener.window]), listener(long[listener.window :])]
        assert torch.equal(listener(long), torch.cat(parts))


def test_features_of_audio_are_those_of_whispers_extractor() -> None:
    from transformers import WhisperFeatureExtractor

    _, encoder = make_parts()
    listener = Listener(encoder, AudioAdaptor(64, 8, 1e-6))
    samples = wave(0.7)
    expected = WhisperFeatureExtractor(feature_size=80)(
        np.pad(samples, (0, listener.window - len(samples))), sampling_rate=SAMPLE_RATE, return_tensors="np"
    ).input_features[0][:, : listener.window // 160]
    assert np.abs(listener.mel(samples)[0].numpy() - expected)[:, :-2].max() < 1e-3  # the cut's edge aside


def audio_file(rate: int = SAMPLE_RATE, channels: int = 1, format: str = "WAV") -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.tile(wave(0.3)[:, None], (1, channels)), rate, format=format)
    return buffer.getvalue()


def test_audio_files_are_decoded_and_others_refused(model: KimiAudioSplitModel) -> None:
    np.testing.assert_allclose(decode_audio(audio_file()), wave(0.3), atol=1e-4)
    np.testing.assert_allclose(decode_audio(audio_file(channels=2)), wave(0.3), atol=1e-4)
    for data, message in ((audio_file(rate=8000), "16000 Hz"), (b"RIFFnoise", "cannot be read"), (b"", "cannot be")):
        with pytest.raises(DataError, match=message):
            decode_audio(data)
    tokens = [AUDIO_TOKEN] * token_count(4800)
    from_file = model.front(SpokenPrompt(audio_file(format="FLAC"), "", tokens))
    assert from_file["hidden"].shape == model.front(SpokenPrompt(wave(0.3), "", tokens))["hidden"].shape


def test_audio_tokens_of_another_model_have_to_be_given(model: KimiAudioSplitModel) -> None:
    with pytest.raises(DataError, match=r"audio tokenizer.*give SpokenPrompt\.audio_tokens"):
        model.front(SpokenPrompt(wave(0.3)))
    with pytest.raises(DataError, match=r"4 positions.* has 2 audio tokens; give 4"):
        model.front(SpokenPrompt(wave(0.3), "", [AUDIO_TOKEN] * 2))


# --------------------------------------------------------------------------------------------------- the tokenizer


def test_text_is_merged_by_rank_and_comes_back() -> None:
    tokenizer = KimiTokenizer(RANKS)
    assert tokenizer("hello hello")["input_ids"] == [258, ord("o"), ord(" "), 258, ord("o")]
    for text in ("Dónde está?\n\n  12 apples, I'll", "", "早安 <|im_media_end|>"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert max(ids, default=0) < len(RANKS)  # a special token cannot be smuggled in as text
    assert tokenizer.decode([104, 105, tokenizer.convert_tokens_to_ids(TEXT_END)]) == "hi"
    with pytest.raises(DataError, match="no special token"):
        tokenizer.convert_tokens_to_ids("<eos>")


def table(ranks: dict[bytes, int]) -> str:
    return "".join(f"{base64.b64encode(piece).decode()} {rank}\n" for piece, rank in ranks.items())


def test_the_published_special_tokens_have_their_published_ids() -> None:
    ids = {name: 151643 + place for name, place in SPECIAL.items()}
    assert ids["<|im_media_begin|>"] == 151661 and ids[BLANK] == 151666 and ids[TEXT_END] == 151667


@pytest.mark.parametrize(
    "damage", ["", "aGU= x\n", "not base64! 3\n", "é 1\n", table({b"a": 0}), table(RANKS) + "YWI= 300\n"]
)
def test_a_damaged_table_of_pieces_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "tiktoken.model"
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(DataError, match=str(path)):
        read_ranks(path)


# ------------------------------------------------------------------------------------------- the published layout


def published(folder: Path) -> Scenario:
    """Writes a tiny checkpoint laid out as the published one, and returns a scenario for it."""
    from safetensors.torch import save_file
    from transformers import WhisperForConditionalGeneration

    decoder, encoder = make_parts()
    state = {name: weight.clone() for name, weight in decoder.state_dict().items()}
    assert {f"model.vq_adaptor.layers.{n}.weight" for n in (0, 3, 4)} < set(state)
    state |= {"model.mimo_layers.0.mlp.up_proj.weight": torch.ones(3), "mimo_output.weight": torch.ones(2)}
    names = sorted(state)
    shards = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for shard, members in shards.items():
        save_file({name: state[name] for name in members}, folder / shard, metadata={"format": "pt"})
    places = {name: shard for shard, members in shards.items() for name in members}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["MoonshotKimiaForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_moonshot_kimia.MoonshotKimiaForCausalLM"},
        "model_type": "kimi_audio",
        "rope_theta": 1000000.0,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "kimia_adaptor_input_dim": 64,
        "kimia_mimo_layers": 6,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tiktoken.model").write_text(table(RANKS))
    whisper = WhisperForConditionalGeneration(encoder.config)
    whisper.model.encoder.load_state_dict(encoder.state_dict())
    whisper.save_pretrained(folder / "whisper-large-v3")
    full = SCENARIOS.get("cau-librispeech-clean")
    options = {"max_new_tokens": NEW_TOKENS}
    backbone = Backbone(adapter="kimi-audio", source=str(folder), options=options)
    return full.model_copy(update={"backbone": backbone, "edition": "user"})


def test_a_checkpoint_in_the_published_layout_loads_completely(tmp_path: Path) -> None:
    scenario = published(tmp_path)
    loaded = KimiAudioSplitModel.load(scenario, tmp_path, "cpu")
    decoder, encoder = make_parts(rope_theta=1000000.0)
    expected = KimiAudioSplitModel(decoder, KimiTokenizer(RANKS), SPLIT, encoder, max_new_tokens=NEW_TOKENS)
    assert loaded.model.config.rope_parameters["rope_theta"] == 1000000.0
    for one in PROMPTS:
        assert loaded.full_tokens(one) == expected.full_tokens(one)
        assert torch.equal(loaded.front(one)["hidden"], expected.front(one)["hidden"])


@pytest.mark.parametrize("part", ["config.json", "tiktoken.model", "whisper-large-v3/model.safetensors"])
def test_an_incomplete_checkpoint_is_one_clear_error(part: str, tmp_path: Path) -> None:
    scenario = published(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(DataError, match=str(tmp_path)):
        KimiAudioSplitModel.load(scenario, tmp_path, "cpu")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    scenario = published(tmp_path)
    for shard in tmp_path.glob("model-*.safetensors"):
        kept = {name: weight for name, weight in load_file(shard).items() if "vq_adaptor.layers.3" not in name}
        save_file(kept, shard, metadata={"format": "pt"})
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())
    places["weight_map"] = {name: at for name, at in places["weight_map"].items() if "vq_adaptor.layers.3" not in name}
    index.write_text(json.dumps(places))
    with pytest.raises(DataError, match=r"lacks 2 weights.*vq_adaptor\.layers\.3"):
        KimiAudioSplitModel.load(scenario, tmp_path, "cpu")


def test_options_are_checked(tmp_path: Path) -> None:
    scenario = published(tmp_path)
    backbone = scenario.backbone.model_copy(update={"options": {"placehodler": "x"}})
    with pytest.raises(ScenarioError, match="did you mean 'placeholder'"):
        KimiAudioSplitModel.load(scenario.model_copy(update={"backbone": backbone}), tmp_path, "cpu")
    with pytest.raises(ScenarioError, match="one split point"):
        KimiAudioSplitModel.load(scenario.model_copy(update={"splits": (1, 4)}), tmp_path, "cpu")


# ------------------------------------------------------------------------------------------------- repetition penalty


def test_generated_text_tokens_are_penalised_and_nothing_of_the_prompt() -> None:
    """Against a loop that runs the whole model anew for each token."""
    penalty, window = 3.0, 2
    rules = GenerationRules(repetition_penalty=penalty, repetition_window=window)
    decoder, encoder = make_parts()
    model = KimiAudioSplitModel(decoder, KimiTokenizer(RANKS), SPLIT, encoder, max_new_tokens=NEW_TOKENS, rules=rules)
    model._stop_tokens = []
    model.model.generation_config.eos_token_id = None
    embedding = model.model.get_input_embeddings()
    for one in PROMPTS:
        embedded, new = model.prompt(one)["inputs_embeds"], list[int]()
        while len(new) < NEW_TOKENS:
            logits = model.model(inputs_embeds=embedded, use_cache=False).logits[0, -1].clone()
            if len(new) > window:
                for token in set(new[-window:]):
                    logits[token] *= penalty if logits[token] < 0 else 1 / penalty
            new.append(int(logits.argmax()))
            embedded = torch.cat([embedded, embedding(torch.tensor([[new[-1]]]))], dim=1)
        assert model.generate_tokens([model.front(one)])[0] == new
        assert model.full_tokens(one) == new


def test_the_full_scenarios_have_the_published_limit_and_penalty() -> None:
    for id in ("cau-librispeech-clean", "cau-librispeech-other", "cau-advbench", "cau-openbookqa", "cau-sdqa"):
        options = parse_options(KimiAudioOptions, SCENARIOS.get(id))
        assert (options.max_new_tokens, options.rules) == (1024, GenerationRules((), 1.1, 16))
    assert parse_options(KimiAudioOptions, SCENARIOS.get("mini-cau-questions")).rules == GenerationRules()


# --------------------------------------------------------------------------------------------------- audio tokenizer


class _Counting:
    """A tokenizer whose tokens are 0, 1, 2, 3, 0, ..."""

    def tokens(self, samples: np.ndarray) -> list[int]:
        return [place % 4 for place in range(token_count(len(samples)))]


def test_audio_alone_is_enough_where_there_is_an_audio_tokenizer() -> None:
    decoder, encoder = make_parts()
    loaded: list[_Counting] = []

    def load() -> Any:
        loaded.append(_Counting())
        return loaded[-1]

    model = KimiAudioSplitModel(
        decoder,
        KimiTokenizer(RANKS),
        SPLIT,
        encoder,
        max_new_tokens=NEW_TOKENS,
        audio_tokenizer=load,
        audio_token_offset=AUDIO_TOKEN,
    )
    audio = wave(1.0, 3)
    given = SpokenPrompt(audio, "write", [AUDIO_TOKEN + place % 4 for place in range(token_count(len(audio)))])
    features = model.front(given)
    model.tail([features])
    assert not loaded  # neither the tail nor a prompt with tokens needs it
    for _ in range(2):
        own = model.front(SpokenPrompt(audio, "write"))
        assert all(torch.equal(own[name], features[name]) for name in features)
    assert len(loaded) == 1


def test_the_audio_tokenizer_is_read_from_a_folder_or_pinned(tmp_path: Path) -> None:
    scenario = SCENARIOS.get("cau-sdqa")
    options = parse_options(KimiAudioOptions, scenario)
    assert (options.audio_tokenizer, options.audio_token_offset) == ("THUDM/glm-4-voice-tokenizer", 152064)
    load = _audio_tokenizer(scenario, options, "cpu")
    assert load is not None
    with pytest.raises(ScenarioError, match="does not pin THUDM/glm-4-voice-tokenizer; `lamofcbench pin cau-sdqa`"):
        load()
    elsewhere = options.model_copy(update={"audio_tokenizer": f"{tmp_path}/"})
    load = _audio_tokenizer(scenario, elsewhere, "cpu")
    assert load is not None
    with pytest.raises(DataError, match=r"no file .*model\.safetensors"):
        load()
    assert _audio_tokenizer(scenario, options.model_copy(update={"audio_tokenizer": None}), "cpu") is None


def test_in_the_published_dtype_the_stored_features_go_on_as_the_whole_model_does() -> None:
    """bf16, in which the full scenarios compute and store."""
    full = SCENARIOS.get("cau-sdqa")
    assert full.backbone.options["compute_dtype"] == "bfloat16" and {t.dtype for t in full.tensors} == {"bfloat16"}
    decoder, encoder = make_parts()
    parts = decoder.bfloat16(), KimiTokenizer(RANKS), SPLIT, encoder.bfloat16()
    model = KimiAudioSplitModel(*parts, max_new_tokens=NEW_TOKENS)
    for one in PROMPTS:
        features = model.front(one)
        assert {tensor.dtype for tensor in features.tensors.values()} == {torch.bfloat16}
        assert model.generate_tokens([features])[0] == model.full_tokens(one)
