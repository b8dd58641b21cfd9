"""Kimi-Audio, split after a layer of its decoder: what is heard and what is written share one prefill.

The prompt is two token streams of one length. At each position the embeddings of the audio token and of the text token
are added; both come from one table. Where audio stands, what Whisper's encoder hears there is added to the audio
token first: four frames of 50 a second are joined, mapped to the decoder's width by an adaptor, and the sum is scaled
by the square root of 2. A Qwen2 decoder reads these sums. Writing text, the model adds the blank audio token to each
new one, so its second output branch, which speaks, decides nothing about text and is not loaded.

Splitting after layer S gives ``key.i`` and ``value.i``, ``[H, T, D]`` for i = 0..S, and ``hidden``, ``[T, C]``, for the
T positions of both streams; the tail goes on as in `lamofcbench.models.language_model`.

Weights, settings and tokenizer are read as the published checkpoint holds them (a ``config.json``, the decoder and
``model.vq_adaptor`` in safetensors, a ``tiktoken.model``, the encoder in a folder of its own), with no code from there.
What is said about that checkpoint here comes from public ports of its code and was not verified on the weights
themselves. Its discrete audio tokens come from another model, `lamofcbench.models.speech_tokenizer`, which only a front
loads, and only where prompts do not bring them.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.models.generation import GenerationRules
from lamofcbench.models.kimi_tokenizer import load_kimi_tokenizer
from lamofcbench.models.language_model import DecoderOptions
from lamofcbench.models.loading import hub_file, load_pretrained, local_path, parse_options, require_pinned
from lamofcbench.models.pinning import on_hub
from lamofcbench.models.placement import current, settled
from lamofcbench.models.rotary import require_declared_rotary
from lamofcbench.models.speech_tokenizer import CONFIG, WEIGHTS, SpeechTokenizer, load_speech_tokenizer
from lamofcbench.scenarios.base import Scenario

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLE_RATE = 16000
HOP = 160
"""Samples a log-mel frame; the encoder halves the frames' rate, and the adaptor joins four of its frames."""
STACKED = 4
SAMPLES_PER_TOKEN = HOP * 2 * STACKED

BLANK, TEXT_END = "<|im_kimia_text_blank|>", "<|im_kimia_text_eos|>"
USER, ASSISTANT = "<|im_kimia_user_msg_start|>", "<|im_kimia_assistant_msg_start|>"
MEDIA_BEGIN, MEDIA_END = "<|im_media_begin|>", "<|im_media_end|>"
ANSWER_IN_TEXT, MESSAGE_END = "<|im_kimia_speech_ct_id|>", "<|im_msg_end|>"


class KimiAudioOptions(DecoderOptions):
    """The options of a Kimi-Audio.

    Attributes:
        encoder: the folder, within the model's, that holds Whisper's encoder.
        placeholder: the token that stands in the audio stream for all audio, in a model trained without an audio
            tokenizer; None for a model whose audio stream holds the tokens of one.
        audio_tokenizer: the Hub repository or the folder of the audio tokenizer; None where prompts bring its tokens.
        audio_tokenizer_revision: the repository's 40-digit commit.
        audio_token_offset: what is added to the tokenizer's tokens to give the decoder's.
    """

    encoder: str = "whisper-large-v3"
    placeholder: str | None = None
    audio_tokenizer: str | None = None
    audio_tokenizer_revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    audio_token_offset: int = Field(default=152064, ge=0)


@dataclass(frozen=True)
class SpokenPrompt:
    """A user's message: an instruction in text, and then audio.

    Attributes:
        audio: the bytes of an audio file that soundfile reads, or mono samples, float32 ``[n]``; 16 kHz.
        instruction: the text before the audio; it may be empty.
        audio_tokens: ids in the model's own table of the discrete tokens of the audio, 12.5 a second; None for a model
            trained without them, or one that has its audio tokenizer.
    """

    audio: bytes | np.ndarray
    instruction: str = ""
    audio_tokens: Sequence[int] | None = None


@dataclass(frozen=True)
class Streams:
    """A prompt's two streams.

    Attributes:
        text: text token ids.
        audio: audio token ids, as many.
        heard: the positions of the audio in them.
    """

    text: list[int]
    audio: list[int]
    heard: slice


