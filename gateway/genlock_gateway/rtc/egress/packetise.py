"""From access units to RTP packets, once for all viewers of a stream.

`packetise` knows the payload formats (RFC 6184 for H264, RFC 7741 for VP8). `Timeline` numbers what it makes: viewers
keep their peer connection while workers and encoders come and go, so the numbers never go back. `PacketRing` keeps the
last packets for retransmissions.

Fragments of one picture are of equal size, and only the last may be smaller. So the kernel can send them as segments of
one buffer (UDP_SEGMENT) after each viewer's encryption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genlock_core.bitstreams.h264 import split_annex_b
from genlock_core.media import VIDEO_CLOCK_HZ, AccessUnit, Codec
from genlock_gateway.rtc.h264 import FU_A, STAP_A

MAX_PAYLOAD_BYTES = 1200
"""Fits, with RTP header, tag, UDP and IPv6, into the 1280 bytes that every path carries."""
MAX_STEP_S = 2.0
"""A longer step in capture times than this is taken for a new time line."""
RING_PACKETS = 1024
"""About two seconds of a 4 Mbit/s stream: longer than any retransmission is of use."""


@dataclass(frozen=True, slots=True)
class StreamPacket:
    """One packet before it becomes a viewer's own; `index` counts packets of the stream and never wraps."""

    index: int
    timestamp: int
    marker: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class SegmentRun:
    """Consecutive payloads `[start, stop)` of which all but the last have equal length and the last is not longer."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class PacketisedFrame:
    """One picture, cut once for all viewers."""

    packets: tuple[StreamPacket, ...]
    runs: tuple[SegmentRun, ...]
    key_frame: bool


@dataclass(frozen=True, slots=True)
class Stamp:
    """Numbers of one access unit. `first_index` counts packets of the stream from 0 and does not wrap."""

    first_index: int
    timestamp: int
    picture_id: int


class Timeline:
    """Numbers the access units of one stream: packet indices, timestamps and picture ids are the gateway's own.

    Timestamps advance by the difference of capture times. When capture times jump or run back, they advance by the time
    that passed on the gateway's clock. Two units never share a timestamp.

    A picture that is shown once more has the capture time of the one before it, but for a microsecond. It advances by
    the time that passed, too, and the next new picture by so much less: the clock that viewers see does not run fast.
    """

    def __init__(self, *, first_timestamp: int, first_picture_id: int) -> None:
        self._ticks = first_timestamp
        self._picture_id = first_picture_id
        self._next_index = 0
        self._last_capture_us: int | None = None
        self._last_now_s: float | None = None
        self._repeated_ticks = 0
        """How far repeats have advanced since the last new picture."""

    @property
    def next_picture_id(self) -> int:
        """Picture id of the next unit (RFC 7741 section 4.2, 15 bits)."""
        return self._picture_id

    def stamp(self, *, capture_us: int, packets: int, now_s: float) -> Stamp:
        """Numbers for the next unit of `packets` packets, sent at `now_s` on the gateway's monotonic clock."""
        if self._last_now_s is not None:
            elapsed = round(max(0.0, now_s - self._last_now_s) * VIDEO_CLOCK_HZ)
            captured = 0
            if self._last_capture_us is not None:
                captured = round((capture_us - self._last_capture_us) * VIDEO_CLOCK_HZ / 1_000_000)
            is_repeat = captured == 0
            new = captured - self._repeated_ticks if 0 < captured <= MAX_STEP_S * VIDEO_CLOCK_HZ else 0
            step = max(1, new if new > 0 else elapsed)
            self._repeated_ticks = self._repeated_ticks + step if is_repeat else 0
            self._ticks += step
        self._last_now_s = now_s
        self._last_capture_us = capture_us
        stamp = Stamp(self._next_index, self._ticks & 0xFFFFFFFF, self._picture_id)
        self._next_index += packets
        self._picture_id = (self._picture_id + 1) & 0x7FFF
        return stamp

    def timestamp_at(self, now_s: float) -> int:
        """The RTP timestamp that belongs to `now_s`, for sender reports (RFC 3550 section 6.4.1)."""
        since = 0.0 if self._last_now_s is None else now_s - self._last_now_s
        return (self._ticks + round(since * VIDEO_CLOCK_HZ)) & 0xFFFFFFFF


class PacketRing:
    """Packets by index; a new one takes the place of the one `RING_PACKETS` before it."""

    def __init__(self, size: int = RING_PACKETS) -> None:
        self._slots: list[StreamPacket | None] = [None] * size

    def put(self, packet: StreamPacket) -> None:
        self._slots[packet.index % len(self._slots)] = packet

    def get(self, index: int) -> StreamPacket | None:
        """The packet of that index, or None if it is not there any more or never was."""
        packet = self._slots[index % len(self._slots)]
        return packet if packet is not None and packet.index == index else None

    def clear(self) -> None:
        self._slots = [None] * len(self._slots)


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
