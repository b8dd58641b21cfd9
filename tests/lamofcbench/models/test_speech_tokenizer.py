"""The speech tokenizer against its equations in plain numpy, and its files against the published names and shapes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import randomised
from safetensors.torch import save_file

from lamofcbench.errors import DataError
from lamofcbench.models.kimi_audio import token_count
from lamofcbench.models.speech_tokenizer import (
    SpeechTokenizer,
    SpeechTokenizerSizes,
    _sizes,
    load_speech_tokenizer,
)

SMALL = SpeechTokenizerSizes(
    bins=16, width=12, heads=3, feed_forward=20, layers=3, positions=48, pooled=12, codes=40, block=10
)
"""Its window is of 0.96 seconds."""


def wave(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def tokenizer() -> SpeechTokenizer:
    return randomised(SpeechTokenizer(SMALL), 3, spread=0.4)


# --------------------------------------------------------------------------------------------- in plain numpy, anew


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def norm(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def causal(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Output t sees inputs t * stride - 2 to t * stride; ``[T, C]``."""
    rows = []
    for t in range(0, len(x), stride):
        seen = [x[t + k - 2] if t + k >= 2 else np.zeros(x.shape[1]) for k in range(3)]
        rows.append(bias + sum(kernel[:, :, k] @ seen[k] for k in range(3)))
    return np.array(rows)


