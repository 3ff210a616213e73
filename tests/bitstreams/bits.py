"""H264 headers made by hand (ITU-T H.264 section 7.3), for what no encoder at hand makes."""

from collections.abc import Iterable

START_CODE = b"\x00\x00\x00\x01"


class BitWriter:
    """Writes from the first bit on; `nal` ends it and puts a NAL header in front."""

    def __init__(self) -> None:
        self._bits = ""

    def bits(self, value: int, count: int) -> "BitWriter":
        self._bits += f"{value:0{count}b}"
        return self

    def unsigned(self, *values: int) -> "BitWriter":
        """Exp-Golomb numbers (section 9.1)."""
        for value in values:
            code = f"{value + 1:b}"
            self._bits += "0" * (len(code) - 1) + code
        return self

    def nal(self, header: int) -> bytes:
        """With trailing bits and emulation prevention (section 7.4.1)."""
        whole = self._bits + "1"
        whole += "0" * (-len(whole) % 8)
        payload = bytearray()
        for byte in int(whole, 2).to_bytes(len(whole) // 8, "big"):
            if byte <= 3 and payload[-2:] == b"\x00\x00":
                payload.append(3)
            payload.append(byte)
        return bytes([header, *payload])


def sequence_set(
    number: int = 0,
    *,
    profile_idc: int = 66,
    width: int = 320,
    height: int = 192,
    progressive: bool = True,
    references: int = 1,
    bit_depth: int = 8,
) -> bytes:
    """An SPS of a simple stream; the sides are multiples of 16 (32 for a height of fields).

    Profiles from 100 on state a bit depth; 244 is 4:4:4 here, the others are 4:2:0.
    """
    writer = BitWriter().bits(profile_idc, 8).bits(0, 8).bits(30, 8).unsigned(number)
    if profile_idc in (100, 110, 122, 244):
        writer.unsigned(3 if profile_idc == 244 else 1)
        if profile_idc == 244:
            writer.bits(0, 1)
        writer.unsigned(bit_depth - 8, bit_depth - 8).bits(0, 2)
    writer.unsigned(0, 2, references).bits(0, 1)
    rows = height // 16 if progressive else height // 32
    writer.unsigned(width // 16 - 1, rows - 1).bits(int(progressive), 1)
    if not progressive:
        writer.bits(0, 1)
    return writer.bits(0, 3).nal(0x67)


def picture_set(number: int = 0, *, sequence: int = 0, slice_groups: int = 1) -> bytes:
    """A PPS; more than one slice group is FMO."""
    writer = BitWriter().unsigned(number, sequence).bits(0, 2).unsigned(slice_groups - 1)
    if slice_groups > 1:
        writer.unsigned(2)
        writer.unsigned(*[0, 0] * (slice_groups - 1))
    return writer.unsigned(0, 0).bits(0, 3).nal(0x68)


def slice_start(
    kind: int = 5, *, first_macroblock: int = 0, slice_type: int = 7, picture: int = 0, body: bytes = b"\x55" * 20
) -> bytes:
    """The beginning of a slice, then bytes that mean nothing."""
    writer = BitWriter().unsigned(first_macroblock, slice_type, picture)
    return writer.nal(0x60 | kind) + body


def recovery_point(frames: int = 0) -> bytes:
    """A SEI with that message alone (section D.1.8)."""
    body = BitWriter().unsigned(frames).bits(0b1000, 4).nal(0)[1:]
    return bytes([6, 6, len(body)]) + body + b"\x80"


def user_data() -> bytes:
    """A SEI that says nothing to a decoder."""
    return bytes([6, 5, 20]) + bytes(range(1, 21)) + b"\x80"


def annex_b(*nals: bytes) -> bytes:
    return b"".join(START_CODE + nal for nal in nals)


def has_recovery_point(nals: Iterable[bytes]) -> bool:
    """Whether one of the NAL units is a SEI that begins with that message."""
    return any(nal[0] & 0x1F == 6 and nal[1] == 6 for nal in nals)


def without_usability(nal: bytes) -> bytes:
    """An SPS that does not state how its pictures are reordered (no VUI, section E.1.1); other units as they are."""
    if nal[0] & 0x1F != 7:
        return nal
    payload = nal[1:].replace(b"\x00\x00\x03", b"\x00\x00")
    whole = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}"
    reader = _Reader(whole)
    if reader.bits(8) not in (66, 77):
        raise ValueError("only Baseline and Main are read here")
    reader.bits(16)
    reader.unsigned(2)
    if (order := reader.unsigned()) == 1:
        raise ValueError("this way of ordering pictures is not read here")
    reader.unsigned(int(order == 0) + 1)
    reader.bits(1)
    reader.unsigned(2)
    if not reader.bits(1):
        reader.bits(1)
    reader.bits(1)
    if reader.bits(1):
        reader.unsigned(4)
    return BitWriter().bits(int(whole[: reader.at] + "0", 2), reader.at + 1).nal(nal[0])


class _Reader:
    """Steps over fields; a test's own reader, so that it does not repeat a mistake of the one that it tests."""

    def __init__(self, bits: str) -> None:
        self.at = 0
        self._bits = bits

    def bits(self, count: int) -> int:
        self.at += count
        return int(self._bits[self.at - count : self.at], 2)

    def unsigned(self, count: int = 1) -> int:
        """The last of `count` Exp-Golomb numbers."""
        value = 0
        for _ in range(count):
            zeros = self._bits.index("1", self.at) - self.at
            self.at += zeros
            value = self.bits(zeros + 1) - 1
        return value
