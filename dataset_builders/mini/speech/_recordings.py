"""The recordings that the speech model is trained on: synthesised once into a folder, as log-mel frames in fp16.

They are not shipped: any machine with espeak-ng makes them again from the seed in several minutes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dataset_builders.mini._files import replace_file
from dataset_builders.mini.speech import _synthesis as synthesis
from dataset_builders.mini.speech.grammar import Task, Utterance, utterances
from lamofcbench.models.kimi_audio import HOP, decode_audio

VERSION = 2
PART = 1000
WINDOW = 320  # frames of 10 ms that the encoder sees
MEL_BINS = 80
SILENT = 4  # frames of the silence behind a recording that are kept
SHARES: dict[Task, float] = {"transcribe": 0.36, "request": 0.16, "choose": 0.30, "answer": 0.18}
NOISY_SHARE = 0.45
CODEC_SHARE = 0.3  # the codec is the slowest part of making a recording, and these teach its sound well enough


@dataclass(frozen=True)
class Recordings:
    """Recordings as frames.

    Attributes:
        utterances: what is said in each.
        starts: when its words begin, see `_synthesis.Spoken`.
        frames: all log-mel frames, fp16 ``[frames, 80]``.
        ends: where each recording's frames end, int64 ``[recordings]``.
    """

    utterances: list[Utterance]
    starts: list[list[tuple[str, float]]]
    frames: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.utterances)

    def mel(self, index: int) -> Tensor:
        """Returns the log-mel frames of a recording, float32 ``[n, 80]``, n at most 320; the last is silence."""
        start = self.ends[index - 1] if index else 0
        return torch.from_numpy(self.frames[start : self.ends[index]].astype(np.float32))


def make_extractor() -> Any:
    """Returns Whisper's feature extractor for the mini model: 80 bins, 10 ms a frame, a window of 3.2 s."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=MEL_BINS, chunk_length=4)


def log_mel(extractor: Any, wave: np.ndarray) -> np.ndarray:
    """Returns a wave's log-mel frames, float32 ``[320, 80]``, padded with silence."""
    inputs = extractor(wave, sampling_rate=synthesis.RATE, max_length=WINDOW * HOP, return_tensors="np")
    return inputs.input_features[0].T


def _drawn(seed: int, part: int) -> Iterator[tuple[Utterance, synthesis.Voice, synthesis.Room | None, bool]]:
    for index in range(part * PART, (part + 1) * PART):
        source = random.Random(f"speech training/{VERSION}/{seed}/{index}")
        task = source.choices(tuple(SHARES), tuple(SHARES.values()))[0]
        utterance = next(utterances(task, "training", source))
        voice = synthesis.draw_voice(source, utterance)
        room = synthesis.draw_room(source) if source.random() < NOISY_SHARE else None
        yield utterance, voice, room, source.random() < CODEC_SHARE


def make_recordings(folder: Path, seed: int, parts: int) -> Recordings:
    """Synthesises recordings into a folder, a part of a thousand after the other; parts that are there are kept.

    Args:
        folder: holds a ``.npz`` file a part.
        seed: decides sentences, voices and rooms.
        parts: how many to make; the few recordings that are too long for the window are left out.
    """
    names = [folder / f"recordings-v{VERSION}-{seed}-{part:03d}.npz" for part in range(parts)]
    for part, name in enumerate(tqdm(names, desc="recordings")):
        if not name.is_file():
            with replace_file(name) as temporary, temporary.open("wb") as file:
                np.savez(file, **_part(seed, part))
    loaded = [np.load(name, allow_pickle=False) for name in names]
    told = [one for part in loaded for one in json.loads(str(part["told"]))]
    return Recordings(
        [Utterance(**one["utterance"]) for one in told],
        [[(word, start) for word, start in one["starts"]] for one in told],
        np.concatenate([part["frames"] for part in loaded]),
        np.cumsum(np.concatenate([part["lengths"] for part in loaded])),
    )


def _part(seed: int, part: int) -> dict[str, Any]:
    extractor = make_extractor()
    frames, told = [], []
    for utterance, voice, room, coded in _drawn(seed, part):
        spoken = synthesis.speak(utterance.text, voice)
        wave = spoken.wave
        if len(wave) > synthesis.LONGEST * synthesis.RATE:
            continue
        if room is not None:
            wave = synthesis.degraded(wave, room)
        if coded:
            wave = decode_audio(synthesis.compressed(wave))
        length = min(WINDOW, len(wave) // HOP + SILENT)
        frames.append(log_mel(extractor, wave)[:length].astype(np.float16))
        told.append({"utterance": asdict(utterance), "starts": spoken.starts})
    return {
        "frames": np.concatenate(frames),
        "lengths": np.array([len(one) for one in frames]),
        "told": np.array(json.dumps(told)),
    }
