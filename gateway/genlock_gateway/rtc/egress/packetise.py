"""Access units to RTP payloads, once per stream (RFC 6184 for H264, RFC 7741 for VP8).

Fragments of one picture are of equal size, only the last may be smaller, so that the kernel can send them as segments
of one buffer (UDP_SEGMENT) after each viewer's encryption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genlock_core.media import AccessUnit, Codec
from genlock_gateway.rtc.h264 import FU_A, STAP_A, split_annex_b

MAX_PAYLOAD_BYTES = 1200
"""Fits, with RTP header, tag, UDP and IPv6, into the 1280 bytes that every path carries."""


@dataclass(frozen=True, slots=True)
class SegmentRun:
    """Consecutive payloads `[start, stop)` of which all but the last have equal length and the last is not longer."""

    start: int
    stop: int


def packetise(unit: AccessUnit, *, picture_id: int) -> list[bytes]:
    """RTP payloads of one access unit, each of at most `MAX_PAYLOAD_BYTES`; `picture_id` counts VP8 frames."""
    if unit.codec is Codec.H264:
        return packetise_h264(unit.data)
    return packetise_vp8(unit.data, picture_id=picture_id)


def packetise_h264(data: bytes) -> list[bytes]:
    """Annex B to single NAL units, STAP-A (neighbours that fit together) and FU-A (what does not fit)."""
    payloads: list[bytes] = []
    together: list[bytes] = []
    size = 1
    for nal in split_annex_b(data):
        if together and size + 2 + len(nal) > MAX_PAYLOAD_BYTES:
            payloads.append(_aggregate(together))
            together, size = [], 1
        if len(nal) > MAX_PAYLOAD_BYTES:
            payloads += _fragment(nal)
        else:
            together.append(nal)
            size += 2 + len(nal)
    if together:
        payloads.append(_aggregate(together))
    return payloads


def packetise_vp8(data: bytes, *, picture_id: int) -> list[bytes]:
    """A VP8 frame with the extended descriptor and a picture id of 15 bits (RFC 7741 section 4.2)."""
    tail = bytes([0x80, 0x80 | (picture_id >> 8) & 0x7F, picture_id & 0xFF])
    pieces = _equal_pieces(data, MAX_PAYLOAD_BYTES - 4)
    return [(b"\x90" if index == 0 else b"\x80") + tail + piece for index, piece in enumerate(pieces)]


def segment_runs(payloads: Sequence[bytes], *, max_segments: int, max_bytes: int, overhead: int) -> list[SegmentRun]:
    """Cut payloads into runs that one UDP_SEGMENT send can carry; `overhead` is what each gains before it is sent."""
    runs: list[SegmentRun] = []
    start = 0
    for index in range(1, len(payloads) + 1):
        first = len(payloads[start])
        if (
            index == len(payloads)
            or len(payloads[index]) > first
            or len(payloads[index - 1]) < first
            or index - start >= max_segments
            or (index - start + 1) * (first + overhead) > max_bytes
        ):
            runs.append(SegmentRun(start, index))
            start = index
    return runs


def _aggregate(nals: list[bytes]) -> bytes:
    """STAP-A (RFC 6184 section 5.7.1): forbidden bit of any, the highest importance; a lone unit stands for itself."""
    if len(nals) == 1:
        return nals[0]
    forbidden = max(nal[0] & 0x80 for nal in nals)
    importance = max(nal[0] & 0x60 for nal in nals)
    body = b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)
    return bytes([forbidden | importance | STAP_A]) + body


def _fragment(nal: bytes) -> list[bytes]:
    """FU-A (RFC 6184 section 5.8)."""
    indicator, kind = nal[0] & 0xE0 | FU_A, nal[0] & 0x1F
    pieces = _equal_pieces(nal[1:], MAX_PAYLOAD_BYTES - 2)
    last = len(pieces) - 1
    return [
        bytes([indicator, kind | (0x80 if index == 0 else 0) | (0x40 if index == last else 0)]) + piece
        for index, piece in enumerate(pieces)
    ]


def _equal_pieces(data: bytes, most: int) -> list[bytes]:
    """The fewest pieces of at most `most` bytes, equal but for the last, which is not longer."""
    count = max(1, -(-len(data) // most))
    size = max(1, -(-len(data) // count))
    return [data[at : at + size] for at in range(0, len(data), size)]