def decode_audio(data: bytes) -> np.ndarray:
    """The samples of an audio file, float32 ``[n]``: 16 kHz, its channels averaged.

    Raises:
        DataError: if the file cannot be read, is empty, or has another sample rate.
    """
    import soundfile

    try:
        wave, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"audio cannot be read: {error}") from error
    if rate != SAMPLE_RATE or not len(wave):
        raise DataError(f"audio of {len(wave)} samples at {rate} Hz; give at least one, at {SAMPLE_RATE} Hz")
    return wave.mean(axis=1)


def token_count(samples: int) -> int:
    """How many positions of the decoder audio takes.

    >>> [token_count(samples) for samples in (1, 1280, 1281)]
    [1, 1, 2]
    """
    return (samples - 1) // SAMPLES_PER_TOKEN + 1


def make_streams(tokenizer: Any, instruction: str, audio_tokens: Sequence[int]) -> Streams:
    """A user's message with its tokens in order, up to where the model begins to write.

    Args:
        tokenizer: of the text.
        instruction: the text before the audio.
        audio_tokens: what stands in the audio stream for the audio.
    """
    ids = tokenizer.convert_tokens_to_ids
    blank = ids(BLANK)
    words = tokenizer(instruction, add_special_tokens=False)["input_ids"] if instruction else []
    before = [ids(USER), *[blank] * len(words), ids(MEDIA_BEGIN)]
    after = [ids(MEDIA_END), ids(ANSWER_IN_TEXT), ids(MESSAGE_END), ids(ASSISTANT)]
    audio = [*before, *audio_tokens, *after]
    text = [blank, *words]
    return Streams(
        text=text + [blank] * (len(audio) - len(text)),
        audio=audio,
        heard=slice(len(before), len(before) + len(audio_tokens)),
    )


class AudioAdaptor(nn.Module):
    """Maps stacked encoder frames to the decoder's width.

    Args:
        stacked_width: of four encoder frames.
        width: of the decoder.
        eps: of the closing normalisation.
    """

    def __init__(self, stacked_width: int, width: int, eps: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(stacked_width, width),
            nn.SiLU(),
            nn.Dropout(0.0),  # keeps the published checkpoint's numbering of the layers
            nn.Linear(width, width),
            nn.LayerNorm(width, eps=eps),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Encoder frames ``[B, 4 N, W]`` as ``[B, N, C]``."""
        batch, length, width = frames.shape
        return self.layers(frames.reshape(batch, length // STACKED, STACKED * width))


class TwoStreamEmbedding(nn.Module):
    """The decoder's embedding: one table, whose rows for the audio token and for the text token are added.

    Called with text ids alone, as generation does for each new token, it adds the blank audio token. It stands where
    the decoder has its table, so generation needs no code of its own.

    Args:
        table: the table.
        blank: id of the blank audio token.
    """

    def __init__(self, table: nn.Embedding, blank: int) -> None:
        super().__init__()
        self.table, self.blank = table, blank

    @property
    def weight(self) -> Tensor:
        """The table's weights, where transformers looks for them."""
        return self.table.weight

    def forward(
        self, text: Tensor, audio: Tensor | None = None, heard: Tensor | None = None, where: Tensor | None = None
    ) -> Tensor:
        """Embeddings ``[B, T, C]``.

        Args:
            text: text token ids, int64 ``[B, T]``. A row of zeros says nothing and adds nothing, as published.
            audio: audio token ids, int64 ``[B, T]``; None for blanks everywhere.
            heard: what the adaptor gives, one row a position that is True in ``where``, ``[N, C]``.
            where: the positions of audio, bool ``[B, T]``.
        """
        embedded = self.table(torch.full_like(text, self.blank) if audio is None else audio)
        if heard is not None and where is not None:
            places = where.nonzero(as_tuple=True)
            embedded = embedded.index_put(places, (embedded[places] + heard) * math.sqrt(2))
        said = (text != 0).any(-1)[:, None, None]
        return embedded + self.table(text) * said


@functools.cache
def decoder_class() -> Any:
    """Qwen2's decoder with the adaptor where the published checkpoint has it, ``model.vq_adaptor``."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    class KimiAudioDecoder(Qwen2ForCausalLM):
        def __init__(self, config: Qwen2Config) -> None:
            super().__init__(config)
            adaptor = AudioAdaptor(config.kimia_adaptor_input_dim, config.hidden_size, config.rms_norm_eps)
            self.model.vq_adaptor = adaptor

    return KimiAudioDecoder


@functools.cache
def encoder_class() -> Any:
    """Whisper's encoder, which also loads from the weights of the whole model."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    class KimiAudioEncoder(WhisperEncoder):
        @classmethod
        def from_pretrained(cls, *arguments: Any, **keywords: Any) -> Any:
            return super().from_pretrained(*arguments, key_mapping={r"^(model\.)?encoder\.": ""}, **keywords)

    return KimiAudioEncoder


class Listener(nn.Module):
    """Hears audio: log-mel frames, Whisper's encoder, the adaptor.

    Args:
        encoder: Whisper's encoder; the audio is cut into windows of the length that it was made for.
        adaptor: maps its frames to the decoder's width.
    """

    def __init__(self, encoder: Any, adaptor: nn.Module) -> None:
        super().__init__()
        from transformers import WhisperFeatureExtractor

        self.encoder, self.adaptor = encoder, adaptor
        self.window = 2 * encoder.config.max_source_positions * HOP
        self.extractor = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)

    def mel(self, wave: np.ndarray) -> Tensor:
        """Log-mel frames of at most a window of audio, filled up with silence, float32 ``[1, bins, frames]``."""
        return self.extractor(
            wave, sampling_rate=SAMPLE_RATE, max_length=self.window, return_tensors="pt"
        ).input_features

    def forward(self, wave: np.ndarray) -> Tensor:
        """What is heard in mono samples, float32 ``[n]``: ``[N, C]``, 12.5 rows a second."""
        heard = []
        weight = next(self.encoder.parameters())
        for start in range(0, len(wave), self.window):
            part = wave[start : start + self.window]
            frames = self.encoder(self.mel(part).to(weight)).last_hidden_state
            heard.append(self.adaptor(frames)[0, : token_count(len(part))])
        return torch.cat(heard)


