"""The one UDP socket of a gateway process: every peer's packets come and go through it.

One port is what can be opened in a firewall, mapped by a node and handed to a pod. The rules of who gets what are in
demultiplexer.py; this is the socket, and the kernel's segmentation of equal packets (UDP_SEGMENT, Linux 4.18).
"""

import asyncio
import errno
import ipaddress
import logging
import socket
import sys
from collections.abc import Sequence

from genlock_gateway.rtc.transport.demultiplexer import Address, Demultiplexer

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
    def segmentation(self) -> bool:
        """Whether the kernel cuts runs of packets; turned off at its first refusal."""
        return self._segmentation

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

    def send(self, data: bytes, addr: Address) -> None:
        """Send one datagram; one that the kernel does not take now is lost, as UDP packets are."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(data, addr)
        except OSError:
            self.unsent += 1

    def send_run(self, packets: Sequence[bytes], addr: Address) -> None:
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
        for packet in packets:
            self.send(packet, addr)

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("the UDP port is not open")
        return self._socket

    def _readable(self) -> None:
        for _ in range(_READS_PER_WAKEUP):
            if self._socket is None:
                return
            try:
                data, addr = self._socket.recvfrom(_READ_BYTES)
            except OSError:
                return
            self.demultiplexer.datagram(data, (addr[0], addr[1]))
