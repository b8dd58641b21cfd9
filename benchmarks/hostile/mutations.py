"""Ways to damage bytes: each takes the bytes, bytes of another origin and a generator, and gives other bytes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

HEAD_BYTES = 64
"""Half of all places are drawn from the first bytes, where headers say what the rest is."""
LONGEST_RUN = 300
MOST_STEPS = 4

Mutation = Callable[[bytes, bytes, Random], bytes]


def flip(data: bytes, donor: bytes, random: Random) -> bytes:
    """One to eight bits the other way."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 8)):
        if changed:
            changed[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, donor: bytes, random: Random) -> bytes:
    """A run of bytes replaced by as many of one value, or of any."""
    start = _place(data, random)
    end = min(len(data), start + random.randint(1, LONGEST_RUN))
    return data[:start] + _run(end - start, random) + data[end:]


def insert(data: bytes, donor: bytes, random: Random) -> bytes:
    """A run of bytes more."""
    at = _place(data, random)
    return data[:at] + _run(random.randint(1, LONGEST_RUN), random) + data[at:]


def delete(data: bytes, donor: bytes, random: Random) -> bytes:
    """A run of bytes less."""
    start = _place(data, random)
    return data[:start] + data[start + random.randint(1, LONGEST_RUN) :]


def repeat(data: bytes, donor: bytes, random: Random) -> bytes:
    """A stretch of the bytes once more, somewhere."""
    start, at = _place(data, random), _place(data, random)
    return data[:at] + data[start : start + random.randint(1, LONGEST_RUN)] + data[at:]


def truncate(data: bytes, donor: bytes, random: Random) -> bytes:
    """The beginning of the bytes."""
    return data[: random.randint(0, len(data))]


def splice(data: bytes, donor: bytes, random: Random) -> bytes:
    """The beginning of the bytes and the end of others."""
    return data[: random.randint(0, len(data))] + donor[random.randint(0, len(donor)) :]


def noise(data: bytes, donor: bytes, random: Random) -> bytes:
    """Random bytes of about the same number."""
    return random.randbytes(random.randint(0, 2 * len(data) + 16))


MUTATIONS: tuple[Mutation, ...] = (flip, flip, overwrite, insert, delete, repeat, truncate, splice, noise)


def mutate(data: bytes, donor: bytes, random: Random) -> bytes:
    """The bytes after one to `MOST_STEPS` mutations, mostly one."""
    for _ in range(min(random.randint(1, MOST_STEPS), random.randint(1, MOST_STEPS))):
        data = random.choice(MUTATIONS)(data, donor, random)
    return data


def _place(data: bytes, random: Random) -> int:
    """A position within the bytes; 0 where there are none."""
    most = len(data) if random.random() < 0.5 else min(len(data), HEAD_BYTES)
    return random.randrange(most) if most else 0


def _run(length: int, random: Random) -> bytes:
    kind = random.randrange(3)
    return random.randbytes(length) if kind == 0 else bytes([random.choice((0, 255, random.randrange(256)))]) * length
