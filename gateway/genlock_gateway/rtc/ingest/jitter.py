"""Whole frames from RTP packets that come late, twice, out of order or not at all, and what is asked for again.

Pure: packets and the time go in, frames and the numbers of missing packets come out.

A frame leaves with the packet that completes it. Waiting for the next timestamp would cost a frame interval. Its marker
bit tells which packet that is (RFC 6184 section 5.1, RFC 7741 section 4.1), but some senders set the marker on each
slice, and some never do. So a marker is believed until a frame goes on after one: then the frame is given out once
more, whole, and from there on the frames of this sender end with the next timestamp, with what begins another picture,
or after a short wait.
"""

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass

from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES
from genlock_gateway.rtc.ingest.payload_shape import PayloadShape

CAPACITY_PACKETS = 512
MAX_PACKET_BYTES = 1_500
"""Of a datagram (`transport.demultiplexer`)."""
MAX_FRAME_BYTES = 2_560 * 1024
"""A longer frame is given up: no camera makes one. Its packets' own objects count: a picture of crumbs ends, too."""
JITTER_LIMIT = ByteLimit(
    "packets that wait for others before them",
    CAPACITY_PACKETS * (MAX_PACKET_BYTES + OBJECT_BYTES),
    each="SSRC of a publisher that is looked at",
    when_full="the hole before them is given up",
    times=MAX_CANDIDATES,
)
OPEN_FRAME_LIMIT = ByteLimit(
    "the picture that is being put together",
    MAX_FRAME_BYTES,
    each="SSRC of a publisher that is looked at",
    when_full="the picture is given up, and a key frame asked for",
    times=MAX_CANDIDATES,
)
LAST_FRAME_LIMIT = ByteLimit(
    "the picture that was given out last, which may turn out to go on",
    MAX_FRAME_BYTES,
    each="SSRC of a publisher that is looked at",
    when_full="the next one takes its place",
    times=MAX_CANDIDATES,
)
PATIENCE_S = 0.25
"""How long a hole may keep complete frames waiting for a retransmission before the damaged frame is given up."""
END_WAIT_S = 0.02
"""Frames whose last packet nothing tells end when so long no other packet came."""
MAX_END_WAIT_S = 0.1
"""The wait doubles up to here for a sender that leaves more time between the slices of a frame."""
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

    @property
    def cost(self) -> int:
        """What it takes of memory, about."""
        return len(self.payload) + OBJECT_BYTES


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

    A damaged frame is dropped whole, also when its beginning may be what was lost. `shape_of` reads a payload. Never
    holds more than `CAPACITY_PACKETS` packets that wait, and two frames of at most `MAX_FRAME_BYTES`; what it holds is
    in `holdings`.
    """

    def __init__(
        self,
        *,
        shape_of: Callable[[bytes], PayloadShape],
        patience_s: float = PATIENCE_S,
        holdings: Holdings | None = None,
    ) -> None:
        holdings = holdings or Holdings()
        self._waiting_bytes = holdings.bound(JITTER_LIMIT)
        self._open_bytes = holdings.bound(OPEN_FRAME_LIMIT)
        self._last_bytes = holdings.bound(LAST_FRAME_LIMIT)
        self._shape_of = shape_of
        self._patience_s = patience_s
        self._packets: dict[int, MediaPacket] = {}
        self._cursor: int | None = None
        self._highest = 0
        self._open = _OpenFrame()
        self._last = _OpenFrame()
        self._endings = _Endings()
        self._skipping: int | None = None
        self._resync = False
        self._hole_since_s: float | None = None

    @property
    def ends_at_s(self) -> float | None:
        """When the open frame ends unless another packet comes, so that `expire` is to be called; None if it waits."""
        return None if self._packets else self._endings.due_s(self._open)

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
        if extended < self._position() or extended in self._packets:
            return Assembled((), lost=lost)

        # Packets that came by the port are never larger than the room for so many of them.
        if not self._waiting_bytes.take(packet.cost):
            self._restart(packet.sequence)
            extended, lost = packet.sequence, True
            self._waiting_bytes.add(packet.cost)
        self._packets[extended] = packet
        self._highest = max(self._highest, extended)
        return self._drain(packet.arrival_s, lost=lost)

    def expire(self, now_s: float) -> Assembled:
        """Give up what has been waited for too long; to be called while `missing` is not empty, and at `ends_at_s`."""
        frames: list[BufferedFrame] = []
        if (due_s := self.ends_at_s) is not None and now_s >= due_s - 1e-9:
            self._emit(frames, waited=True)
        drained = self._drain(now_s, lost=False)
        return Assembled((*frames, *drained.frames), lost=drained.lost)

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
        self._waiting_bytes.clear()
        self._forget_frames()
        self._cursor = sequence
        self._highest = sequence
        self._resync = True
        self._skipping = None
        self._hole_since_s = None

    def _drain(self, now_s: float, *, lost: bool) -> Assembled:
        frames: list[BufferedFrame] = []
        while True:
            lost |= self._take_contiguous(frames)
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
        self._forget_frames()
        self._cursor = min(self._packets)
        self._resync = True
        self._skipping = None
        self._hole_since_s = None

    def _forget_frames(self) -> None:
        self._open = _OpenFrame()
        self._open_bytes.clear()
        self._last = _OpenFrame()
        self._last_bytes.clear()

    def _take_contiguous(self, frames: list[BufferedFrame]) -> bool:
        """Take what follows without a hole. True if a frame had to be given up."""
        lost = False
        while (packet := self._packets.pop(self._position(), None)) is not None:
            self._cursor = self._position() + 1
            self._waiting_bytes.give(packet.cost)

            # A packet without payload is padding.
            if not packet.payload:
                continue
            shape = self._shape_of(packet.payload)
            if self._open.ends_before(packet, shape):
                self._emit(frames)
            if self._damaged(packet, shape):
                continue

            # The frame that was given out is not whole: it is given out again when it is.
            if not self._open.packets and self._last.goes_on_with(packet, shape):
                self._endings.was_wrong()
                self._open = self._last
                self._open_bytes.hold(self._last_bytes.held)
                self._last = _OpenFrame()
                self._last_bytes.clear()

            self._endings.look_at(self._open, shape)
            if not self._open_bytes.take(packet.cost):
                self._open = _OpenFrame()
                self._open_bytes.clear()
                self._skipping = packet.timestamp
                lost = True
                continue
            self._open.add(packet, shape)
            if self._endings.marker_ends(self._open):
                self._emit(frames)
        return lost

    def _damaged(self, packet: MediaPacket, shape: PayloadShape) -> bool:
        """True for packets of a picture whose beginning may be lost."""
        if self._resync:
            self._resync = False
            if not shape.begins:
                self._skipping = packet.timestamp
        if self._skipping is not None and packet.timestamp != self._skipping:
            self._skipping = None
        return self._skipping is not None

    def _emit(self, frames: list[BufferedFrame], *, waited: bool = False) -> None:
        if self._open.packets:
            first = self._open.packets[0]
            payloads = tuple(packet.payload for packet in self._open.packets)
            frames.append(BufferedFrame(first.timestamp, payloads, first.arrival_s))
        self._endings.given_out(self._open, waited=waited)
        self._last = self._open
        self._last_bytes.hold(self._open_bytes.held)
        self._open = _OpenFrame()
        self._open_bytes.clear()


class _OpenFrame:
    """Packets of one frame, as far as they came."""

    def __init__(self) -> None:
        self.packets: list[MediaPacket] = []
        self.has_slice = False
        self.ends_slice = False

    def ends_before(self, packet: MediaPacket, shape: PayloadShape) -> bool:
        """Whether a packet belongs to another frame."""
        if not self.packets:
            return False
        return packet.timestamp != self.packets[0].timestamp or (self.has_slice and shape.begins_next)

    def goes_on_with(self, packet: MediaPacket, shape: PayloadShape) -> bool:
        """Whether a packet belongs to this frame, which was given out already."""
        return self.has_slice and shape.has_slice and not self.ends_before(packet, shape)

    def add(self, packet: MediaPacket, shape: PayloadShape) -> None:
        self.packets.append(packet)
        if shape.has_slice:
            self.has_slice = True
            self.ends_slice = shape.ends_slice or packet.marker


class _Endings:
    """What is known of how a sender ends its frames."""

    def __init__(self) -> None:
        self._markers_end = True
        """No frame has gone on after a marker on a slice."""
        self._unmarked = False
        """A frame has ended without a marker, and nothing of it was lost."""
        self._is_doubtful = False
        """A marker stood on what is in front of this frame: its slices may each have one."""
        self._was_doubtful = False
        self._wait_s = END_WAIT_S
        self._ended_by_wait = False

    def look_at(self, opened: _OpenFrame, shape: PayloadShape) -> None:
        """A packet is about to join the frame."""
        if not opened.packets or not opened.packets[-1].marker:
            return
        if opened.has_slice and shape.has_slice:
            self._markers_end = False
        elif not opened.has_slice and not self._was_doubtful:
            # Once: if this frame has one slice, it leaves the question open, and waiting each time would cost latency.
            self._is_doubtful = True
            self._was_doubtful = True

    def marker_ends(self, opened: _OpenFrame) -> bool:
        """Whether the frame is whole, as its last packet has a marker."""
        return opened.packets[-1].marker and opened.has_slice and self._markers_end and not self._is_doubtful

    def due_s(self, opened: _OpenFrame) -> float | None:
        """When the frame is whole if nothing else comes; None if something must."""
        if not opened.ends_slice or (self._markers_end and not self._unmarked and not self._is_doubtful):
            return None
        return opened.packets[-1].arrival_s + self._wait_s

    def given_out(self, opened: _OpenFrame, *, waited: bool) -> None:
        """A frame has left, perhaps after the wait."""
        if not waited and opened.has_slice and not opened.packets[-1].marker:
            self._unmarked = True
        self._is_doubtful = False
        self._ended_by_wait = waited

    def was_wrong(self) -> None:
        """The frame that was given out goes on."""
        if self._ended_by_wait:
            self._wait_s = min(2 * self._wait_s, MAX_END_WAIT_S)
        else:
            self._markers_end = False


class NackSchedule:
    """Asks for a missing packet at once, then again every `NACK_RETRY_S`, at most `MAX_NACKS` times.

    The messages are the generic NACK of RFC 4585 section 6.2.1.
    """

    def __init__(self) -> None:
        self._asked: dict[int, tuple[int, float]] = {}

    def due(self, missing: Collection[int], now_s: float) -> list[int]:
        """Which of the `missing` extended sequence numbers to ask for now; forgets those that are missing no more."""
        # As after most packets.
        if not missing:
            self._asked.clear()
            return []

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
