"""The one UDP port of a gateway process: every peer's packets come and go through it.

One port is what can be opened in a firewall, mapped by a node and handed to a pod. `UdpPort` has a socket for each
address that it listens on, all with the same number. It sends with the kernel's segmentation of equal packets
(UDP_SEGMENT, Linux 4.18). Whose packet it is says the `Demultiplexer`.
"""

import asyncio
import errno
import functools
import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from genlock_gateway.rtc.transport.demultiplexer import Demultiplexer, Route
from genlock_gateway.rtc.transport.own_addresses import bind_addresses, own_addresses

logger = logging.getLogger(__name__)

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
_PORT_ATTEMPTS = 20
"""A number that is free on one address may be taken on the next."""


class HostAddress(NamedTuple):
    """An address that clients are told, and the number of the socket that gets what they send there."""

    ip: str
    local: int


class _Socket:
    """One bound socket, and whether the kernel segments what it sends."""

    def __init__(self, inner: socket.socket, *, segmentation: bool) -> None:
        self.inner = inner
        self.segmentation = segmentation


class UdpPort:
    """Bound by `open`, gone with `close`. `port` 0 takes a free one.

    `hosts` are IP addresses, or the wildcard for all that `own` finds on this machine (`bind_addresses`). Each gets a
    socket, and clients are told of it. With `advertised` there is one host, which may be the wildcard, and one socket,
    and clients are told these addresses instead. ValueError for anything else: no name is looked up, no server asked.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        port: int,
        advertised: Sequence[str] = (),
        segmentation: bool = True,
        own: Callable[..., tuple[str, ...]] = own_addresses,
    ) -> None:
        self._hosts = tuple(dict.fromkeys(ipaddress.ip_address(host) for host in hosts))
        self._advertised = tuple(ipaddress.ip_address(item) for item in advertised)
        if not self._hosts:
            raise ValueError("the UDP port needs an address")
        if self._advertised and len(self._hosts) > 1:
            raise ValueError("other addresses are advertised for one address, not for several")
        for address in self._advertised:
            if address.is_unspecified:
                raise ValueError(f"{address} cannot be advertised to clients: configure the addresses they reach")
            if address.version != self._hosts[0].version:
                raise ValueError(f"{address} cannot be advertised by a socket bound to {self._hosts[0]}")
        self.demultiplexer = Demultiplexer()
        self.unsent = 0
        self.addresses: tuple[HostAddress, ...] = ()
        """What clients are told, best first; empty while closed."""
        self._own = own
        self._requested_port = port
        self._segmentation = segmentation
        self._sockets: list[_Socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """The bound port; RuntimeError while closed."""
        if not self._sockets:
            raise RuntimeError("the UDP port is not open")
        number: int = self._sockets[0].inner.getsockname()[1]
        return number

    def open(self) -> None:
        """Bind and read from the running loop; OSError that names the address if the port is taken."""
        bound = _bind_all(self._wanted(), self._requested_port)
        self._loop = asyncio.get_running_loop()
        self._sockets = [_Socket(inner, segmentation=self._segmentation) for inner in bound]
        self.addresses = (
            tuple(HostAddress(str(address), 0) for address in self._advertised)
            if self._advertised
            else tuple(HostAddress(inner.getsockname()[0], number) for number, inner in enumerate(bound))
        )
        for number, item in enumerate(self._sockets):
            self._loop.add_reader(item.inner, functools.partial(self._readable, number, item.inner))

    def close(self) -> None:
        for item in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(item.inner)
            item.inner.close()
        self._sockets = []
        self.addresses = ()
        self._loop = None

    def send(self, data: bytes, route: Route) -> None:
        """Send one datagram; one that the kernel does not take now is lost, as UDP packets are."""
        if self._sockets:
            self._send(self._sockets[route.local], data, route)

    def send_run(self, packets: Sequence[bytes], route: Route) -> None:
        """Send packets that are equally long but for a shorter last one, in one system call where the kernel can."""
        if not self._sockets:
            return
        item = self._sockets[route.local]
        refused: OSError | None = None
        if len(packets) > 1 and item.segmentation:
            size = len(packets[0]).to_bytes(2, sys.byteorder)
            try:
                item.inner.sendmsg(packets, [(_SOL_UDP, _UDP_SEGMENT, size)], 0, route.remote)
            except BlockingIOError:
                self.unsent += len(packets)
                return
            except OSError as error:
                refused = error
            else:
                return

        # One packet, or a kernel that does not segment.
        sent = [self._send(item, packet, route) for packet in packets]
        # An address that this machine has lost is refused with the same number; that says nothing of segmentation.
        if refused is not None and refused.errno in _NO_SEGMENTATION and all(sent):
            item.segmentation = False
            logger.warning("the kernel does not segment UDP sends (%s); sending packets one by one", refused)

    def _send(self, item: _Socket, data: bytes, route: Route) -> bool:
        try:
            item.inner.sendto(data, route.remote)
        except OSError:
            self.unsent += 1
            return False
        return True

    def _wanted(self) -> dict[str, bool]:
        """What sockets are bound to; True where an address may be gone (`bind_addresses`)."""
        hosts = [str(host) for host in self._hosts]
        return dict.fromkeys(hosts, False) if self._advertised else bind_addresses(hosts, own=self._own)

    def _readable(self, number: int, inner: socket.socket) -> None:
        # Bounded, so that a flood of packets leaves the event loop to others.
        for _ in range(_READS_PER_WAKEUP):
            if not self._sockets:
                return
            try:
                data, addr = inner.recvfrom(_READ_BYTES)
            except OSError:
                return
            self.demultiplexer.datagram(data, Route(number, (addr[0], addr[1])))


def _bind_all(hosts: Mapping[str, bool], port: int) -> list[socket.socket]:
    """A socket on each address, all with one port number; none is left open by an error. Raises OSError.

    True: do without an address that is not there (any more, or not yet: IPv6 first looks for a duplicate).
    """
    for attempt in range(_PORT_ATTEMPTS):
        bound: list[socket.socket] = []
        try:
            for host, may_be_gone in hosts.items():
                number = bound[0].getsockname()[1] if bound else port
                try:
                    bound.append(_bind(host, number))
                except OSError as error:
                    if not (may_be_gone and error.errno == errno.EADDRNOTAVAIL):
                        raise
                    logger.warning("%s", error)
        except OSError as error:
            for sock in bound:
                sock.close()
            if port or error.errno != errno.EADDRINUSE or attempt == _PORT_ATTEMPTS - 1:
                raise
        else:
            return bound
    raise AssertionError("unreachable: the last attempt returns or raises")


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0.0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on UDP port {port} of {host}: {error.strerror}") from error
    return sock
