"""Every place where private names of aiortc 1.16 and aioice 0.13 are used, each with its reason.

aiortc's RTCPeerConnection is not used: it starts decoder threads, gives each peer its own sockets and lets its senders
write RTP under the same keys as our fan-out. Its ORTC objects (ICE, DTLS and SCTP transports) are put together in
peer.py instead, with the subclasses below.
"""

import asyncio
import logging
import secrets
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol
from aiortc import RTCCertificate, RTCIceTransport
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCDtlsTransport, SRTPProtectionProfile
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import AnyRtcpPacket, RtcpPacket, RtpPacket, is_rtcp
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.transport.demultiplexer import Route, SocketAddress
from genlock_gateway.rtc.transport.send_budget import SendBudget
from genlock_gateway.rtc.transport.srtp import SrtpKeys
from genlock_gateway.rtc.transport.udp_port import HostAddress, UdpPort

__all__ = [
    "DtlsTransport",
    "GatewayCertificate",
    "PacketReceiver",
    "PeerProtocol",
    "SharedPortConnection",
    "h264_depayload",
    "vp8_depayload",
]

logger = logging.getLogger(__name__)

MAX_PAIRS: Final = 100
"""RFC 8445 section 6.1.2.5. Each is an address from which the client has asked."""
UFRAG_BYTES: Final = 32
"""As hexadecimal digits. It is long because each check of the client carries it: `SendBudget` takes three times what
came, and DTLS' flight has to fit in (QUIC pads its first packets for the same reason, RFC 9000 section 14.1)."""
FIRST_FLIGHT_RESEND_S: Final = 0.2
FIRST_FLIGHT_RESENDS: Final = 10
_CIPHERS = b":".join(
    f"ECDHE-{kind}-{cipher}".encode()
    for kind in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
)


class PeerProtocol(StunProtocol):
    """aioice's STUN protocol on one socket of the shared port instead of on a socket of its own."""

    def __init__(self, agent: "SharedPortConnection", local: int) -> None:
        super().__init__(agent)
        self.local = local
        self._agent = agent
        self._port = agent.shared_port
        self._asked: dict[SocketAddress, stun.Message] = {}

    async def close(self) -> None:
        """The socket is shared and stays; the agent gives its place up itself."""

    async def request(self, request: stun.Message, addr: SocketAddress, *args: Any, **kwargs: Any) -> Any:
        """Let the response find its way back, also from an address that has not been bound yet."""
        self._port.demultiplexer.expect(request.transaction_id, self._agent)
        self._asked[addr] = request
        try:
            return await super().request(request, addr, *args, **kwargs)
        finally:
            self._port.demultiplexer.forget(request.transaction_id)
            if self._asked.get(addr) is request:
                del self._asked[addr]

    def ask_again(self, addr: SocketAddress) -> None:
        """Send the request to that address once more, if one is unanswered."""
        request = self._asked.get(addr)
        if request is not None:
            self.send_stun(request, addr)

    async def send_data(self, data: bytes, addr: SocketAddress) -> None:
        self._agent.send_by(data, Route(self.local, addr))

    def send_stun(self, message: stun.Message, addr: SocketAddress) -> None:
        self._agent.send_by(bytes(message), Route(self.local, addr))


class SharedPortConnection(Connection):
    """An ICE agent whose only host candidates are the shared port's, and an `Endpoint` of its demultiplexer.

    One agent is one generation of credentials; ice.py has a client's generations. Between `open` and `close` it has a
    place on the port. What comes in and is not STUN goes to `deliver`; `budget` bounds what goes out.

    It is told of no candidate of the client. It answers checks where they come from, and checks that address in turn
    (RFC 8445 section 7.3.1.4): a client that is there opens its own firewall by its first check.

    aioice would open a socket on every interface but loopback. Its private lists are filled here because
    `gather_candidates` does both and offers no hook.
    """

    def __init__(
        self, port: UdpPort, remote: IceCredentials, *, budget: SendBudget, deliver: Callable[[bytes, Route], None]
    ) -> None:
        super().__init__(
            ice_controlling=False,
            local_username=secrets.token_hex(UFRAG_BYTES),
            local_password=secrets.token_hex(16),
        )
        self.remote_username = remote.ufrag
        self.remote_password = remote.password
        self.shared_port = port
        self._budget = budget
        self._deliver = deliver
        self._by_local: dict[int, PeerProtocol] = {}

    def open(self) -> None:
        """Take the port's addresses as candidates, and be known to its demultiplexer."""
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
        self._local_candidates_start = True
        self._local_candidates_end = True

    async def close(self) -> None:
        self.shared_port.demultiplexer.unregister(self)
        await super().close()

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

    @property
    def credentials(self) -> IceCredentials:
        return IceCredentials(str(self.local_username), str(self.local_password))

    # From the demultiplexer.

    @property
    def ice_ufrag(self) -> str:
        return str(self.local_username)

    @property
    def ice_password(self) -> str:
        return str(self.local_password)

    def heard(self, route: Route, size: int) -> None:
        self._budget.heard(route, size)

    def stun_received(self, message: stun.Message, route: Route) -> None:
        protocol = self._by_local.get(route.local)
        if protocol is None:
            return
        if message.message_class == stun.Class.REQUEST:
            self.request_received(message, route.remote, protocol)
        elif (transaction := protocol.transactions.get(message.transaction_id)) is not None:
            transaction.response_received(message, route.remote)

    def packet_received(self, data: bytes, route: Route) -> None:
        self._deliver(data, route)

    # For ice.py.

    @property
    def route(self) -> Route | None:
        """Where the nominated pair leads; None before ICE is done and after it ended."""
        pair = self._nominated.get(1)
        if pair is None or not isinstance(pair.protocol, PeerProtocol):
            return None
        return Route(pair.protocol.local, pair.remote_addr)

    async def answers(self) -> bool:
        """One consent check (RFC 7675) on the nominated pair, of our own: aioice's come every 5 s and tell nobody.

        False without an answer within 0.5 s (aioice's first retransmission timeout), or without a pair.
        """
        pair = self._nominated.get(1)
        if pair is None or self.remote_password is None:
            return False
        try:
            await pair.protocol.request(
                self.build_request(pair, nominate=False),
                pair.remote_addr,
                integrity_key=self.remote_password.encode(),
                retransmissions=0,
            )
        except stun.TransactionFailed:
            return True  # an error that carries the client's proof is an answer, too
        except stun.TransactionError:
            return False
        return True

    def send_by(self, data: bytes, route: Route) -> None:
        """Send, unless the address has had its share: then it is lost, as UDP packets are."""
        if self._budget.take(route, len(data)):
            self.shared_port.send(data, route)

    # What aioice does otherwise.

    def check_incoming(self, message: stun.Message, addr: SocketAddress, protocol: StunProtocol) -> None:
        """Whoever asks is there: check it now (RFC 8445 section 7.3.1.4).

        aioice does so for pairs that have failed or were not checked. A pair under check would wait for its timer,
        which doubles up to 16 s while a network is away; one whose check was cancelled would wait for ever.
        """
        pair = next((one for one in self._check_list if one.protocol is protocol and one.remote_addr == addr), None)
        if pair is None and len(self._check_list) >= MAX_PAIRS:
            return
        if pair is not None and pair.state is CandidatePair.State.IN_PROGRESS:
            if pair.task is None or pair.task.done():
                pair.task = None
                pair.state = CandidatePair.State.FAILED
            elif isinstance(protocol, PeerProtocol):
                protocol.ask_again(addr)
        super().check_incoming(message, addr, protocol)


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
    def unreadable(self) -> None: ...


