"""The speech model's training batches: log-mel frames, both token streams, and which word sounds where."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dataset_builders.mini.speech._recordings import MEL_BINS, SILENT, WINDOW, Recordings
from dataset_builders.mini.speech.tokenizer import AUDIO, INSTRUCTIONS, UNKNOWN
from lamofcbench.models.kimi_audio import BLANK, HOP, SAMPLE_RATE, SAMPLES_PER_TOKEN, TEXT_END, make_streams

IGNORED = -100
FRAMES_PER_TOKEN = SAMPLES_PER_TOKEN // HOP
POSITIONS = WINDOW // FRAMES_PER_TOKEN
FRAMES_PER_SECOND = SAMPLE_RATE // HOP


@dataclass(frozen=True)
class Batch:
    """Sequences of prompts and answers, padded on the right.

    Attributes:
        mel: log-mel frames, float32 ``[B, 80, 320]``.
        text: text token ids, int64 ``[B, T]``.
        audio: audio token ids, int64 ``[B, T]``.
        where: the positions of audio, bool ``[B, T]``.
        heard: which of the window's positions these are, bool ``[B, 40]``.
        labels: text ids where they are to be learnt, -100 elsewhere, int64 ``[B, T]``.
        sounding: the id of the word that sounds at a position, `UNKNOWN`'s in pauses, -100 behind the end,
            int64 ``[B, 40]``.
    """

    mel: Tensor
    text: Tensor
    audio: Tensor
    where: Tensor
    heard: Tensor
    labels: Tensor
    sounding: Tensor


def make_batch(tokenizer: Any, recordings: Recordings, indices: Sequence[int], source: random.Random) -> Batch:
    """Returns the batch of some recordings, each changed at random as the source draws."""
    ids = tokenizer.convert_tokens_to_ids
    mels, texts, audios, wheres, labels, counts, soundings = [], [], [], [], [], [], []
    for index in indices:
        utterance, mel = recordings.utterances[index], recordings.mel(index)
        tempo = source.uniform(0.9, min(1.1, WINDOW / len(mel)))
        spoken = (len(mel) - SILENT) * tempo
        count = min(POSITIONS, -int(-spoken // FRAMES_PER_TOKEN))
        streams = make_streams(tokenizer, INSTRUCTIONS[utterance.task], [ids(AUDIO)] * count)
        answer = [*tokenizer(utterance.answer).input_ids, ids(TEXT_END)]
        mels.append(changed(mel, tempo, source))
        texts.append(streams.text + answer)
        audios.append(streams.audio + [ids(BLANK)] * len(answer))
        wheres.append([streams.heard.start <= place < streams.heard.stop for place in range(len(streams.text))])
        labels.append([IGNORED] * len(streams.text) + answer)
        counts.append(count)
        soundings.append(_sounding(tokenizer, recordings.starts[index], count, tempo))
    return Batch(
        mel=torch.stack(mels),
        text=_padded(texts, ids(BLANK)),
        audio=_padded(audios, ids(BLANK)),
        where=_padded(
            [[*where, *[False] * (len(text) - len(where))] for where, text in zip(wheres, texts, strict=True)], False
        ),
        heard=torch.arange(POSITIONS) < torch.tensor(counts)[:, None],
        labels=_padded(labels, IGNORED),
        sounding=_padded([one + [IGNORED] * (POSITIONS - len(one)) for one in soundings], IGNORED),
    )


def _padded(rows: list[list[Any]], value: Any) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def _sounding(tokenizer: Any, starts: Sequence[tuple[str, float]], count: int, tempo: float) -> list[int]:
    """The id of the word that sounds in the middle of each of `count` positions."""
    begins = [start * tempo * FRAMES_PER_SECOND / FRAMES_PER_TOKEN for _, start in starts]
    words = [tokenizer.convert_tokens_to_ids(word or UNKNOWN) for word, _ in starts]
    found = []
    for position in range(count):
        last = sum(begin <= position + 0.5 for begin in begins) - 1
        found.append(words[max(0, last)])
    return found


def changed(mel: Tensor, tempo: float, source: random.Random) -> Tensor:
    """Returns a recording's frames as another speaker's: slower or faster, a longer or shorter throat, parts missing.

    Args:
        mel: ``[n, 80]``, the last frame being silence.
        tempo: the factor on the length.
        source: of the other draws.

    Returns:
        ``[80, 320]``.
    """
    window = mel[-1].expand(WINDOW, -1).clone()
    window[: len(mel)] = mel
    throat = source.uniform(0.92, 1.08)
    times = ((torch.arange(WINDOW) + 0.5) / tempo / WINDOW * 2 - 1).expand(MEL_BINS, -1)
    bins = ((torch.arange(MEL_BINS) + 0.5) * throat / MEL_BINS * 2 - 1)[:, None].expand(-1, WINDOW)
    grid = torch.stack([times, bins], dim=-1)[None]
    image = functional.grid_sample(window.T[None, None], grid, padding_mode="border", align_corners=False)[0, 0]
    silence = float(mel.min())
    for _ in range(2):
        width = source.randint(0, 8)
        start = source.randint(0, MEL_BINS - width)
        image[start : start + width] = silence
    width = source.randint(0, 8)
    start = source.randint(0, len(mel) - 1)
    image[:, start : start + width] = silence
    return image
