"""A publisher (WHIP): encoded access units out of its RTP, never decoded.

aiortc's receiver would start a decoder thread for each peer. This one ends where the encoded frame is whole. It reports
losses (NACK, RFC 4585), asks for key frames (PLI), and tells the sender what arrives (RR) and how fast it may send
(REMB).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unwrap_rtx,
)

from genlock_core.clock import Clock
from genlock_core.media import VIDEO_CLOCK_HZ, AccessUnit, Codec
from genlock_gateway.rtc.ingest.depacketise import Depacketiser
from genlock_gateway.rtc.ingest.jitter import (
    Assembled,
    BufferedFrame,
    FrameAssembler,
    MediaPacket,
    NackSchedule,
    split_at_wrap,
)
from genlock_gateway.rtc.ingest.remb import ReceiverEstimate
from genlock_gateway.rtc.key_frames import KeyFrameRequests
from genlock_gateway.rtc.sdp.video_format import VideoFormat
from genlock_gateway.rtc.transport.aiortc_private import StreamStatistics
from genlock_gateway.rtc.transport.peer import Peer, PeerListener, PeerTransport

logger = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0
REPAIR_INTERVAL_S = 0.02
PLI_MIN_INTERVAL_S = 0.3


class AccessUnitSink(Protocol):
    """Where the pictures of publishers go."""

    def access_unit(self, peer: "IngestPeer", unit: AccessUnit) -> None:
        """The next unit of `peer`; called on the event loop, and must return at once."""


@dataclass(slots=True)
class IngestFigures:
    """Counts since the peer began; for metrics."""

    access_units: int = 0
    lost_frames: int = 0
    nacked_packets: int = 0
    key_frame_requests: int = 0


@dataclass(slots=True)
class _SenderReports:
    """The last SR of the publisher, for the LSR and DLSR fields of our reports (RFC 3550 section 6.4.1)."""

    middle_ntp: int = 0
    arrival_s: float = 0.0

    def delay(self, now_s: float) -> int:
        return min(0xFFFFFFFF, int((now_s - self.arrival_s) * 65536)) if self.middle_ntp else 0


@dataclass(slots=True)
class _RtpSource:
    """The state of one SSRC; a publisher that starts a new one starts afresh."""

    ssrc: int
    assembler: FrameAssembler
    nack: NackSchedule = field(default_factory=NackSchedule)
    statistics: StreamStatistics = field(default_factory=lambda: StreamStatistics(VIDEO_CLOCK_HZ))
    reports: _SenderReports = field(default_factory=_SenderReports)


class IngestPeer(Peer):
    """One publisher. Made by MediaPlane.publish; `transport` is its connection, `video` the negotiated format.

    Its pictures go to `sink`; `listener` is told what becomes of it.
    """

    def __init__(
        self,
        *,
        transport: PeerTransport,
        video: VideoFormat,
        ssrc: int,
        listener: PeerListener,
        sink: AccessUnitSink,
        clock: Clock,
    ) -> None:
        super().__init__(transport, listener)
        self.video = video
        self.figures = IngestFigures()
        self._ssrc = ssrc
        self._sink = sink
        self._clock = clock
        self._source: _RtpSource | None = None
        self._depacketiser = Depacketiser(video.codec, sprop_parameter_sets=video.sprop_parameter_sets)
        self._remb = ReceiverEstimate(ssrc)
        self._key_frames = KeyFrameRequests(clock, min_interval_s=PLI_MIN_INTERVAL_S)
        self._started = False
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def codec(self) -> Codec:
        return self.video.codec

    def request_key_frame(self) -> None:
        """Ask the publisher for a key frame (PLI). Many calls make one request, which is repeated until one comes."""
        self._key_frames.want()
        self._ask_for_key_frame()

    def connected(self) -> None:
        self._every_second()
        super().connected()

    def closed(self, reason: str) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().closed(reason)

    def rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        """RTCP of the publisher."""
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and self._source is not None and packet.ssrc == self._source.ssrc:
                self._source.reports.middle_ntp = (packet.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
                self._source.reports.arrival_s = self._clock.monotonic()
            elif isinstance(packet, RtcpByePacket):
                logger.debug("the publisher says goodbye to %d streams", len(packet.sources))

    def rtp(self, packet: RtpPacket, arrival_ms: int) -> None:
        """An RTP packet of the publisher."""
        if "goog-remb" in self.video.feedback:
            report = self._remb.add(packet, arrival_ms, now_s=self._clock.monotonic())
            if report is not None:
                self.transport.send_rtcp(bytes(report))

        # A retransmission becomes the packet that was lost (RFC 4588 section 4).
        if packet.payload_type == self.video.rtx_payload_type:
            if self._source is None or len(packet.payload) <= 2:
                return
            packet = unwrap_rtx(packet, payload_type=self.video.payload_type, ssrc=self._source.ssrc)
        elif packet.payload_type != self.video.payload_type:
            return

        source = self._source_of(packet.ssrc)
        source.statistics.add(packet)

        now = self._clock.monotonic()
        media = MediaPacket(
            packet.sequence_number, packet.timestamp, bool(packet.marker), packet.payload, arrival_s=now
        )
        self._take(source, source.assembler.add(media))
        self._repair(source)

    def _source_of(self, ssrc: int) -> _RtpSource:
        if self._source is None or self._source.ssrc != ssrc:
            self._source = _RtpSource(ssrc, FrameAssembler(starts_frame=self._depacketiser.starts_frame))
            self._started = False
            self._ask_for_key_frame()
        return self._source

    def _take(self, source: _RtpSource, assembled: Assembled) -> None:
        if assembled.lost:
            self.figures.lost_frames += 1
            self.request_key_frame()

        # Nobody wants the last frames of a stream whose publisher has begun another one.
        for frame in assembled.frames:
            if source is self._source:
                self._deliver(frame)

    def _deliver(self, frame: BufferedFrame) -> None:
        unit = self._depacketiser.access_unit(frame)
        if unit is None or not (self._started or unit.key_frame):
            self.request_key_frame()
            return

        self._started = True
        if unit.key_frame:
            self._key_frames.arrived()
        self.figures.access_units += 1
        self._sink.access_unit(self, unit)

    def _repair(self, source: _RtpSource) -> None:
        """Ask for what is missing, and look again soon while something is."""
        missing = source.assembler.missing()
        ask = source.nack.due(missing, self._clock.monotonic())
        self.figures.nacked_packets += len(ask)
        for lost in split_at_wrap(ask):
            packet = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=self._ssrc, media_ssrc=source.ssrc, lost=lost)
            self.transport.send_rtcp(bytes(packet))

        if missing and "repair" not in self._timers:
            self._later("repair", REPAIR_INTERVAL_S, self._repair_again)

    def _repair_again(self) -> None:
        if (source := self._source) is not None:
            self._take(source, source.assembler.expire(self._clock.monotonic()))
            self._repair(source)

    def _ask_for_key_frame(self) -> None:
        due_s = self._key_frames.due_in_s()
        if due_s is None or self._source is None or self.state != "connected":
            return

        if due_s == 0:
            packet = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self._ssrc, media_ssrc=self._source.ssrc)
            self.transport.send_rtcp(bytes(packet))
            self._key_frames.asked()
            self.figures.key_frame_requests += 1
            due_s = self._key_frames.due_in_s() or PLI_MIN_INTERVAL_S

        self._later("key frame", max(due_s, REPAIR_INTERVAL_S), self._ask_for_key_frame)

    def _every_second(self) -> None:
        self._later("report", REPORT_INTERVAL_S, self._every_second)
        source = self._source
        if source is None:
            return
        info = RtcpReceiverInfo(
            ssrc=source.ssrc,
            fraction_lost=source.statistics.fraction_lost,
            packets_lost=source.statistics.packets_lost,
            highest_sequence=source.statistics.max_seq or 0,
            jitter=source.statistics.jitter,
            lsr=source.reports.middle_ntp,
            dlsr=source.reports.delay(self._clock.monotonic()),
        )
        self.transport.send_rtcp(bytes(RtcpRrPacket(ssrc=self._ssrc, reports=[info])))

    def _later(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            del self._timers[name]
            act()

        if (before := self._timers.pop(name, None)) is not None:
            before.cancel()
        if self.state != "closed":
            self._timers[name] = asyncio.get_running_loop().call_later(delay_s, fire)