class KimiAudioSplitModel(DecoderSplitModel):
    """A Kimi-Audio that answers in text, split after a layer of its decoder.

    Args:
        model: the decoder, a `decoder_class`. Its embedding is replaced.
        tokenizer: of the text, with the special tokens of both streams.
        split: S, the layer whose output is the hidden feature.
        encoder: Whisper's encoder; None for a model that runs its tail alone.
        placeholder: the token that stands for all audio; None where there are audio tokens.
        audio_tokenizer: loads what makes the audio tokens of prompts that bring none, when the first such one comes.
        audio_token_offset: what is added to its tokens.
        max_new_tokens: where generation stops at the latest; None to take the model's own limit.
        rules: of generation, beyond its limit and end token.
        device: a torch device.
    """

    name = "kimi-audio"
    hub_options: ClassVar = {"audio_tokenizer": "audio_tokenizer_revision"}

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        split: int,
        encoder: nn.Module | None,
        *,
        placeholder: str | None = None,
        audio_tokenizer: Callable[[], SpeechTokenizer] | None = None,
        audio_token_offset: int = 0,
        max_new_tokens: int | None = None,
        rules: GenerationRules = GenerationRules(),  # noqa: B008  (frozen)
        device: str = "cpu",
    ) -> None:
        settings: Any = model.generation_config
        settings.eos_token_id = tokenizer.convert_tokens_to_ids(TEXT_END)
        settings.pad_token_id = tokenizer.convert_tokens_to_ids(BLANK)
        self.placeholder = None if placeholder is None else tokenizer.convert_tokens_to_ids(placeholder)
        self._load_audio_tokenizer, self.audio_token_offset = audio_tokenizer, audio_token_offset
        module: Any = model
        module.set_input_embeddings(TwoStreamEmbedding(module.get_input_embeddings(), settings.pad_token_id))
        super().__init__(model, tokenizer, split, max_new_tokens=max_new_tokens, rules=rules, device=device)
        self._listener = None
        if encoder is not None:
            self._listener = settled(Listener(encoder, module.model.vq_adaptor), self.device).eval()

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> KimiAudioSplitModel:
        """The model of a scenario; its options are `KimiAudioOptions`, its one split point is S."""
        options = parse_options(KimiAudioOptions, scenario)
        if len(scenario.splits) != 1:
            raise ScenarioError(f"scenario {scenario.id!r}: a decoder has one split point, not {scenario.splits}")
        model = load_pretrained(decoder_class(), scenario, directory, options.dtype, unused=["model.vq_adaptor"])
        encoder = None
        if current().part == "whole":
            encoder = load_pretrained(encoder_class(), scenario, directory, options.dtype, options.encoder)
        require_declared_rotary(model, scenario)
        return cls(
            model,
            load_kimi_tokenizer(scenario, directory),
            scenario.splits[0],
            encoder,
            placeholder=options.placeholder,
            audio_tokenizer=_audio_tokenizer(scenario, options, device),
            audio_token_offset=options.audio_token_offset,
            max_new_tokens=options.max_new_tokens,
            rules=options.rules,
            device=device,
        )

    def prompt(self, inputs: SpokenPrompt) -> dict[str, Tensor]:
        """The prompt's embeddings, ``[1, T, C]``.

        Raises:
            DataError: if the audio cannot be read, or the audio tokens are missing, too few or too many.
        """
        wave = decode_audio(inputs.audio) if isinstance(inputs.audio, bytes) else inputs.audio
        streams = make_streams(self.tokenizer, inputs.instruction, self._audio_tokens(inputs, wave))
        text, audio = (torch.tensor([ids], device=self.device) for ids in (streams.text, streams.audio))
        where = torch.zeros_like(text, dtype=torch.bool)
        where[:, streams.heard] = True
        embedding = self.model.get_input_embeddings()
        return {"inputs_embeds": embedding(text, audio, self.listener(wave), where)}

    @property
    def listener(self) -> nn.Module:
        """Hears audio.

        Raises:
            PluginError: if the model was loaded for its tail alone.
        """
        if self._listener is None:
            raise PluginError("Whisper's encoder was not loaded: this model was loaded for its tail alone")
        return self._listener

    def front_modules(self) -> list[nn.Module]:
        """Encoder, adaptor, the embedding (unless it is also the output layer) and layers 0..S."""
        return [*([] if self._listener is None else [self._listener]), *super().front_modules()]

    @functools.cached_property
    def _audio_tokenizer(self) -> SpeechTokenizer:
        if self._load_audio_tokenizer is None:
            raise DataError(
                "this model's audio stream holds the tokens of an audio tokenizer (GLM-4-Voice's for Kimi-Audio); name "
                "its repository or folder in option audio_tokenizer, or give SpokenPrompt.audio_tokens"
            )
        return self._load_audio_tokenizer()

    def _audio_tokens(self, inputs: SpokenPrompt, wave: np.ndarray) -> Sequence[int]:
        count = token_count(len(wave))
        if self.placeholder is not None:
            return [self.placeholder] * count
        tokens = inputs.audio_tokens
        if tokens is None:
            tokens = [token + self.audio_token_offset for token in self._audio_tokenizer.tokens(wave)]
        if len(tokens) != count:
            raise DataError(f"audio of {count} positions, 12.5 a second, has {len(tokens)} audio tokens; give {count}")
        return tokens


def _audio_tokenizer(
    scenario: Scenario, options: KimiAudioOptions, device: str
) -> Callable[[], SpeechTokenizer] | None:
    """Loads a scenario's audio tokenizer; None where its options name none."""
    source = options.audio_tokenizer
    if source is None:
        return None

    def load() -> SpeechTokenizer:
        if not on_hub(source):
            return load_speech_tokenizer(local_path(source, scenario), device)
        revision = options.audio_tokenizer_revision
        require_pinned(scenario, source, revision, "option audio_tokenizer_revision")
        assert revision is not None
        hub_file(source, CONFIG, revision)  # into the same folder
        return load_speech_tokenizer(hub_file(source, WEIGHTS, revision).parent, device)

    return load
