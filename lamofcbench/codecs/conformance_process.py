"""Coding in another process, with another thread count, which has seen neither the features nor the encoder.

`code_elsewhere` runs this module as a program on a folder: of each codec a folder with the saved codec and the
bitstreams of the conformance samples.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from lamofcbench.codecs.conformance_samples import test_samples
from lamofcbench.codecs.registry import load_saved
from lamofcbench.digests import digest
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet

CODEC_FOLDER = "codec"
TIMEOUT_SECONDS = 300


class Coded(NamedTuple):
    """What became of one sample.

    Attributes:
        decoded: the digest of the features that its bitstream decodes to.
        encoded: the hash of the bytes that the sample is encoded to.
    """

    decoded: str
    encoded: str

    @classmethod
    def of(cls, data: bytes, decoded: FeatureSet) -> Coded:
        """Of the bytes and what they decode to."""
        return cls(digest(decoded), hashlib.sha256(data).hexdigest())


def bitstream_file(folder: Path, index: int) -> Path:
    """Where a codec's folder has the bitstream of a sample."""
    return folder / f"{index}.bitstream"


def code_elsewhere(directory: Path) -> dict[str, list[Coded]]:
    """What a fresh process makes of each codec's folder in a directory, by its name.

    Raises:
        CodecError: if the process fails, with the last that it says.
    """
    threads = "2" if torch.get_num_threads() == 1 else "1"
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": path}
    command = [sys.executable, "-m", __name__, str(directory)]
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if finished.returncode:
        last = finished.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CodecError(f"coding fails: {last[0]}")
    return {name: [Coded(*one) for one in coded] for name, coded in json.loads(finished.stdout).items()}


def _serve(directory: Path) -> dict[str, list[Coded]]:
    return {folder.name: _code(folder) for folder in sorted(directory.iterdir())}


def _code(folder: Path) -> list[Coded]:
    codec = load_saved(folder / CODEC_FOLDER, trust_code=True)
    samples = list(test_samples())
    # All are decoded before anything is encoded, or else a codec could remember what it encoded here.
    decoded = [codec.decode(bitstream_file(folder, index).read_bytes()) for index in range(len(samples))]
    return [Coded.of(codec.encode(features), found) for (_, features), found in zip(samples, decoded, strict=True)]


if __name__ == "__main__":
    print(json.dumps(_serve(Path(sys.argv[1]))))
