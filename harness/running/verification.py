"""Verification: a few samples of each result are decoded in another process, and compared bit for bit with the scored.

What a codec keeps outside its saved folder and its bitstreams is not there in that process, and what it draws at random
comes out otherwise: both show. Which samples, the configuration alone decides, so that runs which are resumed, limited
or shared by several processes verify the same ones.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from harness.results.journal import JournalEntry
from harness.results.result import VerificationRecord
from harness.results.store import ResultFolder
from lamofcbench.codecs.base import Codec
from lamofcbench.digests import tensor_digests
from lamofcbench.errors import VerificationError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Scenario
from lamofcbench.user_files.modules import tree_of

LEAST_SECONDS = 60.0
MOST_TIMES = 20
"""A decode may take this many times what it took in the run, and a minute in any case."""

SWITCHED_OFF = "switched off by --verify-samples 0"
ANONYMOUS = "the codec's class lives in the process that ran it and nowhere else; put it into a file"


class Decoder(Protocol):
    """What verification asks of the other process; see `harness.running.decoding_process.DecodingProcess`."""

    refused: list[str]

    def load(self, saved: Any, /, *, trust_code: bool, threads: int = 1, since: float | None = None) -> str:
        """Loads the codec that decodes from now on."""

    def decode(self, data: bytes, /, *, seconds: float, most_bytes: int) -> FeatureSet:
        """The features of a bitstream."""


ALONE = "from its saved folder and the bytes alone"


@dataclass(frozen=True)
class Draw:
    """Which samples are verified.

    Attributes:
        samples: positions in the test split, rising.
        candidates: all that a shorter or longer report of the same configuration may draw.
    """

    samples: tuple[int, ...]
    candidates: frozenset[int]


def draw(config_hash: str, count: int, reported: int, test_samples: int) -> Draw:
    """Draws samples for a report, each set equally likely.

    Every sample has a rank by a hash, and the lowest ranks of those reported are drawn. A sample is a candidate where
    its rank is among the lowest of all before it: only those are ever drawn by a report that ends behind it.

    Args:
        config_hash: of the result, which covers the seed.
        count: how many.
        reported: how many samples the report covers, from the first on.
        test_samples: how many the split holds.

    Example:
        >>> draw("00" * 8, count=2, reported=10, test_samples=10).samples
        (3, 8)
    """
    lowest: list[tuple[int, int]] = []  # a heap of negated ranks, the highest rank first
    samples: tuple[int, ...] = ()
    candidates = set()
    for index in range(test_samples if count else 0):
        entry = (-int.from_bytes(hashlib.sha256(f"{config_hash} {index}".encode()).digest()[:8], "big"), index)
        if len(lowest) < count:
            heapq.heappush(lowest, entry)
            candidates.add(index)
        elif entry > lowest[0]:
            heapq.heapreplace(lowest, entry)
            candidates.add(index)
        if index + 1 == reported:
            samples = tuple(sorted(index for _, index in lowest))
    return Draw(samples, frozenset(candidates))


class Evidence(TypedDict):
    """What is kept, as JSON, of decoded features that were scored.

    Attributes:
        digests: of each tensor, in their order.
        side: the side information.
    """

    digests: dict[str, str]
    side: dict[str, int]


def evidence_of(features: FeatureSet) -> Evidence:
    """What is kept of decoded features."""
    return {"digests": tensor_digests(features), "side": dict(features.side)}


def verify(
    codec: Codec,
    folder: ResultFolder,
    entries: Mapping[int, JournalEntry],
    samples: Sequence[int],
    scenario: Scenario,
    decoder: Decoder,
    threads: int,
) -> VerificationRecord:
    """Decodes samples in another process, from a copy of the saved codec and their bytes alone.

    Args:
        codec: as it was saved in the folder.
        folder: of the result.
        entries: the computed batches.
        samples: positions in the test split; at least one.
        scenario: that was run.
        decoder: the other process.
        threads: of torch, as in the run.

    Raises:
        VerificationError: naming codec, sample and tensor where something else comes out, or nothing.
    """
    for number, index in enumerate(samples):
        line = entries[index // scenario.batch_size].read()
        row = next(row for row in line["rows"] if row["index"] == index)
        timing = next(timing for timing in line["timings"] if timing["index"] == index)
        where = f"{scenario.id} sample {index} ({row['sample_id']}): codec {codec.name!r}"
        doing = "load"
        try:
            if number == 0:
                trust_code, since = tree_of(type(codec)) is not None, folder.begun_seconds()
                decoder.load(folder.codec_path, trust_code=trust_code, threads=threads, since=since)
            doing = "decode"
            seconds = max(LEAST_SECONDS, MOST_TIMES * timing["decode_seconds"])
            decoded = decoder.decode(folder.coded(index), seconds=seconds, most_bytes=row["raw_bits"] // 8)
        except VerificationError as error:
            raise VerificationError(
                f"{where} does not {doing} in another process, {ALONE}: {error}{_refusals(decoder, str(error))}"
            ) from error
        different = _difference(line["evidence"][str(index)], evidence_of(decoded))
        if different is not None:
            raise VerificationError(
                f"{where} decodes {different} to other values in another process, {ALONE}, than were scored"
                f"{_refusals(decoder)}"
            )
    return VerificationRecord(samples=len(samples))


def _difference(scored: Evidence, found: Evidence) -> str | None:
    """The first tensor that differs, or the side information; None where all is the same."""
    here, there = scored["digests"], found["digests"]
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            return f"tensor {name!r}"
    return None if scored["side"] == found["side"] else "the side information"


def _refusals(decoder: Decoder, said: str = "") -> str:
    """What isolation kept from the codec, where an error does not say so already."""
    refused = [what for what in decoder.refused if what not in said]
    return f" (it was refused: {'; '.join(refused)})" if refused else ""
