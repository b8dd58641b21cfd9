"""The spoken sets of the mini edition's audio scenarios: which sentences they hold, and their shipped audio.

The sentences follow from the grammar and a fixed seed. Their audio was synthesised once (see `_make_audio`) and is
shipped: per set a safetensors file with all Ogg Opus files behind one another, and a JSON file that tells, in the same
order, what each says, in whose voice and in what room. Nothing is synthesised when the data are used.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.speech.grammar import Task, Utterance, utterances
from lamofcbench.builders import Split
from lamofcbench.errors import DataError

DATA = WEIGHTS.parent / "data" / "speech"
SIZES: dict[Split, int] = {"test": 200, "calibration": 64}


@dataclass(frozen=True)
class SpokenSet:
    """One set.

    Attributes:
        name: of its files.
        task: whose sentences it holds.
        noisy: whether held-out voices speak them in noisy rooms.
        after: the name of a set with the same grammar whose sentences this one leaves out.
    """

    name: str
    task: Task
    noisy: bool = False
    after: str | None = None


SETS = {
    one.name: one
    for one in (
        SpokenSet("commands-clean", "transcribe"),
        SpokenSet("commands-noisy", "transcribe", noisy=True, after="commands-clean"),
        SpokenSet("requests", "request"),
        SpokenSet("choices", "choose"),
        SpokenSet("questions", "answer"),
    )
}


@dataclass(frozen=True)
class Recording:
    """One recorded sentence: the utterance, how it was made (voice, room), and its Ogg Opus file."""

    utterance: Utterance
    made: dict[str, Any]
    audio: bytes


@cache
def planned(name: str, split: Split) -> tuple[Utterance, ...]:
    """Returns the sentences of a set's split, in order, no two the same.

    Half of the requests are harmful, and each letter is right in a quarter: no answer is common.
    """
    spoken = SETS[name]
    taken = {one.key for one in planned(spoken.after, split)} if spoken.after else set()
    count = SIZES[split]
    balanced = {"request": 2, "choose": 4}.get(spoken.task)
    shares: dict[str, int] = {}
    found: list[Utterance] = []
    for one in utterances(spoken.task, split, random.Random(f"mini speech {name} {split}")):
        full = balanced is not None and shares.get(one.reference, 0) >= count // balanced
        if one.key not in taken and not full:
            taken.add(one.key)
            found.append(one)
            shares[one.reference] = shares.get(one.reference, 0) + 1
        if len(found) == count:
            return tuple(found)
    raise AssertionError("the grammar draws without end")


def paths(name: str, folder: Path = DATA) -> tuple[Path, Path]:
    """Returns a set's two files: the audio, and what is told about it."""
    return folder / f"{name}.safetensors", folder / f"{name}.json"


@cache
def recordings(name: str, split: Split) -> tuple[Recording, ...]:
    """Returns the shipped recordings of a set's split, in order.

    Raises:
        DataError: if files are missing or damaged, or hold other sentences than the grammar gives.
    """
    every = tuple(_read(name))
    begin = 0 if split == "test" else SIZES["test"]
    chosen = every[begin : begin + SIZES[split]]
    if [one.utterance for one in chosen] != list(planned(name, split)):
        raise DataError(f"the recordings of {name} hold other sentences than its grammar gives; make them again")
    return chosen


def _read(name: str) -> Iterator[Recording]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    audio_path, told_path = paths(name)
    try:
        tensors = load_file(audio_path)
        told = json.loads(told_path.read_text(encoding="utf-8"))["recordings"]
        ends = [int(end) for end in tensors["ends"]]
        audio = tensors["audio"].tobytes()
        parts = [audio[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        for one, part in zip(told, parts, strict=True):
            if hashlib.sha256(part).hexdigest() != one["sha256"]:
                raise ValueError("its sha256 differs")
            yield Recording(Utterance(**one["utterance"]), one["made"], part)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(f"cannot read {audio_path}: {error}") from error


def pack(made: list[Recording]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns recordings as the tensors and the told facts that `recordings` reads."""
    audio = np.frombuffer(b"".join(one.audio for one in made), dtype=np.uint8)
    ends = np.cumsum([len(one.audio) for one in made], dtype=np.int64)
    told = [
        {
            "utterance": vars(one.utterance),
            "made": one.made,
            "sha256": hashlib.sha256(one.audio).hexdigest(),
        }
        for one in made
    ]
    return {"audio": audio, "ends": ends}, {"recordings": told}
