"""Numbered bitstreams that no encoder wrote: damaged, damaged with a forged checksum, or made from scratch.

A case follows from the seed, the codec's name and its number alone, so that each can be made again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from unittest import mock

import torch
import zstandard

from benchmarks.hostile.honest import (
    STARTING_PROCESSES,
    Source,
    Stream,
    made_up_features,
    odd_source,
    raw_bytes,
    sources_of,
)
from benchmarks.hostile.mutations import mutate
from lamofcbench.bitstream import CHECKSUM_BYTES, MAGIC_AND_VERSION, BitstreamReader
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.conformance import craft
from lamofcbench.codecs.learned import latent_coders
from lamofcbench.codecs.learned.codec import LearnedCodec
from lamofcbench.codecs.learned.symbols import CHECKSUM_BYTES as LATENT_CHECKSUM_BYTES
from lamofcbench.codecs.learned.symbols import Checksum, LatentReader
from lamofcbench.errors import BitstreamError
from lamofcbench.features import FeatureSet

LONGEST_BODY = 2**18
DONORS = ("identity", "zstd", "uniform")
"""Codecs whose streams are spliced into those of others."""


@dataclass(frozen=True)
class StreamCase:
    """A bitstream, and the codec that is to refuse or decode it."""

    kind: str
    source: Source
    data: bytes

    @property
    def in_process(self) -> bool:
        """Whether the codec is known to decode in this process."""
        codec = type(self.source.codec)
        return codec.__module__.startswith("lamofcbench.") and codec.name not in STARTING_PROCESSES

    def describe(self) -> str:
        """What it is, in one line."""
        return f"{self.kind}, {len(self.data)} bytes for {self.source.label}"

    def run(self) -> str | None:
        """Decodes; what is wrong with the result, where there is one.

        Raises:
            Exception: what decoding raises.
        """
        decoded = self.source.codec.decode(self.data)
        claimed = claimed_sizes(self.source.codec, self.data)
        if claimed is None or any(n > a.limit for n, a in zip(claimed, self.source.codec.specs.axes, strict=True)):
            return "decoded though its axes are beyond their limits"
        return None if self.source.codec.lossless else _not_finite(decoded)

    def honest_run(self) -> Callable[[], object]:
        """Decoding of an honest stream of the shape that this one claims, or of the smallest where it claims none."""
        codec = self.source.codec
        sizes = claimed_sizes(codec, self.data)
        if sizes is None or any(n > axis.limit for n, axis in zip(sizes, codec.specs.axes, strict=True)):
            sizes = min((stream.sizes for stream in self.source.streams), key=sum)
        data = codec.encode(made_up_features(codec.specs, sizes, 2))
        return lambda: codec.decode(data)


class StreamCases:
    """The cases of one codec.

    Args:
        name: of the codec.
        seed: of all cases.
        sources: honest streams to start from; by default those of `sources_of`.
    """

    def __init__(self, name: str, seed: int, sources: Sequence[Source] | None = None) -> None:
        self.name, self._seed = name, seed
        self._sources = sources_of(name) if sources is None else sources
        self._donors = [stream.data for source in self._sources for stream in source.streams]
        self._donors += [stream.data for donor in DONORS for stream in odd_source(donor).streams]

    def make(self, number: int) -> StreamCase:
        """The case of this number."""
        random = Random(f"{self._seed}/{self.name}/{number}")
        source = random.choice(self._sources)
        stream, donor = random.choice(source.streams), random.choice(self._donors)
        kinds = {_damaged: 4, _forged: 7, _crafted_sections: 5, _crafted_claims: 3, _crafted_bodies: 1}
        maker = random.choices(list(kinds), list(kinds.values()))[0]
        return StreamCase(maker.__name__.strip("_").replace("_", " "), source, maker(source, stream, donor, random))

    def honest(self) -> StreamCase:
        """A case that is to be decoded: what tells whether the cases reach the decoder."""
        source = self._sources[0]
        return StreamCase("honest", source, source.streams[-1].data)


def claimed_sizes(codec: Codec, data: bytes) -> tuple[int, ...] | None:
    """The sizes of the ragged axes that a stream claims; None where its container is refused before them."""
    try:
        reader = BitstreamReader(data, codec.fingerprint)
        return tuple(reader.unsigned(axis.name) for axis in codec.specs.axes)
    except BitstreamError:
        return None


def forge(data: bytes, fingerprint: bytes) -> bytes:
    """The bytes with the codec's own beginning and the checksum that its decoder expects."""
    start = len(MAGIC_AND_VERSION)
    body = MAGIC_AND_VERSION + data[start : max(start, len(data) - CHECKSUM_BYTES)]
    return body + struct.pack("<I", zlib.crc32(body, zlib.crc32(fingerprint)))


