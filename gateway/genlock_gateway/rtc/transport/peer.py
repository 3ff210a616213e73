"""One client's transport: ICE, DTLS and the data channel on the shared port; and what both kinds of peers share.

What runs over it, pictures in or pictures out, stands in receive.py and viewer.py. The transport goes through
`new -> connecting -> connected -> closed`. `start` makes it connecting, and the handshakes make it connected. It closes
once and for good: by `close`, by the client's goodbye, by lost consent (RFC 7675, 30 s), or by any fault.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, Protocol

from aiortc import RTCDataChannel, RTCSctpCapabilities
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtp import AnyRtcpPacket, RtpPacket

from genlock_core.bounds import ByteLimit, Holdings
from genlock_core.clock import Clock
from genlock_core.process.tasks import end_tasks
from genlock_gateway.rtc.sdp.answer import DATA_CHANNEL_PORT, LocalTransport, setup_for
from genlock_gateway.rtc.sdp.offer import Offer
from genlock_gateway.rtc.sdp.trickle import Asked, TrickleFragment
from genlock_gateway.rtc.transport.aiortc_private import DtlsTransport, GatewayCertificate
from genlock_gateway.rtc.transport.demultiplexer import Route
from genlock_gateway.rtc.transport.ice import IceTransport
from genlock_gateway.rtc.transport.sctp import SctpTransport
from genlock_gateway.rtc.transport.srtp import SrtpKeys
from genlock_gateway.rtc.transport.udp_port import UdpPort

logger = logging.getLogger(__name__)

CONTROL_CHANNEL = "control"
MAX_INBOUND_CHARS = 64 * 1024
MAX_BUFFERED_BYTES = 256 * 1024
MESSAGES_LIMIT = ByteLimit(
    "messages to a client over its data channel",
    MAX_BUFFERED_BYTES,
    each="peer, publisher or viewer",
    when_full="the message is not sent",
)

PeerState = Literal["new", "connecting", "connected", "closed"]


class PeerListener(Protocol):
    """What the gateway does with a peer. Everything is called on the event loop and must return at once."""

    def connected(self) -> None: ...
    def message(self, text: str) -> None: ...
    def closed(self, reason: str) -> None: ...


class PeerTransport:
    """The gateway's end of one peer connection; see the module for its states."""

    def __init__(
        self,
        offer: Offer,
        *,
        port: UdpPort,
        certificate: GatewayCertificate,
        clock: Clock,
        connect_timeout_s: float,
        holdings: Holdings | None = None,
    ) -> None:
        self.offer = offer
        self._holdings = holdings or Holdings()
        self._port = port
        self._certificate = certificate
        self._owner: Peer | None = None
        self._forget: Callable[[], None] | None = None
        self._connect_timeout_s = connect_timeout_s
        self._state: PeerState = "new"
        self._ice = IceTransport(
            port,
            offer.ice,
            clock=clock,
            on_lost=lambda: self._failed("ICE failed"),
            holdings=self._holdings,
        )
        self._dtls = DtlsTransport(self._ice, certificate, client=setup_for(offer) == "active")
        self._dtls.know_extensions(offer.extensions)
        self._sctp: SctpTransport | None = None
        self._channel: RTCDataChannel | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def state(self) -> PeerState:
        return self._state

    @property
    def route(self) -> Route | None:
        """The way to the client; None before ICE is done and after it ended."""
        return self._ice.route

    @property
    def srtp_keys(self) -> SrtpKeys:
        """Keys for sending RTP; RuntimeError before the transport is connected."""
        if self._dtls.srtp_keys is None:
            raise RuntimeError("the transport is not connected")
        return self._dtls.srtp_keys

    def open(self) -> LocalTransport:
        """Take a place on the shared port and say what the answer must say of it."""
        self._ice.open()
        return self._local()

    def _local(self) -> LocalTransport:
        return LocalTransport(
            ice=self._ice.local,
            fingerprint=self._certificate.sha256,
            setup=setup_for(self.offer),
            addresses=tuple(address.ip for address in self._port.addresses),
            port=self._port.port,
        )

    def start(self, owner: "Peer", *, forget: Callable[[], None]) -> None:
        """Begin to connect for `owner`; returns at once. Failure and timeout close the transport.

        `forget` is called when the transport has closed, before the owner is told.
        """
        if self._state != "new":
            raise RuntimeError(f"a transport starts once; this one is {self._state}")
        self._state = "connecting"
        self._owner = owner
        self._forget = forget
        self._dtls.receiver = owner
        self._dtls.on("statechange", self._dtls_changed)
        self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="rtc-connect")

    async def patch(self, fragment: TrickleFragment, *, of_any: bool) -> LocalTransport | None:
        """Take what a fragment has: an ICE restart, or more addresses of the client, which are not contacted.

        Returns what the client has to know after a restart, None otherwise. `of_any`: it is for whatever generation
        there is (`TrickleFragment.asks`). Raises OfferError, TooManyRestarts, and ConnectionError once closed; all of
        them leave the transport as it is.
        """
        match fragment.asks(newest=self._ice.newest, past=self._ice.past, of_any=of_any):
            case Asked.CANDIDATES | Asked.NOTHING:
                return None
            case Asked.THE_SAME_AGAIN:
                return self._local()
            case Asked.RESTART:
                await self._ice.restart(fragment.credentials)
                return self._local()

    async def answers(self) -> bool:
        """Whether the client answers a consent check of ours now; it gets 0.5 s."""
        return await self._ice.answers()

    def send_rtcp(self, packet: bytes) -> None:
        self._dtls.send_rtcp(packet)

    def send_message(self, text: str) -> bool:
        """Send text over the control channel.

        False, and nothing sent, if there is no open channel or the client is too slow to take more.
        """
        channel = self._channel
        size = len(text.encode())
        if channel is None or channel.readyState != "open":
            return False
        if size > self.offer.max_message_bytes > 0 or channel.bufferedAmount + size > MESSAGES_LIMIT.at_most:
            return False
        channel.send(text)
        return True

    async def close(self, reason: str = "closed by the gateway") -> None:
        """Close and leave nothing behind; returns when that is done, also if somebody else closes already."""
        await asyncio.shield(self._begin_close(reason))

    def _begin_close(self, reason: str) -> "asyncio.Task[None]":
        if self._closing is None:
            self._state = "closed"
            self._closing = asyncio.get_running_loop().create_task(self._close(reason), name="rtc-close")
        return self._closing

    async def _close(self, reason: str) -> None:
        try:
            if self._connecting is not None:
                await end_tasks([self._connecting])
            self._dtls.remove_all_listeners()
            if self._sctp is not None:
                self._sctp.remove_all_listeners()
                await self._sctp.stop()
            await self._dtls.stop()
        finally:
            await self._ice.close()
            if self._owner is not None and self._forget is not None:
                self._forget()
                self._owner.closed(reason)

    def _dtls_changed(self) -> None:
        if self._dtls.state in ("failed", "closed"):
            self._failed(f"DTLS {self._dtls.state}")

    def _failed(self, reason: str) -> None:
        if self._state != "closed":
            self._begin_close(reason)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._handshakes()
        except TimeoutError:
            self._begin_close(f"not connected within {self._connect_timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - the outermost edge of this peer; others go on
            logger.warning("a peer failed while connecting: %s: %s", type(error).__name__, error)
            self._begin_close("failed while connecting")

    async def _handshakes(self) -> None:
        offer = self.offer
        await self._ice.start()

        prints = [RTCDtlsFingerprint(algorithm=item.algorithm, value=item.value) for item in offer.fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=prints))
        if self._dtls.state != "connected":
            raise ConnectionError("DTLS failed")

        self._ice.prove()
        self._state = "connected"
        if self._owner is not None:
            self._owner.connected()
        if offer.has_data_channel:
            await self._open_sctp()

    async def _open_sctp(self) -> None:
        self._sctp = SctpTransport(self._dtls, port=DATA_CHANNEL_PORT, holdings=self._holdings)
        self._sctp.on("datachannel", self._channel_opened)
        limit = min(self.offer.max_message_bytes, 2**31) or 2**31
        await self._sctp.start(RTCSctpCapabilities(maxMessageSize=limit), self.offer.sctp_port)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        if channel.label == CONTROL_CHANNEL and (self._channel is None or self._channel.readyState != "open"):
            self._channel = channel
            channel.on("message", self._message)

    def _message(self, data: Any) -> None:
        if isinstance(data, str) and len(data) <= MAX_INBOUND_CHARS and self._state == "connected" and self._owner:
            self._owner.message(data)


class Peer(ABC):
    """A client with its transport, which carries packets to and from it. `listener` is told what becomes of it."""

    def __init__(self, transport: PeerTransport, listener: PeerListener) -> None:
        self.transport = transport
        self._listener = listener

    @property
    def state(self) -> PeerState:
        return self.transport.state

    def send(self, text: str) -> bool:
        """Send text over the control channel; False if it cannot be sent now (PeerTransport.send_message)."""
        return self.transport.send_message(text)

    async def close(self, reason: str = "closed by the gateway") -> None:
        await self.transport.close(reason)

    # From the transport.

    def connected(self) -> None:
        """The handshakes are done."""
        self._listener.connected()

    def message(self, text: str) -> None:
        """The client sent text over the control channel."""
        self._listener.message(text)

    def closed(self, reason: str) -> None:
        """The transport has ended; comes exactly once, with the reason in words."""
        self._listener.closed(reason)

    @abstractmethod
    def unreadable(self) -> None:
        """An SRTP packet came that the connection's keys do not open."""

    @abstractmethod
    def rtp(self, packet: RtpPacket, arrival_ms: int) -> None: ...

    @abstractmethod
    def rtcp(self, packets: list[AnyRtcpPacket]) -> None: ...
