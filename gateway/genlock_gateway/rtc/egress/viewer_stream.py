"""What one viewer adds to a stream that all share: its SSRC, its sequence numbers, its encryption, its retransmissions.

It stands apart from `viewer` because it needs no peer connection: tests give it a port and keys.
"""

import struct
from dataclasses import dataclass
from typing import Protocol

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    unpack_remb_fci,
)

from genlock_core.clock import Clock
from genlock_gateway.rtc.egress.packetise import PacketisedFrame, PacketRing, StreamPacket
from genlock_gateway.rtc.transport.demultiplexer import Route
from genlock_gateway.rtc.transport.srtp import SrtpKeys, rtp_header, writer_for
from genlock_gateway.rtc.transport.udp_port import UdpPort

REPORT_INTERVAL_S = 1.0
RETRANSMISSIONS_PER_S = 500
RETRANSMISSION_BURST = 250
_NTP_EPOCH_S = 2_208_988_800
_SDES_CNAME = 1


class ViewerTransport(Protocol):
    """What is needed of a PeerTransport."""

    @property
    def route(self) -> Route | None: ...

    @property
    def srtp_keys(self) -> SrtpKeys: ...

    def send_rtcp(self, packet: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """The numbers that the answer promised to this viewer. RTX fields are None when it takes plain retransmissions."""

    payload_type: int
    ssrc: int
    rtx_payload_type: int | None
    rtx_ssrc: int | None
    cname: str
    first_sequence: int
    """Below 32768, so that the receiver's guess of the rollover counter cannot go wrong (RFC 3711 section 3.3.1)."""


@dataclass(slots=True)
class ViewerFigures:
    """Counts since the viewer came; the last two are what it reported."""

    frames: int = 0
    packets: int = 0
    bytes: int = 0
    retransmitted: int = 0
    key_frame_requests: int = 0
    fraction_lost: float = 0.0
    estimated_bps: int | None = None


class ViewerStream:
    """Sends frames to one viewer.

    It waits for a key frame, then sends every frame. `wait_for_key_frame` makes it wait again; its sequence numbers
    then go on without a hole. It is the only writer of its two SSRCs (srtp.py).
    """

    def __init__(self, identity: StreamIdentity, *, transport: ViewerTransport, port: UdpPort, clock: Clock) -> None:
        self.identity = identity
        self.figures = ViewerFigures()
        self._transport = transport
        self._port = port
        self._clock = clock
        self._writer = writer_for(transport.srtp_keys)
        self._waiting = True
        self._offset = 0
        self._floor = identity.first_sequence
        self._next_index = identity.first_sequence
        self._rtx_index = identity.first_sequence
        self._reported_s = clock.monotonic()
        self._allowance = float(RETRANSMISSION_BURST)
        self._allowance_s = clock.monotonic()

    def wait_for_key_frame(self) -> None:
        self._waiting = True

    def send_frame(self, frame: PacketisedFrame) -> None:
        """Send one picture, or nothing while a key frame is waited for or there is no way to the viewer."""
        route = self._transport.route
        if route is None or (self._waiting and not frame.key_frame):
            return

        # The numbers go on from the last packet that this viewer got, whatever the stream has sent meanwhile.
        if self._waiting:
            self._waiting = False
            self._offset = self._next_index - frame.packets[0].index
            self._floor = self._next_index

        for run in frame.runs:
            packets = [self._protect(packet) for packet in frame.packets[run.start : run.stop]]
            self._port.send_run(packets, route)
            self.figures.packets += len(packets)

        self.figures.bytes += sum(len(packet.payload) for packet in frame.packets)
        self.figures.frames += 1
        self._next_index = frame.packets[-1].index + self._offset + 1

    def report(self, *, rtp_timestamp: int) -> None:
        """Send a sender report if one is due; `rtp_timestamp` is the stream's for now (RFC 3550 section 6.4.1)."""
        now = self._clock.monotonic()
        if now - self._reported_s < REPORT_INTERVAL_S or not self.figures.packets:
            return

        self._reported_s = now
        wall_ms = self._clock.wall_ms()
        ntp = (wall_ms // 1000 + _NTP_EPOCH_S) << 32 | (wall_ms % 1000 << 32) // 1000
        counts = (self.figures.packets & 0xFFFFFFFF, self.figures.bytes & 0xFFFFFFFF)

        identity = self.identity
        sender = RtcpSrPacket(ssrc=identity.ssrc, sender_info=RtcpSenderInfo(ntp, rtp_timestamp, *counts))
        name = RtcpSourceInfo(ssrc=identity.ssrc, items=[(_SDES_CNAME, identity.cname.encode())])
        self._transport.send_rtcp(bytes(sender) + bytes(RtcpSdesPacket(chunks=[name])))

    def feedback(self, packets: list[AnyRtcpPacket], ring: PacketRing) -> bool:
        """Take the viewer's RTCP: retransmit what it misses; True if it wants a key frame (PLI, FIR)."""
        wants_key_frame = False
        for packet in packets:
            if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
                if packet.media_ssrc == self.identity.ssrc:
                    self._retransmit(packet.lost, ring)
            elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
                # A FIR names its target in its entries and leaves the media source empty (RFC 5104 section 4.3.1).
                wants_key_frame |= packet.media_ssrc in (0, self.identity.ssrc)
            elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
                self._estimate(packet.fci)
            elif isinstance(packet, RtcpRrPacket):
                for block in packet.reports:
                    if block.ssrc == self.identity.ssrc:
                        self.figures.fraction_lost = block.fraction_lost / 256
        self.figures.key_frame_requests += wants_key_frame
        return wants_key_frame

    def _protect(self, packet: StreamPacket) -> bytes:
        identity = self.identity
        index = packet.index + self._offset
        header = rtp_header(
            payload_type=identity.payload_type,
            marker=packet.marker,
            index=index,
            timestamp=packet.timestamp,
            ssrc=identity.ssrc,
        )
        return self._writer.protect(header, packet.payload, ssrc=identity.ssrc, index=index)

    def _retransmit(self, lost: list[int], ring: PacketRing) -> None:
        # A viewer may not make the gateway send without bounds.
        route = self._transport.route
        now = self._clock.monotonic()
        gained = (now - self._allowance_s) * RETRANSMISSIONS_PER_S
        self._allowance = min(float(RETRANSMISSION_BURST), self._allowance + gained)
        self._allowance_s = now

        for sequence in lost:
            # The newest index with these low 16 bits that was sent already.
            index = self._next_index - 1 - ((self._next_index - 1 - sequence) & 0xFFFF)
            packet = ring.get(index - self._offset) if index >= self._floor else None
            if packet is None or route is None or self._allowance < 1:
                continue
            self._allowance -= 1
            self._port.send(self._protect_again(packet), route)
            self.figures.retransmitted += 1

    def _protect_again(self, packet: StreamPacket) -> bytes:
        """As RTX (RFC 4588 section 4), or else the very same bytes once more."""
        identity = self.identity
        if identity.rtx_payload_type is None or identity.rtx_ssrc is None:
            return self._protect(packet)
        index = self._rtx_index
        self._rtx_index += 1
        header = rtp_header(
            payload_type=identity.rtx_payload_type,
            marker=packet.marker,
            index=index,
            timestamp=packet.timestamp,
            ssrc=identity.rtx_ssrc,
        )
        original = (packet.index + self._offset & 0xFFFF).to_bytes(2, "big")
        return self._writer.protect(header, original + packet.payload, ssrc=identity.rtx_ssrc, index=index)

    def _estimate(self, fci: bytes) -> None:
        try:
            bitrate, ssrcs = unpack_remb_fci(fci)
        except (ValueError, IndexError, struct.error):
            return
        if self.identity.ssrc in ssrcs:
            self.figures.estimated_bps = bitrate
