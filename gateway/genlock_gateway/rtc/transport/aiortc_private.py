"""Every place where private names of aiortc 1.16 and aioice 0.13 are used, each with its reason.

aiortc's RTCPeerConnection is not used: it starts decoder threads, gives each peer its own sockets and lets its senders
write RTP under the same keys as our fan-out. Its ORTC objects (ICE, DTLS and SCTP transports) are put together in
peer.py instead, with the subclasses below.
"""

import asyncio
import ipaddress
import logging
import secrets
import struct
from typing import Any, Final, Protocol

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol
from aiortc import RTCCertificate, RTCIceGatherer, RTCIceTransport
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCDtlsTransport, SRTPProtectionProfile
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import AnyRtcpPacket, RtcpPacket, RtpPacket, is_rtcp
from OpenSSL import SSL

from genlock_gateway.rtc.sdp.candidate import RemoteCandidate
from genlock_gateway.rtc.transport.demultiplexer import Route, SocketAddress
from genlock_gateway.rtc.transport.srtp import SrtpKeys
from genlock_gateway.rtc.transport.udp_port import HostAddress, UdpPort

__all__ = [
    "DtlsTransport",
    "GatewayCertificate",
    "PacketReceiver",
    "PeerProtocol",
    "SharedPortConnection",
    "StreamStatistics",
    "h264_depayload",
    "ice_transport",
    "vp8_depayload",
]

logger = logging.getLogger(__name__)

MAX_QUEUED_DATAGRAMS = 2048
MAX_PAIRS: Final = 100
"""RFC 8445 section 6.1.2.5."""
FIRST_FLIGHT_RESEND_S = 0.05
FIRST_FLIGHT_RESENDS = 40
_CIPHERS = b":".join(
    f"ECDHE-{kind}-{cipher}".encode()
    for kind in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
)


class PeerProtocol(StunProtocol):
    """aioice's STUN protocol on one socket of the shared port instead of on a socket of its own."""

    def __init__(self, connection: "SharedPortConnection", local: int) -> None:
        super().__init__(connection)
        self.local = local
        self._connection = connection
        self._port = connection.shared_port

    async def close(self) -> None:
        self._port.demultiplexer.unregister(self._connection)

    async def request(self, request: stun.Message, addr: SocketAddress, *args: Any, **kwargs: Any) -> Any:
        """Let the response find its way back, also from an address that has not been bound yet."""
        self._port.demultiplexer.expect(request.transaction_id, self._connection)
        try:
            return await super().request(request, addr, *args, **kwargs)
        finally:
            self._port.demultiplexer.forget(request.transaction_id)

    async def send_data(self, data: bytes, addr: SocketAddress) -> None:
        self._port.send(data, Route(self.local, addr))

    def send_stun(self, message: stun.Message, addr: SocketAddress) -> None:
        self._port.send(bytes(message), Route(self.local, addr))


class SharedPortConnection(Connection):
    """An ICE agent whose only host candidates are the shared port's, and an `Endpoint` of its demultiplexer.

    aioice would open a socket on every interface but loopback. Its private lists are filled here because
    `gather_candidates` does both and offers no hook.
    """

    def __init__(self, port: UdpPort) -> None:
        super().__init__(
            ice_controlling=False,
            local_username=secrets.token_hex(8),
            local_password=secrets.token_hex(16),
        )
        self.shared_port = port
        self._by_local: dict[int, PeerProtocol] = {}
        self.unanswered: bytes | None = None
        self.heard = False

    async def gather_candidates(self) -> None:
        if self._local_candidates_start:
            return
        self._local_candidates_start = True
        for number, address in enumerate(self.shared_port.addresses):
            candidate = self._host_candidate(address, number)
            self._local_candidates.append(candidate)
            # One socket may have several advertised addresses; it is one base (RFC 8445 section 5.1.1.1).
            if address.local not in self._by_local:
                protocol = PeerProtocol(self, address.local)
                protocol.local_candidate = candidate
                self._by_local[address.local] = protocol
                self._protocols.append(protocol)
        self.shared_port.demultiplexer.register(self)
        self._local_candidates_end = True

    def _host_candidate(self, address: HostAddress, number: int) -> Candidate:
        return Candidate(
            foundation=candidate_foundation("host", "udp", address.ip),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "host", 65535 - number),
            host=address.ip,
            port=self.shared_port.port,
            type="host",
        )

    # From the demultiplexer.

    @property
    def ice_ufrag(self) -> str:
        return str(self.local_username)

    @property
    def ice_password(self) -> str:
        return str(self.local_password)

    def stun_received(self, message: stun.Message, route: Route) -> None:
        protocol = self._by_local.get(route.local)
        if protocol is None:
            return
        if message.message_class == stun.Class.REQUEST:
            self.request_received(message, route.remote, protocol)
        elif (transaction := protocol.transactions.get(message.transaction_id)) is not None:
            transaction.response_received(message, route.remote)

    def packet_received(self, data: bytes) -> None:
        """Bounded: aioice's queue is not."""
        self.heard = True
        if self._queue.qsize() < MAX_QUEUED_DATAGRAMS:
            self.data_received(data, 1)

    # For the transports above.

    @property
    def route(self) -> Route | None:
        """Where the nominated pair leads; None before ICE is done and after it ended."""
        pair = self._nominated.get(1)
        if pair is None or not isinstance(pair.protocol, PeerProtocol):
            return None
        return Route(pair.protocol.local, pair.remote_addr)

    async def add_remote(self, candidate: RemoteCandidate) -> None:
        """Check this candidate too.

        The end of candidates is never signalled: clients behind mDNS names send checks from addresses they did not
        name, and aioice would give up before those come.
        """
        await self.add_remote_candidate(
            Candidate(
                foundation=candidate.foundation,
                component=1,
                transport="udp",
                priority=candidate.priority,
                host=candidate.ip,
                port=candidate.port,
                type=candidate.type,
            )
        )

    def _pair_remote_candidate(self, remote_candidate: Candidate) -> None:
        """aioice pairs whatever has the same IP version; what cannot work is left out, and the list has an end.

        Each pair makes the gateway send to an address of the client's choice.
        """
        remote_loopback = _is_loopback(remote_candidate.host)
        for protocol in self._protocols:
            local = protocol.local_candidate
            reachable = remote_loopback or not _is_loopback(local.host)
            if (
                reachable
                and len(self._check_list) < MAX_PAIRS
                and local.can_pair_with(remote_candidate)
                and not self._find_pair(protocol, remote_candidate)
            ):
                self._check_list.append(CandidatePair(protocol, remote_candidate))

    async def send(self, data: bytes) -> None:
        self.unanswered = None if self.heard else data
        await super().send(data)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def ice_transport(connection: SharedPortConnection) -> RTCIceTransport:
    """aiortc's ICE transport round our agent; its gatherer makes an agent of its own, which is replaced unused."""
    gatherer = RTCIceGatherer(iceServers=[])
    gatherer._connection = connection  # noqa: SLF001 - see above
    return RTCIceTransport(gatherer)


