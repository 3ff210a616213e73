"""The way into the media plane: offers in, peers and answers out, all on one UDP port."""

import asyncio
import datetime
import functools
import secrets
from collections.abc import Mapping, Sequence

from genlock_core.bounds import Holdings
from genlock_core.clock import Clock
from genlock_core.media import Codec
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.rtc.egress.viewer import ViewerPeer
from genlock_gateway.rtc.egress.viewer_stream import StreamIdentity
from genlock_gateway.rtc.ingest.receive import AccessUnitSink, IngestPeer
from genlock_gateway.rtc.sdp.answer import SentStream, write_answer, write_fragment
from genlock_gateway.rtc.sdp.offer import Offer, parse_offer
from genlock_gateway.rtc.sdp.offer_error import unsupported
from genlock_gateway.rtc.sdp.trickle import parse_fragment
from genlock_gateway.rtc.sdp.video_format import VideoFormat, best_format
from genlock_gateway.rtc.transport.aiortc_private import GatewayCertificate
from genlock_gateway.rtc.transport.peer import Peer, PeerListener, PeerTransport
from genlock_gateway.rtc.transport.udp_port import UdpPort

CONNECT_TIMEOUT_S = 15.0
PUBLISHER_CODECS = (Codec.H264, Codec.VP8)
"""What a publisher is answered with, best first: H264 is cheaper to decode at a worker."""


class MediaPlane:
    """All peers of one gateway process.

    `hosts`, `port` and `advertised` are those of the `UdpPort`. Between `start` and `stop` peers come by `publish` and
    `view` and go by themselves or by their `close`; a peer that is closed leaves nothing behind here.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        port: int,
        clock: Clock,
        advertised: Sequence[str] = (),
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self.udp_port = UdpPort(hosts=hosts, port=port, advertised=advertised)
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._certificate = GatewayCertificate.generateCertificate()
        self._peers: set[Peer] = set()

    @property
    def port(self) -> int:
        """The bound UDP port; RuntimeError unless started."""
        return self.udp_port.port

    async def start(self) -> None:
        """Bind the port; OSError if it is taken."""
        self.udp_port.open()

    async def stop(self) -> None:
        """Close every peer, then the port."""
        await asyncio.gather(*(peer.close("the gateway stops") for peer in self._peers))
        self.udp_port.close()

    async def publish(
        self, offer_sdp: str, *, listener: PeerListener, sink: AccessUnitSink, connect_within_s: float | None = None
    ) -> tuple[IngestPeer, str]:
        """Take a WHIP offer; the peer is connecting when this returns. Raises OfferError.

        `connect_within_s`: a time of its own instead of the plane's.
        """
        offer = parse_offer(offer_sdp, role="publisher")
        video = self._choose(offer, PUBLISHER_CODECS)
        holdings = Holdings()
        peer = IngestPeer(
            transport=self._transport(offer, connect_within_s, holdings=holdings),
            video=video,
            ssrc=_random_ssrc(),
            listener=listener,
            sink=sink,
            clock=self._clock,
            rtx_ssrcs=dict(offer.rtx_ssrcs),
            holdings=holdings,
        )
        return peer, self._begin(peer, video, None)

    async def view(
        self, offer_sdp: str, fanouts: Mapping[Codec, Fanout], *, listener: PeerListener
    ) -> tuple[ViewerPeer, str]:
        """Take a WHEP offer; `fanouts` are in the order in which the gateway would rather send. Raises OfferError."""
        offer = parse_offer(offer_sdp, role="viewer")
        video = self._choose(offer, tuple(fanouts))
        ssrc = _random_ssrc()
        has_rtx = video.rtx_payload_type is not None
        identity = StreamIdentity(
            payload_type=video.payload_type,
            ssrc=ssrc,
            rtx_payload_type=video.rtx_payload_type,
            rtx_ssrc=ssrc ^ 1 if has_rtx else None,
            cname=secrets.token_hex(8),
            first_sequence=secrets.randbits(15),
        )
        peer = ViewerPeer(
            transport=self._transport(offer),
            fanout=fanouts[video.codec],
            identity=identity,
            port=self.udp_port,
            listener=listener,
            clock=self._clock,
        )
        sent = SentStream(identity.cname, identity.ssrc, identity.rtx_ssrc)
        return peer, self._begin(peer, video, sent)

    async def patch(self, peer: Peer, fragment_sdp: str, *, of_any: bool) -> str | None:
        """Take a trickle fragment; returns the fragment to answer with after an ICE restart, None otherwise.

        `of_any`: it came with `If-Match: *`. Raises OfferError, TooManyRestarts, and ConnectionError once the peer is
        closed; the peer goes on as before.
        """
        local = await peer.transport.patch(parse_fragment(fragment_sdp), of_any=of_any)
        return None if local is None else write_fragment(peer.transport.offer, local)

    def _choose(self, offer: Offer, codecs: Sequence[Codec]) -> VideoFormat:
        for codec in codecs:
            if (video := best_format(offer.formats, codec)) is not None:
                return video
        offered = " and ".join(codec.name for codec in offer.codecs)
        served = " or ".join(codec.name for codec in codecs)
        raise unsupported(f"the offer has {offered}; this stream is {served or 'not being sent'}")

    def _transport(
        self, offer: Offer, connect_within_s: float | None = None, *, holdings: Holdings | None = None
    ) -> PeerTransport:
        return PeerTransport(
            offer,
            port=self.udp_port,
            certificate=self._valid_certificate(),
            clock=self._clock,
            connect_timeout_s=self._connect_timeout_s if connect_within_s is None else connect_within_s,
            holdings=holdings,
        )

    def _begin(self, peer: Peer, video: VideoFormat, sent: SentStream | None) -> str:
        local = peer.transport.open()
        self._peers.add(peer)
        peer.transport.start(peer, forget=functools.partial(self._peers.discard, peer))
        return write_answer(
            peer.transport.offer, session_id=secrets.randbits(62), transport=local, video=video, sent=sent
        )

    def _valid_certificate(self) -> GatewayCertificate:
        """One certificate for all peers, renewed before it ends (aiortc's are valid for 30 days)."""
        now = datetime.datetime.fromtimestamp(self._clock.wall_ms() / 1000, tz=datetime.UTC)
        if self._certificate.expires - now < datetime.timedelta(days=7):
            self._certificate = GatewayCertificate.generateCertificate()
        return self._certificate


def _random_ssrc() -> int:
    """Even, so that the odd neighbour is free for retransmissions; never 0."""
    return (secrets.randbits(31) or 1) << 1