class Ice(Protocol):
    """What DTLS needs of an IceTransport."""

    @property
    def heard(self) -> bool: ...

    def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes: ...


class _IceForDtls:
    """Our ICE transport under the names by which aiortc's DTLS calls its own."""

    role = "controlled"

    def __init__(self, ice: Ice) -> None:
        self.ice = ice
        self.unanswered: bytes | None = None

    async def _send(self, data: bytes) -> None:
        self.unanswered = None if self.ice.heard else data
        self.ice.send(data)

    async def _recv(self) -> bytes:
        return await self.ice.receive()


class _ReadingSession:
    """An SRTP session for what comes in, which tells of packets that its keys do not open; aiortc only logs them.

    A packet that came twice is no such packet (RFC 3711 section 3.3.2).
    """

    def __init__(self, session: Session, unreadable: Callable[[], None]) -> None:
        self._session = session
        self._tell = unreadable

    def unprotect(self, packet: bytes) -> bytes:
        try:
            return bytes(self._session.unprotect(packet))
        except SrtpError as error:
            if "replay" not in str(error):
                self._tell()
            raise

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        return bytes(self._session.unprotect_rtcp(packet))


class DtlsTransport(RTCDtlsTransport):
    """aiortc's DTLS transport whose RTP and RTCP packets go to a `receiver`.

    It bypasses aiortc's router and receivers (they decode), hands out the SRTP keys, sends RTCP at once and refuses
    RTP. As client it sends its first flight again every 0.2 s, while its budget lasts: OpenSSL would wait 1 s.
    """

    def __init__(self, ice: Ice, certificate: GatewayCertificate, *, client: bool) -> None:
        self._ice = _IceForDtls(ice)
        super().__init__(cast(RTCIceTransport, self._ice), [certificate])
        self._set_role("client" if client else "server")
        self.receiver: PacketReceiver | None = None
        self._resend: asyncio.TimerHandle | None = None
        self.srtp_keys: SrtpKeys | None = None

    def know_extensions(self, extensions: tuple[tuple[int, str], ...]) -> None:
        """Header extensions by number, as negotiated."""
        known = [RTCRtpHeaderExtensionParameters(id=number, uri=uri) for number, uri in extensions]
        self._rtp_header_extensions_map.configure(RTCRtpParameters(headerExtensions=known))

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send a compound RTCP packet; dropped while not connected."""
        if self._tx_srtp is not None and self.state == "connected":
            self._ice.ice.send(self._tx_srtp.protect_rtcp(packet))

    async def _send_rtp(self, data: bytes) -> None:
        """aiortc's way out for RTP and RTCP. RTP under these keys is the fan-out's alone (nonces, see srtp.py)."""
        if not is_rtcp(data):
            raise RuntimeError("only the fan-out sends RTP")
        self.send_rtcp(data)

    def _unreadable(self) -> None:
        if self.receiver is not None:
            self.receiver.unreadable()

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
            flight, ice = self._ice.unanswered, self._ice.ice
            if flight is not None and not ice.heard:
                ice.send(flight)
                self._schedule_resend(left - 1)

        if left > 0:
            self._resend = asyncio.get_running_loop().call_later(FIRST_FLIGHT_RESEND_S, resend)

    def _setup_srtp(self) -> None:
        """aiortc keeps the keys to itself; the exporter gives the same bytes again (RFC 5764 section 4.2)."""
        super()._setup_srtp()
        if self._rx_srtp is not None:
            self._rx_srtp = _ReadingSession(self._rx_srtp, self._unreadable)  # type: ignore[assignment]  # its two methods
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
