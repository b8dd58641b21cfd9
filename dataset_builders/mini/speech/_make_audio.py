"""Synthesises the shipped audio again: `python -m dataset_builders.mini.speech._make_audio [FOLDER]`.

It needs espeak-ng. Another version of it, or of the codec, gives other bytes, and then other features and scores.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
from dataclasses import asdict
from pathlib import Path

from safetensors.numpy import save_file
from tqdm import tqdm

from dataset_builders.mini._files import replace_file
from dataset_builders.mini.speech import _synthesis as synthesis
from dataset_builders.mini.speech.grammar import Utterance
from dataset_builders.mini.speech.sets import DATA, SETS, SIZES, Recording, SpokenSet, pack, paths, planned


def record(spoken: SpokenSet, utterance: Utterance) -> Recording:
    """Returns a sentence of a set as it is shipped; voice and room follow from its words."""
    source = random.Random(f"mini speech {spoken.name} {utterance.key}")
    for _ in range(100):
        voice = synthesis.draw_voice(source, utterance, held_out=spoken.noisy)
        room = synthesis.draw_room(source) if spoken.noisy else None
        audio = synthesis.recorded(utterance, voice, room)
        if audio is not None:
            made = {"voice": asdict(voice), "room": None if room is None else asdict(room)}
            return Recording(utterance, made, audio)
    raise AssertionError(f"no voice says {utterance.text!r} in time")


def make(folder: Path) -> None:
    """Writes the files of all sets to a folder."""
    version = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout.split("  ")
    for spoken in SETS.values():
        sentences = [one for split in SIZES for one in planned(spoken.name, split)]
        tensors, told = pack([record(spoken, one) for one in tqdm(sentences, desc=spoken.name, disable=None)])
        audio_path, told_path = paths(spoken.name, folder)
        with replace_file(audio_path) as temporary:
            save_file(tensors, temporary)
        with replace_file(told_path) as temporary:
            rows = ",\n".join(json.dumps(one) for one in told["recordings"])
            head = json.dumps({"synthesiser": version[0], "codec": "Ogg Opus, mono, 16 kHz"})
            temporary.write_text(f'{head[:-1]}, "recordings": [\n{rows}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA, help="where to write (default: the package)")
    make(parser.parse_args().folder)
