"""One stream to all its viewers: cut into packets once, encrypted and sent for each viewer.

There is one `Fanout` for each stream and codec. It sends frames from the event loop to `VIEWERS_PER_TURN` viewers at a
time, so that a thousand viewers hold up nothing else. A slow viewer holds up nobody: a UDP send never waits.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiortc.rtp import AnyRtcpPacket

from genlock_core.clock import Clock
from genlock_core.media import AccessUnit, Codec
from genlock_gateway.rtc.egress.packetise import (
    PacketisedFrame,
    PacketRing,
    StreamPacket,
    Timeline,
    packetise,
    segment_runs,
)
from genlock_gateway.rtc.egress.viewer_stream import ViewerStream
from genlock_gateway.rtc.key_frames import KeyFrameRequests
from genlock_gateway.rtc.transport.srtp import MAX_OVERHEAD_BYTES
from genlock_gateway.rtc.transport.udp_port import MAX_SEGMENTS, MAX_SEND_BYTES

logger = logging.getLogger(__name__)

VIEWERS_PER_TURN = 100
MAX_BACKLOG_FRAMES = 16


@dataclass(slots=True)
class FanoutFigures:
    """Counts since the fan-out began."""

    access_units: int = 0
    dropped: int = 0


@dataclass(slots=True)
class _Job:
    """A frame on its way to the viewers that were there when it came."""

    frame: PacketisedFrame
    viewers: tuple[ViewerStream, ...]
    sent: int = 0


class Fanout:
    """Shared sender of one (stream, codec).

    `on_key_frame_wanted` is called, coalesced, when a viewer joined or lost a picture, and again each second until a
    key frame comes. `push` never blocks. After `close` everything is a no-op.
    """

    def __init__(self, *, codec: Codec, clock: Clock, on_key_frame_wanted: Callable[[], None]) -> None:
        self.codec = codec
        self.figures = FanoutFigures()
        self._clock = clock
        self._on_key_frame_wanted = on_key_frame_wanted
        self._timeline = Timeline(first_timestamp=secrets.randbits(32), first_picture_id=secrets.randbits(15))
        self._ring = PacketRing()
        self._viewers: dict[ViewerStream, None] = {}
        self._key_frames = KeyFrameRequests(clock)
        self._jobs: deque[_Job] = deque()
        self._needs_key_frame = True
        self._turn: asyncio.Handle | None = None
        self._key_timer: asyncio.TimerHandle | None = None
        self._closed = False

    def push(self, unit: AccessUnit) -> None:
        """Send one access unit to all viewers; ValueError if it is of another codec.

        Units before the first key frame are dropped.
        """
        if unit.codec is not self.codec:
            raise ValueError(f"a {unit.codec.name} access unit came to the fan-out of {self.codec.name}")
        if self._closed:
            return

        # No decoder could begin with it.
        if self._needs_key_frame and not unit.key_frame:
            self.figures.dropped += 1
            if self._viewers:
                self.want_key_frame()
            return

        if len(self._jobs) >= MAX_BACKLOG_FRAMES and not self._shed(unit):
            return
        frame = self._packetise(unit)
        if not frame.packets:
            self.figures.dropped += 1
            return

        self._needs_key_frame = False
        if unit.key_frame:
            self._key_frames.arrived()
        self.figures.access_units += 1

        if self._viewers:
            self._jobs.append(_Job(frame, tuple(self._viewers)))
            self._continue()

    def add(self, viewer: ViewerStream) -> None:
        """A viewer is connected: it gets everything from the next key frame on, which is asked for."""
        if not self._closed:
            self._viewers[viewer] = None
            self.want_key_frame()

    def remove(self, viewer: ViewerStream) -> None:
        self._viewers.pop(viewer, None)

    def feedback(self, viewer: ViewerStream, packets: list[AnyRtcpPacket]) -> None:
        """RTCP of one viewer."""
        if viewer.feedback(packets, self._ring):
            self.want_key_frame()

    def want_key_frame(self) -> None:
        """Ask for a key frame soon; many calls make one request."""
        if not self._closed:
            self._key_frames.want()
            self._ask_for_key_frame()

    def close(self) -> None:
        """Forget all viewers and packets."""
        self._closed = True
        for handle in (self._turn, self._key_timer):
            if handle is not None:
                handle.cancel()
        self._turn = None
        self._key_timer = None
        self._viewers.clear()
        self._jobs.clear()
        self._ring.clear()

    def _packetise(self, unit: AccessUnit) -> PacketisedFrame:
        payloads = packetise(unit, picture_id=self._timeline.next_picture_id)
        stamp = self._timeline.stamp(capture_us=unit.capture_us, packets=len(payloads), now_s=self._clock.monotonic())

        # Only the last packet of a picture has the marker.
        last = len(payloads) - 1
        packets = tuple(
            StreamPacket(stamp.first_index + number, stamp.timestamp, number == last, payload)
            for number, payload in enumerate(payloads)
        )
        for packet in packets:
            self._ring.put(packet)

        runs = segment_runs(payloads, max_segments=MAX_SEGMENTS, max_bytes=MAX_SEND_BYTES, overhead=MAX_OVERHEAD_BYTES)
        return PacketisedFrame(packets, tuple(runs), unit.key_frame)

    def _shed(self, unit: AccessUnit) -> bool:
        """The loop cannot keep up: drop what has not begun, and go on with `unit` only if it is a key frame."""
        # A frame that some viewers have got already goes on to the others.
        kept = 1 if self._jobs[0].sent else 0
        self.figures.dropped += len(self._jobs) - kept
        while len(self._jobs) > kept:
            self._jobs.pop()

        for viewer in self._viewers:
            viewer.wait_for_key_frame()
        logger.warning("sending to %d viewers falls behind; frames dropped until a key frame", len(self._viewers))
        if not unit.key_frame:
            self.figures.dropped += 1
            self._needs_key_frame = True
            self.want_key_frame()
        return unit.key_frame

    def _continue(self) -> None:
        if self._turn is None and self._jobs:
            self._turn = asyncio.get_running_loop().call_soon(self._send_turn)

    def _send_turn(self) -> None:
        """Send to up to `VIEWERS_PER_TURN` viewers, then let the loop do other things."""
        self._turn = None
        left = VIEWERS_PER_TURN
        while self._jobs and left:
            job = self._jobs[0]
            viewers = job.viewers[job.sent : job.sent + left]
            now_timestamp = self._timeline.timestamp_at(self._clock.monotonic())
            for viewer in viewers:
                self._send(viewer, job.frame, now_timestamp)
            job.sent += len(viewers)
            left -= len(viewers)
            if job.sent >= len(job.viewers):
                self._jobs.popleft()
        self._continue()

    def _send(self, viewer: ViewerStream, frame: PacketisedFrame, now_timestamp: int) -> None:
        if viewer not in self._viewers:
            return
        try:
            viewer.send_frame(frame)
            viewer.report(rtp_timestamp=now_timestamp)
        except Exception:  # one viewer's fault must not reach the others
            logger.exception("a viewer is dropped: sending to it failed")
            self.remove(viewer)

    def _ask_for_key_frame(self) -> None:
        due_s = self._key_frames.due_in_s()
        if due_s is None or self._closed:
            return
        if due_s == 0:
            self._key_frames.asked()
            self._on_key_frame_wanted()
            due_s = self._key_frames.due_in_s()

        if self._key_timer is not None:
            self._key_timer.cancel()
            self._key_timer = None
        if due_s is not None and self._viewers:
            self._key_timer = asyncio.get_running_loop().call_later(max(due_s, 0.01), self._key_timer_fired)

    def _key_timer_fired(self) -> None:
        self._key_timer = None
        if self._viewers:
            self._ask_for_key_frame()
