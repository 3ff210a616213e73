"""The one UDP port of a gateway process: every peer's packets come and go through it.

One port is what can be opened in a firewall, mapped by a node and handed to a pod. `Demultiplexer` holds the rules of
who gets what, and no socket. `UdpPort` is the socket, with the kernel's segmentation of equal packets (UDP_SEGMENT,
Linux 4.18).

An address is bound to a peer only by a STUN request whose integrity was checked with that peer's password. So a
stranger can neither take a peer's place nor make any table grow. What cannot be placed is dropped without a reply.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Protocol

from aioice import stun

logger = logging.getLogger(__name__)

SocketAddress = tuple[str, int]

MAX_DATAGRAM_BYTES = 1500
"""Bigger ones are nobody's: WebRTC keeps below the path MTU, and libsrtp refuses them."""
MAX_ADDRESSES_PER_PEER = 32
MAX_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of the kernel."""
MAX_SEND_BYTES = 65_000
_SOL_UDP = 17
_UDP_SEGMENT = 103
"""Not in the socket module of Python 3.11 (linux/udp.h)."""
_NO_SEGMENTATION = {errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
_READS_PER_WAKEUP = 64
_READ_BYTES = 2048
_BUFFER_BYTES = 4 * 1024 * 1024


class Endpoint(Protocol):
    """The gateway's end of one peer's transport."""

    @property
    def ice_ufrag(self) -> str: ...

    @property
    def ice_password(self) -> str: ...

    def stun_received(self, message: stun.Message, addr: SocketAddress) -> None:
        """A checked request, or the response to a request of this endpoint."""
        ...

    def data_received(self, data: bytes) -> None:
        """DTLS, SRTP or SRTCP from a bound address."""
        ...


class Demultiplexer:
    """Routes by remote address (RFC 5764 section 5.1.2), by USERNAME and by STUN transaction."""

    def __init__(self) -> None:
        self._by_ufrag: dict[str, Endpoint] = {}
        self._by_address: dict[SocketAddress, Endpoint] = {}
        self._addresses: dict[str, set[SocketAddress]] = {}
        self._by_transaction: dict[bytes, Endpoint] = {}
        self.dropped = 0

    def register(self, endpoint: Endpoint) -> None:
        """Make an endpoint known by its user name fragment; ValueError if that is taken."""
        if endpoint.ice_ufrag in self._by_ufrag:
            raise ValueError("two peers with the same ICE user name fragment")
        self._by_ufrag[endpoint.ice_ufrag] = endpoint
        self._addresses[endpoint.ice_ufrag] = set()

    def unregister(self, endpoint: Endpoint) -> None:
        """Forget an endpoint with all that is bound to it; does nothing if it is not known."""
        if self._by_ufrag.get(endpoint.ice_ufrag) is not endpoint:
            return
        del self._by_ufrag[endpoint.ice_ufrag]
        for addr in self._addresses.pop(endpoint.ice_ufrag):
            del self._by_address[addr]
        for transaction in [key for key, value in self._by_transaction.items() if value is endpoint]:
            del self._by_transaction[transaction]

    def expect(self, transaction_id: bytes, endpoint: Endpoint) -> None:
        """A response with this id, from wherever, is the endpoint's (it checks integrity and source itself)."""
        self._by_transaction[transaction_id] = endpoint

    def forget(self, transaction_id: bytes) -> None:
        """No response with this id is waited for any more."""
        self._by_transaction.pop(transaction_id, None)

    def datagram(self, data: bytes, addr: SocketAddress) -> None:
        """Hand a datagram to its endpoint, or drop it."""
        if not 0 < len(data) <= MAX_DATAGRAM_BYTES:
            self.dropped += 1
        elif data[0] < 4:
            self._stun(data, addr)
        elif (endpoint := self._by_address.get(addr)) is not None:
            endpoint.data_received(data)
        else:
            self.dropped += 1

    def _stun(self, data: bytes, addr: SocketAddress) -> None:
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            self.dropped += 1
            return
        endpoint = (
            self._answered(message) if message.message_class != stun.Class.REQUEST else self._asked(message, addr)
        )
        if endpoint is None:
            self.dropped += 1
        else:
            endpoint.stun_received(message, addr)

    def _answered(self, message: stun.Message) -> Endpoint | None:
        if message.message_class not in (stun.Class.RESPONSE, stun.Class.ERROR):
            return None
        return self._by_transaction.get(message.transaction_id)

    def _asked(self, message: stun.Message, addr: SocketAddress) -> Endpoint | None:
        """The endpoint of a binding request that carries its password's proof; binds the address to it."""
        attributes = message.attributes
        if message.message_method != stun.Method.BINDING or not {"USERNAME", "PRIORITY"} <= attributes.keys():
            return None
        ufrag = attributes["USERNAME"].partition(":")[0]
        endpoint = self._by_ufrag.get(ufrag)
        if endpoint is None or not message.check_message_integrity(endpoint.ice_password.encode()):
            return None
        return endpoint if self._bind(ufrag, endpoint, addr) else None

    def _bind(self, ufrag: str, endpoint: Endpoint, addr: SocketAddress) -> bool:
        before = self._by_address.get(addr)
        if before is endpoint:
            return True
        if len(self._addresses[ufrag]) >= MAX_ADDRESSES_PER_PEER:
            return False
        # The client that was there before has gone: this one has proved that it is there now.
        if before is not None:
            self._addresses[before.ice_ufrag].discard(addr)
        self._by_address[addr] = endpoint
        self._addresses[ufrag].add(addr)
        return True


