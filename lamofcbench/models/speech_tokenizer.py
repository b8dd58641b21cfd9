"""The speech tokenizer of GLM-4-Voice, whose tokens Kimi-Audio's audio stream holds: 12.5 a second, of 16384 kinds.

It is the front half of a Whisper encoder with causal convolutions, whose frames look no further than to the end of
their own block; four frames are averaged, and the nearest row of a codebook is the token. Everything is read from the
published files (``model.safetensors`` of THUDM/glm-4-voice-tokenizer), with no code from there: sizes are those of the
tensors. The class was written from a description of the published code and proven on small random weights; it has not
met the weights themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.errors import DataError, first_line
from lamofcbench.models.loading import read_tensors

WEIGHTS, CONFIG = "model.safetensors", "config.json"
SAMPLE_RATE = 16000
HOP = 160
"""Samples a log-mel frame."""
HEAD_WIDTH = 64
"""Of every published Whisper."""
BLOCK = 200

_PREFIX = re.compile(r"^(model\.)?encoder\.")
_OF_TRAINING = ("ema_count", "ema_weight")
_BEHIND_THE_CODEBOOK = "embed_positions2.weight"


@dataclass(frozen=True)
class SpeechTokenizerSizes:
    """The sizes of a tokenizer; by default the published ones.

    Attributes:
        bins: of the mel scale.
        width: of the encoder.
        heads: of its attention.
        feed_forward: width within its layers.
        layers: how many there are.
        positions: frames of its window, 50 a second.
        pooled: tokens of its window.
        codes: rows of the codebook.
        block: a frame sees its own block of so many frames, and those before.
    """

    bins: int = 128
    width: int = 1280
    heads: int = 20
    feed_forward: int = 5120
    layers: int = 16
    positions: int = 1500
    pooled: int = 375
    codes: int = 16384
    block: int = BLOCK

    @property
    def pool(self) -> int:
        """Frames a token."""
        return self.positions // self.pooled

    @property
    def window(self) -> int:
        """Samples that are encoded at once."""
        return 2 * HOP * self.positions

    @property
    def samples_a_token(self) -> int:
        """Samples a token."""
        return 2 * HOP * self.pool


class SpeechTokenizer(nn.Module):
    """Tokens of speech.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: SpeechTokenizerSizes) -> None:
        super().__init__()
        from transformers import WhisperConfig, WhisperFeatureExtractor
        from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

        self.sizes = sizes
        self.extractor = WhisperFeatureExtractor(feature_size=sizes.bins)
        self.conv1 = nn.Conv1d(sizes.bins, sizes.width, 3)
        self.conv2 = nn.Conv1d(sizes.width, sizes.width, 3, stride=2)
        self.embed_positions = nn.Embedding(sizes.positions, sizes.width)
        settings: dict[str, Any] = {"encoder_attention_heads": sizes.heads, "attn_implementation": "sdpa"}
        config = WhisperConfig(d_model=sizes.width, encoder_ffn_dim=sizes.feed_forward, **settings)
        self.layers = nn.ModuleList(WhisperEncoderLayer(config) for _ in range(sizes.layers))
        self.codebook = nn.Embedding(sizes.codes, sizes.width)

    @torch.no_grad()
    def tokens(self, wave: np.ndarray) -> list[int]:
        """The tokens of mono samples at 16 kHz, float32 ``[n]``: one for each 1280 of them, and one for the rest."""
        window = self.sizes.window
        pieces = [wave[start : start + window] for start in range(0, len(wave), window)]
        extracted = self.extractor(
            pieces,
            sampling_rate=SAMPLE_RATE,
            padding="longest",
            pad_to_multiple_of=self.sizes.samples_a_token,
            return_attention_mask=True,
            return_tensors="pt",
        )
        weight = self.codebook.weight
        frames, heard = extracted.input_features.to(weight), extracted.attention_mask.to(weight.device).bool()
        found = self(frames, heard)
        return [int(token) for token in found[heard[:, :: 2 * self.sizes.pool]]]

    def forward(self, frames: Tensor, heard: Tensor) -> Tensor:
        """The token of every place, those of padding included.

        Args:
            frames: log-mel, ``[B, bins, T]``.
            heard: False for padding, bool ``[B, T]``.

        Returns:
            int64 ``[B, N]``.
        """
        hidden = functional.gelu(self.conv1(functional.pad(frames, (2, 0))))
        hidden = functional.gelu(self.conv2(functional.pad(hidden, (2, 0)))).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        mask = self._mask(heard[:, ::2], hidden.dtype)
        for layer in self.layers:
            output = layer(hidden, mask)
            hidden = output[0] if isinstance(output, tuple) else output
        pool = self.sizes.pool
        padded = functional.pad(hidden.transpose(1, 2), (0, -hidden.shape[1] % pool))
        return self._nearest(functional.avg_pool1d(padded, pool).transpose(1, 2))

    def _mask(self, heard: Tensor, dtype: torch.dtype) -> Tensor:
        """What is added to the scores of attention, ``[B, 1, T, T]``."""
        blocks = torch.arange(heard.shape[1], device=heard.device) // self.sizes.block
        seen = (blocks <= blocks[:, None]) & heard[:, None, None, :]
        return torch.zeros(seen.shape, dtype=dtype, device=heard.device).masked_fill(~seen, torch.finfo(dtype).min)

    def _nearest(self, vectors: Tensor) -> Tensor:
        rows = self.codebook.weight
        return (rows.square().sum(-1) - 2 * vectors @ rows.T).argmin(-1)  # without what is the same for all rows


