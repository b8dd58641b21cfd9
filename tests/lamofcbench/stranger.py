"""A decoder written from ``docs/bitstream.md`` alone, in plain Python, to hold page and library to each other.

It imports nothing of the library. Section numbers are those of the page.
"""

import struct
import zlib

# ------------------------------------------------------------------------------------------------- 1. container


def open_container(data, fingerprint, axes, side, raw_sizes_of):
    """Sizes of axes, side information and sections; ``raw_sizes_of(sizes)`` are the raw sizes of sections."""
    assert data[0] == 0xC2
    assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(fingerprint + data[:-4])
    at = 1

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    sizes = [varint() for _ in range(axes)]
    signed = [-(z + 1) // 2 if z % 2 else z // 2 for z in (varint() for _ in range(side))]
    return sizes, signed, split(data[at:-4], raw_sizes_of(sizes))


def split(body, raw_sizes):
    if len(raw_sizes) < 2:
        return [body]
    bits = "".join(f"{byte:08b}" for byte in reversed(body))
    order, used, lengths = int(bits[:5], 2), 5, []
    for index, raw in enumerate(raw_sizes[:-1]):
        zeros = bits.index("1", used) - used
        used += zeros
        r = int(bits[used : used + zeros + order + 1], 2) - 2**order
        used += zeros + order + 1
        known, known_raw = sum(lengths), sum(raw_sizes[:index])
        prediction = (known * raw + known_raw // 2) // known_raw if known_raw else 0
        lengths.append(prediction + (-(r + 1) // 2 if r % 2 else r // 2))
    lengths.append(len(body) - -(-used // 8) - sum(lengths))
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    return [body[start : start + length] for start, length in zip(starts, lengths, strict=True)]


# ---------------------------------------------------------------------------------------------------- 2. tables

ESCAPE = "escape"


def level(entries, last):
    """Step 4, on ``[symbol, frequency]`` up to ``last``."""
    surplus = sum(frequency for _, frequency in entries) - 2**14
    if surplus < 0:
        entries[0][1] -= surplus
    for entry in entries[:last]:
        if surplus > 0:
            taken = min(surplus, entry[1] - 1)
            entry[1] -= taken
            surplus -= taken


def coder_tables(frequencies):
    """The first table and the second, each as ``[symbol, frequency]``; None where nothing is rare."""
    order = sorted(range(len(frequencies)), key=lambda symbol: (-frequencies[symbol], symbol))
    first = [[symbol, (frequencies[symbol] + 512) >> 10] for symbol in order if frequencies[symbol] >= 512]
    rare = [symbol for symbol in order if frequencies[symbol] < 512]
    own = len(first)
    if not rare:
        level(first, own)
        return first, None
    mass = sum(frequencies[symbol] for symbol in rare)
    first.append([ESCAPE, ((mass + 512) >> 10) or 1])
    level(first, own)
    second = [[symbol, ((2 * 2**14 * frequencies[symbol] + mass) // (2 * mass)) or 1] for symbol in rare]
    level(second, len(second))
    return first, second


def find(table, slot):
    start = 0
    for symbol, frequency in table:
        if slot < start + frequency:
            return symbol, frequency, start
        start += frequency
    raise AssertionError("a slot without an entry")


# ----------------------------------------------------------------------------------------------------- 3. coder


class Stream:
    def __init__(self, payload):
        self.lanes = 4 if len(payload) >= 2**14 else 1
        payload = payload.rstrip(b"\0")
        own = len(payload) if self.lanes == 1 and len(payload) <= 4 else 3 + (len(payload) % 2 == 0)
        end = len(payload) - own
        self.states = [int.from_bytes(payload[end:], "little")]
        for _ in range(self.lanes - 1):
            end -= 4
            self.states.append(int.from_bytes(payload[end : end + 4], "little"))
        self.words = list(struct.unpack(f"<{end // 2}H", payload[:end]))
        self.count = 0
        self.log = []

    def _lane(self):
        self.count += 1
        return (self.count - 1) % self.lanes

    def _refill(self, lane, x):
        word = None
        if x < 2**16 and self.words:
            word = self.words.pop()
            x = (x << 16) + word
        self.states[lane] = x
        return word

    def _step(self, lane, table):
        before = self.states[lane]
        slot = before % 2**14
        symbol, frequency, start = find(table, slot)
        word = self._refill(lane, frequency * (before >> 14) + slot - start)
        self.log.append((before, slot, symbol, self.states[lane], word))
        return symbol

    def symbol(self, tables):
        lane = self._lane()
        symbol = self._step(lane, tables[0])
        return self._step(lane, tables[1]) if symbol == ESCAPE else symbol

    def bits(self, width):
        lane, value = self._lane(), 0
        for taken in [width - 16, 16] if width > 16 else [width]:
            before = self.states[lane]
            value = (value << taken) + before % 2**taken
            word = self._refill(lane, before >> taken)
            self.log.append((before, before % 2**taken, f"{taken} bits", self.states[lane], word))
        return value

    def ends(self):
        return not self.words and self.states == ([0] if self.lanes == 1 else [2**16] * 4)


# ---------------------------------------------------------------------------------------------------- 5. tokens


def token_class(symbol):
    """Sign, smallest magnitude and number of plain bits of a token that is not 799."""
    sign, index = (1 if symbol >= 399 else -1), abs(symbol - 399)
    if index < 128:
        return sign, index, 0
    octave, mantissa = divmod(index - 128, 16)
    return sign, (16 + mantissa) << (octave + 3), octave + 3


def read_values(stream, symbols, step):
    """What symbols stand for, each ``("scaled", integer * step)`` or ``("raw", value)``."""
    extras = {}
    for width in range(3, 20):
        for index, symbol in enumerate(symbols):
            if symbol != 799 and token_class(symbol)[2] == width:
                extras[index] = stream.bits(width)
    raw = [index for index, symbol in enumerate(symbols) if symbol == 799]
    low = [stream.bits(16) for _ in raw]
    high = [stream.bits(16) for _ in raw]
    originals = dict(
        zip(raw, (struct.unpack("<f", struct.pack("<HH", *pair)) for pair in zip(low, high, strict=True)), strict=True)
    )
    values = []
    for index, symbol in enumerate(symbols):
        if symbol == 799:
            values.append(("raw", originals[index][0]))
        else:
            sign, magnitude, _ = token_class(symbol)
            values.append(("scaled", float(sign * (magnitude + extras.get(index, 0))) * step))
    return values
