"""Whole frames from RTP packets that come late, twice, out of order or not at all, and what is asked for again.

Pure: packets and the time go in, frames and the numbers of missing packets come out. A frame leaves with the packet
that completes it, which its marker bit tells (RFC 6184 section 5.1, RFC 7741 section 4.1). Waiting for the next
timestamp instead would cost one frame interval.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

CAPACITY_PACKETS = 512
PATIENCE_S = 0.25
"""How long a hole may keep complete frames waiting for a retransmission before the damaged frame is given up."""
NACK_RETRY_S = 0.04
MAX_NACKS = 6
MAX_PER_NACK = 128


@dataclass(frozen=True, slots=True)
class MediaPacket:
    """What the assembly needs of an RTP packet; `arrival_s` is on the caller's clock."""

    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    arrival_s: float


@dataclass(frozen=True, slots=True)
class BufferedFrame:
    """RTP payloads of one picture in order, all there."""

    timestamp: int
    payloads: tuple[bytes, ...]
    arrival_s: float


@dataclass(frozen=True, slots=True)
class Assembled:
    """Frames that are complete now, and whether some picture data was given up for lost."""

    frames: tuple[BufferedFrame, ...]
    lost: bool


class FrameAssembler:
    """Reorders the packets of one SSRC and cuts them into frames.

    A damaged frame is dropped whole, also when its beginning may be what was lost: `starts_frame` tells of a payload
    whether it surely begins a picture. Never holds more than `CAPACITY_PACKETS` packets.
    """

    def __init__(self, *, starts_frame: Callable[[bytes], bool], patience_s: float = PATIENCE_S) -> None:
        self._starts_frame = starts_frame
        self._patience_s = patience_s
        self._packets: dict[int, MediaPacket] = {}
        self._cursor: int | None = None
        self._highest = 0
        self._partial: list[MediaPacket] = []
        self._skipping: int | None = None
        self._resync = False
        self._hole_since_s: float | None = None

    def add(self, packet: MediaPacket) -> Assembled:
        """Take a packet; the sequence number is the 16-bit one of the header."""
        # The first packet may be in the middle of a picture.
        if self._cursor is None:
            self._cursor = packet.sequence
            self._highest = packet.sequence
            self._resync = True

        # A number that is far from the others is a sender that has begun anew.
        extended = self._extend(packet.sequence)
        lost = False
        if extended < self._highest - CAPACITY_PACKETS or extended < 0:
            self._restart(packet.sequence)
            extended, lost = packet.sequence, True

        # It came twice, or too late.
        if extended < self._cursor or extended in self._packets:
            return Assembled((), lost=lost)

        self._packets[extended] = packet
        self._highest = max(self._highest, extended)
        return self._drain(packet.arrival_s, lost=lost)

    def expire(self, now_s: float) -> Assembled:
        """Give up what has been waited for too long; to be called while `missing` is not empty."""
        return self._drain(now_s, lost=False)

    def missing(self) -> list[int]:
        """Extended sequence numbers (the header's number is the low 16 bits) that stand between packets, ascending."""
        if self._cursor is None or not self._packets:
            return []
        return [number for number in range(self._cursor, self._highest) if number not in self._packets]

    def misses(self, sequence: int) -> bool:
        """Whether the packet of that 16-bit number stands between packets and has not come."""
        if self._cursor is None:
            return False
        extended = self._extend(sequence)
        return self._cursor <= extended < self._highest and extended not in self._packets

    def _extend(self, sequence: int) -> int:
        distance = (sequence - self._highest) & 0xFFFF
        return self._highest + (distance if distance < 0x8000 else distance - 0x10000)

    def _restart(self, sequence: int) -> None:
        self._packets.clear()
        self._partial.clear()
        self._cursor = sequence
        self._highest = sequence
        self._resync = True
        self._skipping = None
        self._hole_since_s = None

    def _drain(self, now_s: float, *, lost: bool) -> Assembled:
        frames: list[BufferedFrame] = []
        while True:
            self._take_contiguous(frames)
            if not self._packets:
                self._hole_since_s = None
                return Assembled(tuple(frames), lost=lost)

            # There is a hole. It is waited for, unless the buffer is full or the wait was too long.
            if frames or self._hole_since_s is None:
                self._hole_since_s = now_s
            full = self._highest - self._position() >= CAPACITY_PACKETS
            if not full and now_s - self._hole_since_s < self._patience_s:
                return Assembled(tuple(frames), lost=lost)

            self._skip_hole()
            lost = True

    def _position(self) -> int:
        assert self._cursor is not None
        return self._cursor

    def _skip_hole(self) -> None:
        self._partial.clear()
        self._cursor = min(self._packets)
        self._resync = True
        self._skipping = None
        self._hole_since_s = None

    def _take_contiguous(self, frames: list[BufferedFrame]) -> None:
        while (packet := self._packets.pop(self._position(), None)) is not None:
            self._cursor = self._position() + 1

            # A picture whose last packet had no marker ends with the next timestamp.
            if self._partial and packet.timestamp != self._partial[0].timestamp:
                self._emit(frames)
            if self._damaged(packet):
                continue

            # A packet without payload is padding.
            if packet.payload:
                self._partial.append(packet)
            if packet.marker and self._partial:
                self._emit(frames)

    def _damaged(self, packet: MediaPacket) -> bool:
        """True for packets of a picture whose beginning may be lost."""
        if self._resync and packet.payload:
            self._resync = False
            if not self._starts_frame(packet.payload):
                self._skipping = packet.timestamp
        if self._skipping is not None and packet.timestamp != self._skipping:
            self._skipping = None
        return self._resync or self._skipping is not None

    def _emit(self, frames: list[BufferedFrame]) -> None:
        first = self._partial[0]
        payloads = tuple(packet.payload for packet in self._partial)
        frames.append(BufferedFrame(first.timestamp, payloads, first.arrival_s))
        self._partial.clear()


class NackSchedule:
    """Asks for a missing packet at once, then again every `NACK_RETRY_S`, at most `MAX_NACKS` times.

    The messages are the generic NACK of RFC 4585 section 6.2.1.
    """

    def __init__(self) -> None:
        self._asked: dict[int, tuple[int, float]] = {}

    def due(self, missing: Iterable[int], now_s: float) -> list[int]:
        """Which of the `missing` extended sequence numbers to ask for now; forgets those that are missing no more."""
        kept = {number: self._asked.get(number, (0, now_s - NACK_RETRY_S)) for number in missing}
        due = (
            number
            for number, (tries, last_s) in kept.items()
            if tries < MAX_NACKS and now_s - last_s >= NACK_RETRY_S - 1e-9
        )
        ask = list(itertools.islice(due, MAX_PER_NACK))
        for number in ask:
            kept[number] = (kept[number][0] + 1, now_s)
        self._asked = kept
        return ask


def split_at_wrap(extended: list[int]) -> list[list[int]]:
    """16-bit sequence numbers in runs that each ascend, as one feedback message can carry them."""
    runs: list[list[int]] = []
    for number in extended:
        sequence = number & 0xFFFF
        if not runs or sequence < runs[-1][-1]:
            runs.append([])
        runs[-1].append(sequence)
    return runs