def forge_latents(codec: LearnedCodec, sizes: Sequence[int], payload: bytes) -> bytes:
    """A learned codec's payload with the checksum that its latents have, where they can be decoded at all."""
    named = {axis.name: size for axis, size in zip(codec.specs.axes, sizes, strict=True)}
    try:
        with mock.patch.object(latent_coders, "LatentReader", _Unchecked):
            codec.decode_features(payload, {spec.name: spec.sized(named) for spec in codec.specs.tensors})
    except _LatentsReadError as found:
        return found.checksum + payload[LATENT_CHECKSUM_BYTES:]
    except BitstreamError:
        pass
    return payload


class _LatentsReadError(Exception):
    """Ends decoding before anything is synthesised."""

    def __init__(self, checksum: bytes) -> None:
        self.checksum = checksum


class _Unchecked(LatentReader):
    """Says what the checksum of latents should be, instead of checking it."""

    def end_hyper_latents(self) -> None:
        self._hyper = self._checksum.value & 0xFF
        self._checksum = Checksum()

    def finish(self) -> None:
        value = self._hyper | (self._checksum.value & 0xFFFFFF) << 8
        raise _LatentsReadError(value.to_bytes(LATENT_CHECKSUM_BYTES, "little"))


def _damaged(source: Source, stream: Stream, donor: bytes, random: Random) -> bytes:
    return mutate(stream.data, donor, random)


def _forged(source: Source, stream: Stream, donor: bytes, random: Random) -> bytes:
    return forge(mutate(stream.data, donor, random), source.codec.fingerprint)


def _crafted_sections(source: Source, stream: Stream, donor: bytes, random: Random) -> bytes:
    sections = _mutated_sections(stream, donor, random)
    if isinstance(source.codec, LearnedCodec) and random.random() < 0.5:
        sections = [forge_latents(source.codec, stream.sizes, section) for section in sections]
    return craft(source.codec, stream.sizes, sections)


def _crafted_claims(source: Source, stream: Stream, donor: bytes, random: Random) -> bytes:
    """Other sizes than the sections were made for."""
    sizes = tuple(
        _claim(size, axis.limit, random) for size, axis in zip(stream.sizes, source.codec.specs.axes, strict=True)
    )
    sections = random.choice((stream.sections, [b""] * len(stream.sections), _mutated_sections(stream, donor, random)))
    return craft(source.codec, sizes, sections)


def _crafted_bodies(source: Source, stream: Stream, donor: bytes, random: Random) -> bytes:
    """Sections of the attacker's own, whose size has to do with what the claimed shapes take."""
    axes = source.codec.specs.axes
    sizes = tuple(random.choice((n, min(2 * n + 1, a.limit), a.limit)) for n, a in zip(stream.sizes, axes, strict=True))
    share = raw_bytes(source.codec.specs, sizes) / max(1, len(stream.sections))
    length = min(int(share * random.choice((0.001, 0.01, 0.1, 1.0))), LONGEST_BODY)
    return craft(source.codec, sizes, [_body(length, section, random) for section in stream.sections])


def _mutated_sections(stream: Stream, donor: bytes, random: Random) -> list[bytes]:
    sections = list(stream.sections)
    for _ in range(random.randint(1, 3)):
        if sections:
            at, other = random.randrange(len(sections)), random.choice(sections)
            sections[at] = mutate(sections[at], random.choice((donor, other)), random)
    return sections


def _claim(size: int, limit: int, random: Random) -> int:
    return random.choice(
        (size, 0, 1, max(0, size - 1), size + 1, limit, limit + 1, random.randint(0, limit), 1 << random.randrange(64))
    )


def _body(length: int, section: bytes, random: Random) -> bytes:
    kind = random.randrange(4)
    if kind == 0:
        return bytes([random.choice((0, 1, 255, random.randrange(256)))]) * length
    if kind == 1:
        return random.randbytes(length)
    if kind == 2 and section:
        return (section * (length // len(section) + 1))[:length]
    return zstandard_zeros(length)


def zstandard_zeros(length: int) -> bytes:
    """A frame of zstd, as the codec of that name writes them, of so many kibibytes of zeros: what expands the most."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False, write_checksum=False, write_dict_id=False
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(1024 * min(length, 2**12)))


def _not_finite(decoded: FeatureSet) -> str | None:
    for name, tensor in decoded.tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            return f"tensor {name!r} decodes to NaN or infinity"
    return None
