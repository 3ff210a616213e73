"""A publisher (WHIP): encoded access units out of its RTP, never decoded.

aiortc's receiver would start a decoder thread for each peer. This one ends where the encoded frame is whole. It reports
losses (NACK, RFC 4585), asks for key frames (PLI), and tells the sender what arrives (RR) and how fast it may send
(REMB).
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unwrap_rtx,
)

from genlock_core.bounds import Holdings
from genlock_core.clock import Clock
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_gateway.rtc.ingest.choice import SourceChoice
from genlock_gateway.rtc.ingest.jitter import Assembled, BufferedFrame, MediaPacket, split_at_wrap
from genlock_gateway.rtc.ingest.remb import ReceiverEstimate
from genlock_gateway.rtc.ingest.rtp_source import RtpSource
from genlock_gateway.rtc.ingest.trouble import TroubleWatch
from genlock_gateway.rtc.key_frames import KeyFrameRequests
from genlock_gateway.rtc.sdp.video_format import VideoFormat
from genlock_gateway.rtc.transport.peer import Peer, PeerListener, PeerTransport

logger = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0
REPAIR_INTERVAL_S = 0.02
PLI_MIN_INTERVAL_S = 0.3
OSN_BYTES = 2
"""A retransmission begins with the number of the packet that it repeats (RFC 4588 section 4)."""


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


class IngestPeer(Peer):
    """One publisher. Made by MediaPlane.publish; `transport` is its connection, `video` the negotiated format.

    Its pictures go to `sink`; `listener` is told what becomes of it. `rtx_ssrcs` says for the SSRCs of retransmissions
    whose they are, as far as the offer does.
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
        rtx_ssrcs: Mapping[int, int],
        holdings: Holdings | None = None,
    ) -> None:
        super().__init__(transport, listener)
        self.holdings = holdings or Holdings()
        """Every buffer that it can fill here, those of its transport included."""
        self.video = video
        self.figures = IngestFigures()
        self._ssrc = ssrc
        self._sink = sink
        self._clock = clock
        self._choice = SourceChoice()
        self._sources: dict[int, RtpSource] = {}
        self._rtx_ssrcs = dict(rtx_ssrcs)
        self._remb = ReceiverEstimate(ssrc) if "goog-remb" in video.feedback else None
        self._key_frames = KeyFrameRequests(clock, min_interval_s=PLI_MIN_INTERVAL_S)
        self._trouble = TroubleWatch()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        # When the last RTP or RTCP packet came, or else the connection stood.
        self._heard_s = clock.monotonic()

    @property
    def quiet_s(self) -> float:
        """For how long neither RTP nor RTCP has come."""
        return self._clock.monotonic() - self._heard_s

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing of what arrives can be used; None if something is, or it is too early to tell."""
        return self._trouble.trouble(self._clock.monotonic())

    @property
    def codec(self) -> Codec:
        return self.video.codec

    def request_key_frame(self) -> None:
        """Ask the publisher for a key frame (PLI). Many calls make one request, which is repeated until one comes."""
        self._key_frames.want()
        self._ask_for_key_frame()

    def connected(self) -> None:
        self._heard_s = self._clock.monotonic()
        self._every_second()
        super().connected()

    def closed(self, reason: str) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().closed(reason)

    def rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        """RTCP of the publisher."""
        self._heard_s = self._clock.monotonic()
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and (source := self._sources.get(packet.ssrc)) is not None:
                source.reports.came(packet.sender_info.ntp_timestamp, self._clock.monotonic())
            elif isinstance(packet, RtcpByePacket):
                for ssrc in packet.sources:
                    self._choice.leave(ssrc)
                self._forget_sources()

    def unreadable(self) -> None:
        self._trouble.unreadable(self._clock.monotonic())

    def rtp(self, packet: RtpPacket, arrival_ms: int) -> None:
        """An RTP packet of the publisher."""
        now_s = self._heard_s = self._clock.monotonic()
        if self._remb is not None:
            report = self._remb.add(packet, arrival_ms, now_s=now_s)
            if report is not None:
                self.transport.send_rtcp(bytes(report))

        if packet.payload_type == self.video.payload_type:
            source = self._source_of(packet, now_s)
            if source is None:
                return
            source.statistics.add(packet.sequence_number, packet.timestamp, now_s)
            self._trouble.packet(now_s)
        elif packet.payload_type == self.video.rtx_payload_type:
            # A retransmission becomes the packet that was lost (RFC 4588 section 4). It did not arrive as such, so it
            # is not in the statistics: the sender is to see its losses.
            source = self._source_repaired_by(packet)
            if source is None:
                return
            packet = unwrap_rtx(packet, payload_type=self.video.payload_type, ssrc=source.ssrc)
        else:
            return

        media = MediaPacket(
            packet.sequence_number, packet.timestamp, bool(packet.marker), packet.payload, arrival_s=now_s
        )
        self._take(source, source.assembler.add(media))
        self._repair(source)
        self._end_frame_later(source)

    def _source_of(self, packet: RtpPacket, now_s: float) -> RtpSource | None:
        """Who sent a packet of the media payload type; None if another SSRC is chosen."""
        if not self._choice.hear(packet.ssrc, now_s):
            return None
        self._forget_sources()

        source = self._sources.get(packet.ssrc)
        if source is None:
            source = self._sources[packet.ssrc] = RtpSource(packet.ssrc, self.video, holdings=self.holdings)
            self._ask_for_key_frame()
        if packet.extensions.rtp_stream_id is not None:
            source.rid = packet.extensions.rtp_stream_id
        return source

    def _source_repaired_by(self, packet: RtpPacket) -> RtpSource | None:
        """Whose packet a retransmission carries; None if that cannot be known, or nobody wants it."""
        if len(packet.payload) <= OSN_BYTES:  # padding, with which a sender probes the path
            return None
        if (ssrc := self._rtx_ssrcs.get(packet.ssrc)) is not None:
            return self._sources.get(ssrc)

        sources = list(self._sources.values())
        if (rid := packet.extensions.repaired_rtp_stream_id) is not None:
            sources = [source for source in sources if source.rid in ("", rid)]
        if len(sources) > 1:
            number = int.from_bytes(packet.payload[:OSN_BYTES], "big")
            sources = [source for source in sources if source.assembler.misses(number)]
        return sources[0] if len(sources) == 1 else None

    def _forget_sources(self) -> None:
        """Keep those that the choice looks at."""
        for ssrc in self._sources.keys() - self._choice.candidates:
            del self._sources[ssrc]
            # Its timer would keep all that it holds.
            if (timer := self._timers.pop(_end_of(ssrc), None)) is not None:
                timer.cancel()

    def _take(self, source: RtpSource, assembled: Assembled) -> None:
        if assembled.lost and source.ssrc == self._choice.chosen:
            self.figures.lost_frames += 1
            self.request_key_frame()

        for frame in assembled.frames:
            self._deliver(source, frame)

    def _deliver(self, source: RtpSource, frame: BufferedFrame) -> None:
        is_chosen = source.ssrc == self._choice.chosen
        unit = source.depacketiser.access_unit(frame, any_start=not is_chosen or self._key_frames.wanted)
        if unit is None:
            return
        is_wanted = is_chosen or self._choice.chosen is None
        if isinstance(unit, Trouble):
            self._trouble.refused(unit)
            if is_wanted:
                self.request_key_frame()
            return

        now_s = self._clock.monotonic()
        begins = unit.key_frame and self._choice.key_frame(source.ssrc, source.depacketiser.pixels, now_s)
        if begins or is_chosen:
            self._use(unit)
        elif is_wanted:
            self.request_key_frame()
        else:
            self._succeed(source, unit, now_s)

    def _succeed(self, source: RtpSource, unit: AccessUnit, now_s: float) -> None:
        """A stream that began after the chosen one: its pictures wait until that one has surely ended."""
        if source.wait(unit) and self._choice.succeed(source.ssrc, source.depacketiser.pixels, now_s):
            self._forget_sources()
            for waited in source.take_waiting():
                self._use(waited)

    def _use(self, unit: AccessUnit) -> None:
        if unit.key_frame:
            self._key_frames.arrived()
        self._trouble.used()
        self.figures.access_units += 1
        self._sink.access_unit(self, unit)

    def _repair(self, source: RtpSource) -> None:
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
        for source in tuple(self._sources.values()):
            self._take(source, source.assembler.expire(self._clock.monotonic()))
            self._repair(source)

    def _end_frame_later(self, source: RtpSource) -> None:
        """A frame whose last packet nothing tells ends after a short wait."""
        ends_at_s = source.assembler.ends_at_s
        if ends_at_s is not None:
            delay_s = max(0.0, ends_at_s - self._clock.monotonic())
            self._later(_end_of(source.ssrc), delay_s, functools.partial(self._end_frame, source))

    def _end_frame(self, source: RtpSource) -> None:
        if self._sources.get(source.ssrc) is source:
            self._take(source, source.assembler.expire(self._clock.monotonic()))
            self._end_frame_later(source)

    def _ask_for_key_frame(self) -> None:
        due_s = self._key_frames.due_in_s()
        if due_s is None or not self._sources or self.state != "connected":
            return

        if due_s == 0:
            chosen = self._choice.chosen
            for ssrc in self._sources if chosen is None else (chosen,):
                self.transport.send_rtcp(bytes(self._key_frame_request(ssrc)))
            self._key_frames.asked()
            self.figures.key_frame_requests += 1
            due_s = self._key_frames.due_in_s() or PLI_MIN_INTERVAL_S

        self._later("key frame", max(due_s, REPAIR_INTERVAL_S), self._ask_for_key_frame)

    def _key_frame_request(self, ssrc: int) -> RtcpPsfbPacket:
        """A PLI; a FIR for a publisher that offers nothing else (RFC 5104 section 4.3.1)."""
        if "nack pli" in self.video.feedback or "ccm fir" not in self.video.feedback:
            return RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self._ssrc, media_ssrc=ssrc)
        # Each request has a number of its own: one that comes twice is one.
        number = self.figures.key_frame_requests % 256
        fci = ssrc.to_bytes(4, "big") + bytes([number, 0, 0, 0])
        return RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=self._ssrc, media_ssrc=0, fci=fci)

    def _every_second(self) -> None:
        self._later("report", REPORT_INTERVAL_S, self._every_second)
        if self._sources:
            now_s = self._clock.monotonic()
            reports = [source.report(now_s) for source in self._sources.values()]
            self.transport.send_rtcp(bytes(RtcpRrPacket(ssrc=self._ssrc, reports=reports)))

    def _later(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            del self._timers[name]
            act()

        if (before := self._timers.pop(name, None)) is not None:
            before.cancel()
        if self.state != "closed":
            self._timers[name] = asyncio.get_running_loop().call_later(delay_s, fire)


def _end_of(ssrc: int) -> str:
    """The name of the timer that ends a frame of this SSRC."""
    return f"end of {ssrc}"
