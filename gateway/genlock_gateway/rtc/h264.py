"""H264 as both directions need to know it: NAL units, byte streams, and the payloads that begin a picture."""

from collections.abc import Iterable

START_CODE = b"\x00\x00\x00\x01"
SLICE, IDR_SLICE, SEI, SPS, PPS, ACCESS_UNIT_DELIMITER = 1, 5, 6, 7, 8, 9
STAP_A, FU_A = 24, 28
SLICES = frozenset({SLICE, 2, 3, 4, IDR_SLICE})
"""Of a primary picture; 2 to 4 are the data partitions of the Extended profile."""


def nal_type(nal: bytes) -> int:
    """`nal_unit_type` (ITU-T H.264 section 7.4.1)."""
    return nal[0] & 0x1F


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units of a byte stream, without start codes and trailing zeros (ITU-T H.264 annex B)."""
    starts: list[int] = []
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        starts.append(at + 3)
        at = data.find(b"\x00\x00\x01", at + 3)
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    nals = (data[start:end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=False))
    return [nal for nal in nals if nal]


def join_annex_b(nals: Iterable[bytes]) -> bytes:
    """A byte stream in which every NAL unit follows a start code of four bytes."""
    return b"".join(START_CODE + nal for nal in nals)


def starts_picture(payload: bytes) -> bool:
    """True if an RTP payload surely holds the first slice of its picture, or stands before it, whatever was lost.

    Parameter sets, SEI and delimiters stand only at the front of an access unit; a slice does if its
    `first_mb_in_slice` is 0, which as an Exp-Golomb code is a single 1 bit (ITU-T H.264 sections 7.4.1.2.3 and 7.3.3).
    A PPS is no proof: it may have lost its SPS, and then the picture has the wrong size.
    """
    if len(payload) < 2:
        return False
    kind, body = nal_type(payload), payload[1:]
    if kind == STAP_A:
        if len(payload) < 5:
            return False
        kind, body = payload[3] & 0x1F, payload[4:]
    elif kind == FU_A:
        if not payload[1] & 0x80 or len(payload) < 3:
            return False
        kind, body = payload[1] & 0x1F, payload[2:]
    if kind in (SEI, SPS, ACCESS_UNIT_DELIMITER):
        return True
    return kind in (SLICE, IDR_SLICE) and bool(body[0] & 0x80)
