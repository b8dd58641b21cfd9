"""The coded bytes of a result in one file: all of them, or some that the hashes of all draw.

``bitstreams.safetensors`` holds a uint8 tensor for each sample, named by the sample's index, and in its metadata the
hex sha256 of every sample's bytes, those of samples that are left out included. The list of all hashes decides which
samples are shown. That keeps honest packers from picking, and nobody else: who changes a sample that is left out, until
the list draws samples that suit, packs a part of their choice. So a part shows what a codec does on some samples, and
is no proof of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.submission.manifest import SubmissionError
from lamofcbench.errors import first_line
from lamofcbench.features import FeatureSet
from lamofcbench.storage.integrity import file_sha256

BITSTREAMS_FILE = "bitstreams.safetensors"
HASHES = "sha256"
LEAST_SHOWN, SHOWN_SHARE = 3, 0.1
MAX_FILE_BYTES = 2**33
SLACK_BYTES = 2**16
_HEX = frozenset("0123456789abcdef")


def drawn(hashes: Sequence[str]) -> list[int]:
    """The samples whose bytes are shown where not all are, rising: a tenth, three at least.

    Example:
        >>> drawn(["00" * 32] * 40)
        [11, 19, 31, 33]
    """
    count = min(len(hashes), max(LEAST_SHOWN, round(SHOWN_SHARE * len(hashes))))
    digest = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    ranks = [(hashlib.sha256(f"{digest} {index}".encode()).digest(), index) for index in range(len(hashes))]
    return sorted(index for _, index in sorted(ranks)[:count])


def most_coded_bytes(features: FeatureSet) -> int:
    """How long a bitstream of features may be: a few times as long as these are uncoded."""
    return features.raw_bits // 2 + SLACK_BYTES


def write_bitstreams(path: Path, files: Sequence[Path], *, sampled: bool) -> None:
    """Writes the file, into a folder that nobody reads yet.

    Args:
        path: of the file.
        files: of every sample's bytes, in order.
        sampled: show those that `drawn` names, in place of all.

    Raises:
        SubmissionError: if what is to be shown is more than one file of a submission may hold.
    """
    from safetensors.numpy import save_file

    hashes = [file_sha256(file) for file in files]
    shown = drawn(hashes) if sampled else range(len(files))
    size_bytes = sum(files[index].stat().st_size for index in shown)
    if size_bytes > MAX_FILE_BYTES:
        advice = "" if sampled else "; --sample-bitstreams shows a tenth of the samples"
        raise SubmissionError(
            f"the bitstreams of {files[0].parent.parent} take {size_bytes} bytes, of {MAX_FILE_BYTES} at most{advice}"
        )
    tensors = {str(index): np.fromfile(files[index], np.uint8) for index in shown}
    save_file(tensors, path, {HASHES: json.dumps(hashes)})


class Bitstreams:
    """The file, read by sample.

    Args:
        path: of the file.
        samples: how many the result has.

    Attributes:
        hashes: of every sample's bytes.
        shown: the samples whose bytes are here, rising.

    Raises:
        SubmissionError: if it is no such file, or lacks samples that it must show.
    """

    def __init__(self, path: Path, samples: int) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
            self._file = safe_open(path, framework="numpy")
            self.hashes = _hashes(self._file.metadata(), samples)
            names = list(self._file.keys())
            self.shown = sorted(int(name) for name in names if name.isascii() and name.isdecimal())
            if [str(index) for index in self.shown] != sorted(names, key=lambda name: (len(name), name)):
                raise ValueError("its tensors are not named by the samples' indices")
            if self.shown != list(range(samples)) and self.shown != drawn(self.hashes):
                raise ValueError(
                    f"it shows {len(self.shown)} samples, neither all {samples} nor those that hashes draw"
                )
            for name in names:
                piece = self._file.get_slice(name)
                if piece.get_dtype() != "U8" or len(piece.get_shape()) != 1:
                    raise ValueError(f"sample {name} is no list of bytes")
        except FileNotFoundError as error:
            raise SubmissionError(f"{path} is missing") from error
        except (OSError, ValueError, SafetensorError, RecursionError) as error:
            raise SubmissionError(f"{path} holds no bitstreams: {first_line(error)}") from error

    def are_as_stated(self, stated: Literal["whole", "sampled"]) -> bool:
        """Whether the bytes are here of the samples that a manifest's ``bitstreams`` says."""
        return self.shown == (list(range(len(self.hashes))) if stated == "whole" else drawn(self.hashes))

    @property
    def are_whole(self) -> bool:
        """Whether the bytes of all samples are here."""
        return len(self.shown) == len(self.hashes)

    def size_bytes(self, index: int) -> int:
        """The size of a sample that is shown, which is not read for it."""
        return int(self._file.get_slice(str(index)).get_shape()[0])

    def read(self, index: int) -> bytes:
        """The bytes of a sample that is shown.

        Raises:
            SubmissionError: if they are not those of its hash.
        """
        content: bytes = self._file.get_tensor(str(index)).tobytes()
        if hashlib.sha256(content).hexdigest() != self.hashes[index]:
            raise SubmissionError("these bytes are not those of the hash beside them")
        return content


def _hashes(metadata: Any, samples: int) -> list[str]:
    """The hashes that the metadata hold.

    Raises:
        ValueError: if these are not as many hashes as there are samples.
    """
    text = (metadata or {}).get(HASHES, "null")
    hashes = json.loads(text)
    if not isinstance(hashes, list) or len(hashes) != samples:
        raise ValueError(f"its metadata hold no hashes of {samples} samples")
    if not all(isinstance(one, str) and len(one) == 64 and set(one) <= _HEX for one in hashes):
        raise ValueError("its metadata hold what is no sha256")
    if len(text) > len(json.dumps(hashes)):
        raise ValueError("its metadata hold more than hashes")
    return hashes