def plainly(w: dict[str, np.ndarray], mel: np.ndarray, heard: int, sizes: SpeechTokenizerSizes) -> list[int]:
    """The tokens of log-mel frames ``[T, bins]``, of which the first ``heard`` are no padding."""
    x = gelu(causal(mel, w["conv1.weight"], w["conv1.bias"], 1))
    x = gelu(causal(x, w["conv2.weight"], w["conv2.bias"], 2))
    x = x + w["embed_positions.weight"][: len(x)]
    kept = [2 * t < heard for t in range(len(x))]
    for layer in range(sizes.layers):
        place = f"layers.{layer}"
        y = norm(x, w, f"{place}.self_attn_layer_norm")
        q, k, v = (linear(y, w, f"{place}.self_attn.{kind}_proj") for kind in "qkv")
        out, size = np.zeros_like(x), sizes.width // sizes.heads
        for head in range(sizes.heads):
            part = slice(head * size, (head + 1) * size)
            for t in range(len(x)):
                end = (t // sizes.block + 1) * sizes.block
                keys = [s for s in range(min(end, len(x))) if kept[s]]
                scores = np.array([q[t, part] @ k[s, part] / math.sqrt(size) for s in keys])
                weights = np.exp(scores - scores.max())
                out[t, part] = weights / weights.sum() @ v[keys][:, part]
        x = x + linear(out, w, f"{place}.self_attn.out_proj")
        y = gelu(linear(norm(x, w, f"{place}.final_layer_norm"), w, f"{place}.fc1"))
        x = x + linear(y, w, f"{place}.fc2")
    tokens = []
    for start in range(0, len(x), sizes.pool):
        four = x[start : start + sizes.pool].sum(0) / sizes.pool  # what is missing at the end counts as zeros
        distances = ((w["codebook.weight"] - four) ** 2).sum(-1)
        tokens.append(int(distances.argmin()))
    return tokens


def weights_of(tokenizer: SpeechTokenizer) -> dict[str, np.ndarray]:
    return {name: tensor.double().numpy() for name, tensor in tokenizer.state_dict().items()}


def test_tokens_are_those_of_the_equations(tokenizer: SpeechTokenizer) -> None:
    """Frames of more blocks than one, with padding that must not be heard, and a last group of three."""
    source = np.random.default_rng(1)
    mel = source.standard_normal((94, SMALL.bins)).astype(np.float32)
    for heard in (94, 57, 8):
        mask = torch.arange(94)[None] < heard
        found = tokenizer(torch.from_numpy(mel.T[None].copy()), mask)[0].tolist()
        expected = plainly(weights_of(tokenizer), mel.astype(np.float64), heard, SMALL)
        assert found == expected and len(set(found)) > 3
    assert len(found) == 12


def test_a_frame_sees_its_block_and_those_before(tokenizer: SpeechTokenizer) -> None:
    """Mel frames from 60 on are the encoder's from 30 on, its block 3; tokens 0 to 6 are of the frames before."""
    mel = torch.from_numpy(np.random.default_rng(2).standard_normal((1, SMALL.bins, 96)).astype(np.float32))
    heard = torch.ones(1, 96, dtype=torch.bool)
    before, changed = tokenizer(mel, heard)[0], mel.clone()
    changed[..., 60:] += 3
    after = tokenizer(changed, heard)[0]
    assert torch.equal(before[:7], after[:7]) and not torch.equal(before[7:], after[7:])


@pytest.mark.parametrize("samples", [1, 160, 1280, 1281, 5000, 15360, 15361, 40000])
def test_there_is_a_token_for_each_position_of_the_decoder(tokenizer: SpeechTokenizer, samples: int) -> None:
    tokens = tokenizer.tokens(wave(samples))
    assert len(tokens) == token_count(samples)
    assert all(0 <= token < SMALL.codes for token in tokens)


def test_pieces_of_one_audio_are_padded_together(tokenizer: SpeechTokenizer) -> None:
    """The second of two pieces is padded to a window's length, its padding masked."""
    audio = wave(SMALL.window + 3000, seed=5)
    pieces = [audio[: SMALL.window], np.pad(audio[SMALL.window :], (0, SMALL.window - 3000))]
    mels = [tokenizer.extractor(one, sampling_rate=16000, max_length=SMALL.window).input_features[0] for one in pieces]
    w = weights_of(tokenizer)
    heard = (96, math.ceil(3000 / 160))
    expected = [
        plainly(w, np.asarray(mel).T.astype(np.float64), n, SMALL)[: math.ceil(n / 8)]
        for mel, n in zip(mels, heard, strict=True)
    ]
    assert tokenizer.tokens(audio) == expected[0] + expected[1]


# ----------------------------------------------------------------------------------------------------------- files


def written(folder: Path, tokenizer: SpeechTokenizer, prefix: str = "", **changes: Any) -> Path:
    """The files as published, with what training left in them."""
    tensors = {f"{prefix}{name}": tensor for name, tensor in tokenizer.state_dict().items()}
    tensors[f"{prefix}embed_positions2.weight"] = torch.zeros(SMALL.pooled, SMALL.width)
    tensors[f"{prefix}ema_count"] = torch.zeros(SMALL.codes)
    tensors[f"{prefix}ema_weight"] = torch.zeros(SMALL.codes, SMALL.width)
    tensors.update(changes)
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"encoder_attention_heads": SMALL.heads, "d_model": 12}))
    return folder


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder."])
def test_the_published_files_load_under_any_prefix(tmp_path: Path, tokenizer: SpeechTokenizer, prefix: str) -> None:
    loaded = load_speech_tokenizer(written(tmp_path, tokenizer, prefix))
    assert loaded.sizes == SpeechTokenizerSizes(**{**vars(SMALL), "block": 200})
    expected = tokenizer.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    audio = wave(2560)  # as long as eight frames, less than a block of either
    assert loaded.tokens(audio) == tokenizer.tokens(audio)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"layers.1.fc2.bias": None}, "lacks 'layers.1.fc2.bias'"),
        ({"codebook.weight": None}, "lacks 'codebook.weight'"),
        ({"decoder.x": torch.zeros(1)}, "holds 'decoder.x', which is no part"),
        ({"conv2.bias": torch.zeros(3)}, r"'conv2.bias' is \[3\]; it should be \[12\]"),
        ({"conv1.weight": torch.zeros(3)}, "which is no speech tokenizer's"),
        ({"embed_positions2.weight": torch.zeros(7, 12)}, "7 tokens of 48 frames cannot be"),
    ],
)
def test_other_tensors_are_refused_by_name(
    tmp_path: Path, tokenizer: SpeechTokenizer, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as error:
        load_speech_tokenizer(written(tmp_path, tokenizer, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", ["[", "[]", '{"encoder_attention_heads": "many"}', '{"encoder_attention_heads": 5}'])
def test_a_wrong_config_is_refused(tmp_path: Path, tokenizer: SpeechTokenizer, config: str) -> None:
    folder = written(tmp_path, tokenizer)
    (folder / "config.json").write_text(config)
    with pytest.raises(DataError):
        load_speech_tokenizer(folder)


def test_names_and_shapes_at_the_published_size() -> None:
    """All that the published files hold, without a value."""
    with torch.device("meta"):
        model = SpeechTokenizer(SpeechTokenizerSizes())
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected = {
        "conv1.weight": (1280, 128, 3),
        "conv1.bias": (1280,),
        "conv2.weight": (1280, 1280, 3),
        "conv2.bias": (1280,),
        "embed_positions.weight": (1500, 1280),
        "codebook.weight": (16384, 1280),
    }
    layer: dict[str, tuple[int, ...]] = {"fc1.weight": (5120, 1280), "fc1.bias": (5120,), "fc2.weight": (1280, 5120)}
    layer |= {"fc2.bias": (1280,)}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        layer[f"self_attn.{name}.weight"] = (1280, 1280)
        layer |= {} if name == "k_proj" else {f"self_attn.{name}.bias": (1280,)}
    for name in ("self_attn_layer_norm", "final_layer_norm"):
        layer |= {f"{name}.weight": (1280,), f"{name}.bias": (1280,)}
    expected |= {f"layers.{n}.{name}": shape for n in range(16) for name, shape in layer.items()}
    assert shapes == expected
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    tensors["embed_positions2.weight"] = torch.empty(375, 1280, device="meta")
    assert _sizes(tensors, None, Path("model.safetensors")) == SpeechTokenizerSizes()
    assert SpeechTokenizerSizes().window == 30 * 16000 and SpeechTokenizerSizes().samples_a_token == 1280
