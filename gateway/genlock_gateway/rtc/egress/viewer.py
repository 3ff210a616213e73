"""A viewer (WHEP): one connection that a fan-out sends to."""

from aiortc.rtp import AnyRtcpPacket, RtpPacket

from genlock_core.clock import Clock
from genlock_core.media import Codec
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.rtc.egress.viewer_stream import StreamIdentity, ViewerFigures, ViewerStream
from genlock_gateway.rtc.transport.peer import Peer, PeerListener, PeerTransport
from genlock_gateway.rtc.transport.udp_port import UdpPort


class ViewerPeer(Peer):
    """One viewer. Made by MediaPlane.view; it joins its fan-out when it is connected and leaves it when it closes."""

    def __init__(
        self,
        *,
        transport: PeerTransport,
        fanout: Fanout,
        identity: StreamIdentity,
        port: UdpPort,
        listener: PeerListener,
        clock: Clock,
    ) -> None:
        super().__init__(transport, listener)
        self._fanout = fanout
        self._identity = identity
        self._port = port
        self._clock = clock
        self._stream: ViewerStream | None = None

    @property
    def codec(self) -> Codec:
        return self._fanout.codec

    @property
    def figures(self) -> ViewerFigures:
        """Counts of what was sent; zeros before the viewer is connected."""
        return self._stream.figures if self._stream is not None else ViewerFigures()

    def connected(self) -> None:
        self._stream = ViewerStream(self._identity, transport=self.transport, port=self._port, clock=self._clock)
        self._fanout.add(self._stream)
        super().connected()

    def closed(self, reason: str) -> None:
        if self._stream is not None:
            self._fanout.remove(self._stream)
        super().closed(reason)

    def unreadable(self) -> None:
        """Nobody waits for packets of a viewer."""

    def rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        """RTCP of the viewer."""
        if self._stream is not None:
            self._fanout.feedback(self._stream, packets)

    def rtp(self, packet: RtpPacket, arrival_ms: int) -> None:
        """A viewer has nothing to send."""