def load_speech_tokenizer(directory: Path, device: str | torch.device = "cpu") -> SpeechTokenizer:
    """The tokenizer of a folder with ``model.safetensors`` and, where its heads are no Whisper's, ``config.json``.

    Raises:
        DataError: if a file is missing or damaged, or holds other tensors: the first missing or foreign one is named.
    """
    path = directory / WEIGHTS
    tensors = {_PREFIX.sub("", name): tensor for name, tensor in read_tensors(path).items()}
    sizes = _sizes(tensors, _heads(directory / CONFIG), path)
    with torch.device("meta"):
        model = SpeechTokenizer(sizes)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in expected.items():
        if name not in tensors:
            raise DataError(f"{path} lacks {name!r}")
        if tuple(tensors[name].shape) != shape:
            raise DataError(f"{path}: {name!r} is {list(tensors[name].shape)}; it should be {list(shape)}")
    foreign = [name for name in tensors if name not in {*expected, *_OF_TRAINING, _BEHIND_THE_CODEBOOK}]
    if foreign:
        raise DataError(f"{path} holds {foreign[0]!r}, which is no part of a speech tokenizer")
    model.load_state_dict({name: tensors[name].float() for name in expected}, assign=True)
    return model.to(device).eval().requires_grad_(False)


def _sizes(tensors: Mapping[str, Tensor], heads: int | None, path: Path) -> SpeechTokenizerSizes:
    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in tensors:
            raise DataError(f"{path} lacks {name!r}")
        if tensors[name].ndim != axes or 0 in tensors[name].shape:
            raise DataError(f"{path}: {name!r} is {list(tensors[name].shape)}, which is no speech tokenizer's")
        return tuple(tensors[name].shape)

    width, bins, _ = shape("conv1.weight", 3)
    positions, pooled = shape("embed_positions.weight", 2)[0], shape(_BEHIND_THE_CODEBOOK, 2)[0]
    numbers = [int(match[1]) for match in (re.match(r"layers\.([0-9]{1,4})\.", name) for name in tensors) if match]
    sizes = SpeechTokenizerSizes(
        bins=bins,
        width=width,
        heads=heads or max(width // HEAD_WIDTH, 1),
        feed_forward=shape("layers.0.fc1.weight", 2)[0],
        layers=max(numbers, default=0) + 1,
        positions=positions,
        pooled=pooled,
        codes=shape("codebook.weight", 2)[0],
    )
    if width % sizes.heads or positions % pooled:
        raise DataError(f"{path}: {sizes.heads} heads of {width}, {pooled} tokens of {positions} frames cannot be")
    return sizes


def _heads(path: Path) -> int | None:
    """The heads that a config states; None where there is none."""
    if not path.is_file():
        return None
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
        heads = config.get("encoder_attention_heads")
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise DataError(f"cannot read {path}: {first_line(error)}") from error
    if heads is not None and (isinstance(heads, bool) or not isinstance(heads, int) or heads < 1):
        raise DataError(f"{path} states {heads!r} for encoder_attention_heads, which is no number of heads")
    return heads
