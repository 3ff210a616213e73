"""NAL units and byte streams (ITU-T H.264 section 7.4.1 and annex B)."""

from collections.abc import Iterable

START_CODE = b"\x00\x00\x00\x01"
SLICE, IDR_SLICE, SEI, SPS, PPS, ACCESS_UNIT_DELIMITER = 1, 5, 6, 7, 8, 9
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
