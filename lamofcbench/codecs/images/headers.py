"""Reads what the headers of coded images claim, before a decoder that would believe them sees any of it.

Each function raises `BitstreamError` for a header that no encoder here writes: another size or format, several images,
anything that makes a decoder allocate more than the one image that is expected.
"""

from __future__ import annotations

from lamofcbench.errors import BitstreamError


class BitReader:
    """Takes unsigned integers from bytes, the most significant bit of a byte first.

    Example:
        >>> reader = BitReader(bytes([0b10100110]))
        >>> reader.take(3), reader.exp_golomb()
        (5, 5)
    """

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        """The next ``count`` bits."""
        self._at += count
        if self._at > len(self._bits):
            raise BitstreamError("an image's header is cut off")
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def exp_golomb(self) -> int:
        """The next number in Exp-Golomb code of order 0, as video headers have."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


class LowBitReader(BitReader):
    """The same with the least significant bit of a byte first, as JPEG XL has.

    Example:
        >>> LowBitReader(bytes([0b10100110])).take(4)
        6
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(b"")
        self._bits = "".join(f"{byte:08b}"[::-1] for byte in data)

    def take(self, count: int) -> int:
        """The next ``count`` bits."""
        start = self._at
        super().take(count)
        return int(self._bits[start : self._at][::-1] or "0", 2)


def check_size(claimed: tuple[int, int], height: int, width: int) -> None:
    """Height and width that a header claims are the expected ones."""
    if claimed != (height, width):
        raise BitstreamError(
            f"a coded image claims {claimed[0]}x{claimed[1]} samples; the shapes need {height}x{width}"
        )


def require(holds: bool, what: str) -> None:
    """What a header must say."""
    if not holds:
        raise BitstreamError(f"a coded image has {what}, which no encoder here writes")


def check_jpeg_xl(codestream: bytes, height: int, width: int, bits: int) -> None:
    """A bare JPEG XL codestream (ISO/IEC 18181-1, annex D): its size, one still image, integers, no extra channel."""
    require(codestream[:2] == b"\xff\x0a", "no JPEG XL signature")
    reader = LowBitReader(codestream[2:42])

    def side(in_blocks: int) -> int:
        if in_blocks:
            return (reader.take(5) + 1) * 8
        return 1 + reader.take((9, 13, 18, 30)[reader.take(2)])

    in_blocks = reader.take(1)
    claimed_height = side(in_blocks)
    ratio = reader.take(3)
    ratios = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
    claimed_width = claimed_height * ratios[ratio][0] // ratios[ratio][1] if ratio else side(in_blocks)
    check_size((claimed_height, claimed_width), height, width)
    require(not reader.take(1), "default JPEG XL metadata")
    require(not reader.take(1), "a preview, an animation or a turned image")
    require(not reader.take(1), "float samples")
    claimed_bits = (8, 10, 12, 0)[reader.take(2)]
    require(claimed_bits == bits, "another number of bits a sample")
    reader.take(1)  # whether 16-bit buffers are enough
    require(reader.take(2) == 0, "extra channels")


def check_av1(units: bytes, height: int, width: int) -> None:
    """The units of one AV1 still image (AV1 specification 5.5): a sequence header of this size, and one frame."""
    at, kinds = 0, []
    while at < len(units):
        kind, has_size = units[at] >> 3, units[at] & 7
        require(has_size == 2, "an AV1 unit without size or with extension")
        at += 1
        size = shift = 0
        while True:
            require(at < len(units) and shift < 28, "an AV1 unit of unreadable size")
            size |= (units[at] & 0x7F) << shift
            shift += 7
            at += 1
            if units[at - 1] < 0x80:
                break
        require(at + size <= len(units), "an AV1 unit that is cut off")
        if kind == 1:
            _check_av1_sequence(units[at : at + size], height, width)
        kinds.append(kind)
        at += size
    require(kinds == [1, 6], f"AV1 units of kinds {kinds[:8]}")


def _check_av1_sequence(header: bytes, height: int, width: int) -> None:
    reader = BitReader(header)
    require(reader.take(3) == 0, "an AV1 profile other than the main one")
    require(reader.take(2) == 3, "an AV1 sequence that is no still picture")
    reader.take(5)  # level
    width_bits, height_bits = reader.take(4) + 1, reader.take(4) + 1
    claimed_width, claimed_height = reader.take(width_bits) + 1, reader.take(height_bits) + 1
    check_size((claimed_height, claimed_width), height, width)


def check_hevc_sequence(unit: bytes, height: int, width: int) -> None:
    """The sequence parameter set of an HEVC still image (ITU-T H.265, 7.3.2.2), with its two bytes of unit header."""
    reader = BitReader(unit.replace(b"\0\0\3", b"\0\0")[2:64])
    reader.take(4)
    require(reader.take(3) == 0, "an HEVC sequence of several layers")
    reader.take(1 + 88 + 8)  # profile, tier and level
    reader.exp_golomb()  # number of the set
    require(reader.exp_golomb() == 0, "chroma planes")
    claimed_width, claimed_height = reader.exp_golomb(), reader.exp_golomb()
    check_size((claimed_height, claimed_width), height, width)
    require(not reader.take(1), "a cropped HEVC picture")
    depth = 8 + reader.exp_golomb()
    require(depth == 10, f"{depth} bits a sample")