class UdpPort:
    """Bound by `open`, gone with `close`. `port` 0 takes a free one.

    `advertised` are the IP addresses that go into answers; without them the bound address does, which then has to be
    one that clients can reach. Names and the wildcard are refused with ValueError: no interface is searched, no name
    looked up, no server asked.
    """

    def __init__(self, *, host: str, port: int, advertised: Sequence[str] = (), segmentation: bool = True) -> None:
        self._bind_address = ipaddress.ip_address(host)
        addresses = [ipaddress.ip_address(item) for item in advertised] or [self._bind_address]
        for address in addresses:
            if address.is_unspecified:
                raise ValueError(f"{address} cannot be advertised to clients: configure the addresses they reach")
            if address.version != self._bind_address.version:
                raise ValueError(f"{address} cannot be advertised by a socket bound to {self._bind_address}")
        self.advertised = tuple(str(address) for address in addresses)
        self.demultiplexer = Demultiplexer()
        self.unsent = 0
        self._requested_port = port
        self._segmentation = segmentation
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """The bound port; RuntimeError while closed."""
        number: int = self._opened().getsockname()[1]
        return number

    @property
    def ip_version(self) -> int:
        return self._bind_address.version

    def open(self) -> None:
        """Bind and read from the running loop; OSError if the port is taken."""
        family = socket.AF_INET if self._bind_address.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.settimeout(0.0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            sock.bind((str(self._bind_address), self._requested_port))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    def close(self) -> None:
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._socket = None
        self._loop = None

    def send(self, data: bytes, addr: SocketAddress) -> None:
        """Send one datagram; one that the kernel does not take now is lost, as UDP packets are."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(data, addr)
        except OSError:
            self.unsent += 1

    def send_run(self, packets: Sequence[bytes], addr: SocketAddress) -> None:
        """Send packets that are equally long but for a shorter last one, in one system call where the kernel can."""
        if len(packets) > 1 and self._segmentation and self._socket is not None:
            size = len(packets[0]).to_bytes(2, sys.byteorder)
            try:
                self._socket.sendmsg(packets, [(_SOL_UDP, _UDP_SEGMENT, size)], 0, addr)
            except BlockingIOError:
                self.unsent += len(packets)
                return
            except OSError as error:
                if error.errno in _NO_SEGMENTATION:
                    self._segmentation = False
                    logger.warning("the kernel does not segment UDP sends (%s); sending packets one by one", error)
            else:
                return

        # One packet, or a kernel that does not segment.
        for packet in packets:
            self.send(packet, addr)

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("the UDP port is not open")
        return self._socket

    def _readable(self) -> None:
        # Bounded, so that a flood of packets leaves the event loop to others.
        for _ in range(_READS_PER_WAKEUP):
            if self._socket is None:
                return
            try:
                data, addr = self._socket.recvfrom(_READ_BYTES)
            except OSError:
                return
            self.demultiplexer.datagram(data, (addr[0], addr[1]))