class GatewayCertificate(RTCCertificate):
    """aiortc offers ECDSA ciphers only; peers with RSA certificates (GStreamer before 1.24) need the others too."""

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(_CIPHERS)
        return context

    @property
    def sha256(self) -> str:
        return next(str(item.value) for item in self.getFingerprints() if item.algorithm == "sha-256")


class PacketReceiver(Protocol):
    """Takes the decrypted packets of one transport."""

    def rtp(self, packet: RtpPacket, arrival_ms: int) -> None: ...
    def rtcp(self, packets: list[AnyRtcpPacket]) -> None: ...


class DtlsTransport(RTCDtlsTransport):
    """aiortc's DTLS transport whose RTP and RTCP packets go to a `receiver`.

    It bypasses aiortc's router and receivers (they decode), hands out the SRTP keys, sends RTCP at once and refuses
    RTP. As client it sends its first flight again every 50 ms: the server may not know our answer yet, and OpenSSL
    would wait 1 s.
    """

    def __init__(
        self,
        transport: RTCIceTransport,
        connection: SharedPortConnection,
        certificate: GatewayCertificate,
        *,
        client: bool,
    ) -> None:
        super().__init__(transport, [certificate])
        self._set_role("client" if client else "server")
        self._connection = connection
        self.receiver: PacketReceiver | None = None
        self._resend: asyncio.TimerHandle | None = None
        self.srtp_keys: SrtpKeys | None = None

    def know_extensions(self, extensions: tuple[tuple[int, str], ...]) -> None:
        """Header extensions by number, as negotiated."""
        known = [RTCRtpHeaderExtensionParameters(id=number, uri=uri) for number, uri in extensions]
        self._rtp_header_extensions_map.configure(RTCRtpParameters(headerExtensions=known))

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send a compound RTCP packet; dropped while not connected."""
        route = self._connection.route
        if self._tx_srtp is not None and route is not None and self.state == "connected":
            self._connection.shared_port.send(self._tx_srtp.protect_rtcp(packet), route)

    async def _send_rtp(self, data: bytes) -> None:
        """aiortc's way out for RTP and RTCP. RTP under these keys is the fan-out's alone (nonces, see srtp.py)."""
        if not is_rtcp(data):
            raise RuntimeError("only the fan-out sends RTP")
        self.send_rtcp(data)

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        try:
            packet = RtpPacket.parse(data, self._rtp_header_extensions_map)
        except (ValueError, struct.error):
            return
        if self.receiver is not None:
            self.receiver.rtp(packet, arrival_time_ms)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        try:
            packets = RtcpPacket.parse(data)
        except (ValueError, struct.error):
            return
        if self.receiver is not None:
            self.receiver.rtcp(packets)

    async def _do_handshake(self) -> None:
        if self._role == "client":
            self._schedule_resend(FIRST_FLIGHT_RESENDS)
        try:
            await super()._do_handshake()
        finally:
            if self._resend is not None:
                self._resend.cancel()
                self._resend = None

    def _schedule_resend(self, left: int) -> None:
        def resend() -> None:
            flight, route = self._connection.unanswered, self._connection.route
            if flight is not None and route is not None and not self._connection.heard:
                self._connection.shared_port.send(flight, route)
                self._schedule_resend(left - 1)

        if left > 0:
            self._resend = asyncio.get_running_loop().call_later(FIRST_FLIGHT_RESEND_S, resend)

    def _setup_srtp(self) -> None:
        """aiortc keeps the keys to itself; the exporter gives the same bytes again (RFC 5764 section 4.2)."""
        super()._setup_srtp()
        if self._ssl is None:
            return
        name = self._ssl.get_selected_srtp_profile()
        profile = next((item for item in SRTP_PROFILES if item.openssl_profile == name), None)
        if profile is None:
            return
        size = 2 * (profile.key_length + profile.salt_length)
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        master = profile.get_key_and_salt(material, 1 if self._role == "server" else 0)
        self.srtp_keys = SrtpKeys(
            libsrtp_profile=profile.libsrtp_profile,
            is_gcm=b"GCM" in profile.openssl_profile,
            key=master[: profile.key_length],
            salt=master[profile.key_length :],
        )
