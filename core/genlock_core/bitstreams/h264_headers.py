"""What the headers of H264 say (ITU-T H.264 section 7.3): parameter sets, slices, recovery points.

Pure. Everything here comes from a publisher and may be broken: each function gives what it read, or None.
"""

from dataclasses import dataclass

from genlock_core.bitstreams.h264 import IDR_SLICE, PPS, SEI, SLICE, SPS, nal_type

MAX_SPS_ID = 31
MAX_PPS_ID = 255
MAX_HEADER_BYTES = 1_024
"""No header is read further than this. All but the largest scaling matrices end before it."""
SLICE_HEADER_BYTES = 16
"""Three numbers of at most 32 bits each, with their emulation prevention bytes."""

_RECOVERY_POINT = 6
_HAS_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_INTRA_SLICE_TYPES = frozenset({2, 4, 7, 9})
_MACROBLOCK = 16
_SAMPLES_PER_TWO_PIXELS = (2, 3, 4, 6)
"""By chroma format."""


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """Of a sequence parameter set (section 7.3.2.1.1). Sides are in pixels, before cropping."""

    id: int
    profile_idc: int
    width: int
    height: int
    reference_frames: int = 1
    """How many pictures a picture may refer to."""
    chroma_format: int = 1
    """0: grey, 1: 4:2:0, 2: 4:2:2, 3: 4:4:4."""
    bit_depth: int = 8
    """Of luma or chroma, whichever is more."""

    @property
    def picture_bytes(self) -> int:
        """What one decoded picture takes."""
        samples = self.width * self.height * _SAMPLES_PER_TWO_PIXELS[self.chroma_format] // 2
        return samples * (1 if self.bit_depth <= 8 else 2)


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Of a picture parameter set (section 7.3.2.2)."""

    id: int
    sequence_id: int
    slice_groups: int


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The beginning of a slice header (section 7.3.3)."""

    first_macroblock: int
    is_intra: bool
    picture_set_id: int


class BitReader:
    """Reads a raw byte sequence payload from its first bit. Raises ValueError at its end."""

    def __init__(self, nal: bytes, *, most: int = MAX_HEADER_BYTES) -> None:
        # Without the NAL unit's header and without emulation prevention bytes (section 7.4.1).
        payload = nal[1 : 1 + most].replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def bits(self, count: int) -> int:
        """The next `count` bits as an unsigned number, u(n)."""
        if count > self._left:
            raise ValueError("the header ends in the middle")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.bits(1) == 1

    def unsigned(self) -> int:
        """An Exp-Golomb number, ue(v) (section 9.1)."""
        rest = self._value & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        if zeros > 32:
            raise ValueError("a number of more than 32 bits")
        return self.bits(2 * zeros + 1) - 1

    def signed(self) -> int:
        """A signed Exp-Golomb number, se(v) (section 9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def read_sequence_set(nal: bytes) -> SequenceHeader | None:
    """None for what is no sequence parameter set."""
    if nal_type(nal) != SPS:
        return None
    try:
        return _sequence(BitReader(nal))
    except ValueError:
        return None


def read_picture_set(nal: bytes) -> PictureHeader | None:
    """None for what is no picture parameter set."""
    if nal_type(nal) != PPS:
        return None
    try:
        reader = BitReader(nal)
        number, sequence = reader.unsigned(), reader.unsigned()
        reader.bits(2)  # entropy coding and the order of fields
        groups = reader.unsigned() + 1
    except ValueError:
        return None
    return PictureHeader(number, sequence, groups) if number <= MAX_PPS_ID and sequence <= MAX_SPS_ID else None


def read_slice(nal: bytes) -> SliceHeader | None:
    """None for what is no slice of a primary picture, or a broken one."""
    if nal_type(nal) not in (SLICE, IDR_SLICE):
        return None
    try:
        reader = BitReader(nal, most=SLICE_HEADER_BYTES)
        return SliceHeader(reader.unsigned(), reader.unsigned() in _INTRA_SLICE_TYPES, reader.unsigned())
    except ValueError:
        return None


def read_recovery_point(nal: bytes) -> int | None:
    """After how many pictures the picture is right when decoding begins at this SEI; None for any other unit.

    The message is that of ITU-T H.264 section D.1.8.
    """
    if nal_type(nal) != SEI:
        return None
    at = 1
    while at + 2 <= len(nal):
        kind, at = _sei_number(nal, at)
        size, at = _sei_number(nal, at)
        if kind == _RECOVERY_POINT and size > 0:
            return _recovery_pictures(nal[at : at + size])
        at += size
    return None


def _recovery_pictures(message: bytes) -> int | None:
    try:
        return BitReader(b"\x06" + message).unsigned()
    except ValueError:
        return None


def _sei_number(nal: bytes, at: int) -> tuple[int, int]:
    """A payload type or size, in steps of 255 (section 7.3.2.3.1), and where the next thing stands."""
    number = 0
    while at < len(nal) and nal[at] == 0xFF:
        number += 255
        at += 1
    return number + (nal[at] if at < len(nal) else 0), at + 1


def _sequence(reader: BitReader) -> SequenceHeader | None:
    profile_idc = reader.bits(8)
    reader.bits(16)  # constraints and level
    number = reader.unsigned()
    chroma_format, bit_depth = _chroma_format(reader) if profile_idc in _HAS_CHROMA_FORMAT else (1, 8)

    reader.unsigned()  # log2_max_frame_num
    _skip_picture_order(reader)
    references = reader.unsigned()
    reader.bits(1)  # gaps_in_frame_num

    columns = reader.unsigned() + 1
    map_rows = reader.unsigned() + 1
    is_progressive = reader.flag()
    if number > MAX_SPS_ID or chroma_format >= len(_SAMPLES_PER_TWO_PIXELS):
        return None
    rows = map_rows if is_progressive else 2 * map_rows
    return SequenceHeader(
        id=number,
        profile_idc=profile_idc,
        width=columns * _MACROBLOCK,
        height=rows * _MACROBLOCK,
        reference_frames=references,
        chroma_format=chroma_format,
        bit_depth=bit_depth,
    )


def _chroma_format(reader: BitReader) -> tuple[int, int]:
    """The chroma format, and the greater bit depth."""
    chroma_format = reader.unsigned()
    if chroma_format == 3:
        reader.bits(1)
    bit_depth = 8 + max(reader.unsigned(), reader.unsigned())
    reader.bits(1)
    if reader.flag():
        _skip_scaling_matrix(reader, chroma_format)
    return chroma_format, bit_depth


def _skip_scaling_matrix(reader: BitReader, chroma_format: int) -> None:
    for number in range(12 if chroma_format == 3 else 8):
        if reader.flag():
            _skip_scaling_list(reader, 16 if number < 6 else 64)


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    """Section 7.3.2.1.1.1."""
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + reader.signed()) % 256
        last = following or last


def _skip_picture_order(reader: BitReader) -> None:
    kind = reader.unsigned()
    if kind == 0:
        reader.unsigned()
    elif kind == 1:
        reader.bits(1)
        reader.signed()
        reader.signed()
        for _ in range(min(reader.unsigned(), 255)):
            reader.signed()
