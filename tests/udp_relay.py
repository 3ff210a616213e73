"""A network between clients and a gateway, in user space: it loses, delays, shapes, goes away, and comes back another.

Clients send to `address`. The relay sends on to the gateway from a port of its own for each client, as a home router
does; `switch` gives it new ones. It is told nothing of what passes, and counts it.
"""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["up", "down"]
"""From a client to the gateway, and back."""
Kind = Literal["check", "response", "dtls", "media"]
"""What passes: a STUN request, its response, DTLS, SRTP or SRTCP (RFC 7983)."""
SocketAddress = tuple[str, int]


def kind_of(datagram: bytes) -> Kind:
    if datagram[0] < 4:
        # The class of a STUN message is bits 4 and 8 of its type (RFC 8489 section 5).
        return "check" if not int.from_bytes(datagram[:2], "big") & 0x0110 else "response"
    return "dtls" if datagram[0] < 64 else "media"


@dataclass(slots=True)
class Wire:
    """One direction: decides when a datagram arrives, if it does. It is told the time."""

    loss: float = 0.0
    """Share of datagrams that are lost."""
    delay_s: float = 0.0
    rate_bps: float | None = None
    """None: as fast as they come."""
    queue_s: float = 0.5
    """What would wait longer for the rate than this is lost."""
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    _free_s: float = 0.0

    def arrives_s(self, size: int, now_s: float) -> float | None:
        """When a datagram of `size` bytes that is sent now comes out; None if it does not."""
        if self.loss and self.chance.random() < self.loss:
            return None
        if self.rate_bps is None:
            return now_s + self.delay_s
        begins_s = max(now_s, self._free_s)
        if begins_s - now_s > self.queue_s:
            return None
        self._free_s = begins_s + size * 8 / self.rate_bps
        return self._free_s + self.delay_s


class UdpRelay:
    """Between `start` and `stop`. `blocked` is a network that is away: nothing passes in either direction."""

    def __init__(self, *, up: Wire | None = None, down: Wire | None = None) -> None:
        self.wires: dict[Way, Wire] = {"up": up or Wire(), "down": down or Wire()}
        self.blocked = False
        self.passed: Counter[tuple[Way, Kind]] = Counter()
        """What arrived since it was cleared last."""
        self._gateway: SocketAddress = ("", 0)
        self._inside: _Port | None = None
        self._outside: dict[SocketAddress, _Port] = {}

    def start(self, gateway: SocketAddress) -> None:
        """Carry what clients send to `address` to that address of a gateway."""
        self._gateway = gateway
        self._inside = _Port(self._from_client)

    def stop(self) -> None:
        self.switch()
        if self._inside is not None:
            self._inside.close()
            self._inside = None

    @property
    def address(self) -> SocketAddress:
        """Where clients send to."""
        assert self._inside is not None
        return self._inside.address

    def switch(self) -> None:
        """Another network: the gateway hears the clients from new ports, and what it sends to the old ones is lost."""
        for outside in self._outside.values():
            outside.close()
        self._outside.clear()

    def behind(self, answer: str) -> str:
        """The answer of a gateway, or its fragment, with this relay as its only address."""
        host, port = self.address
        only = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
        lines = [only if line.startswith("a=candidate:1 ") else line for line in answer.split("\r\n")]
        return "\r\n".join(line for line in lines if line == only or not line.startswith("a=candidate:"))

    def _from_client(self, datagram: bytes, client: SocketAddress) -> None:
        outside = self._outside.get(client)
        if outside is None:
            outside = _Port(lambda data, _: self._pass("down", data, by=self._inside, to=client))
            self._outside[client] = outside
        self._pass("up", datagram, by=outside, to=self._gateway)

    def _pass(self, way: Way, datagram: bytes, *, by: "_Port | None", to: SocketAddress) -> None:
        loop = asyncio.get_running_loop()
        arrives_s = self.wires[way].arrives_s(len(datagram), loop.time())
        if by is None or arrives_s is None:
            return

        def arrive() -> None:
            if not self.blocked:
                self.passed[(way, kind_of(datagram))] += 1
                by.send(datagram, to)

        if arrives_s <= loop.time():
            arrive()
        else:
            loop.call_at(arrives_s, arrive)


class _Port:
    """A UDP port on loopback that hands on what comes."""

    def __init__(self, received: Callable[[bytes, SocketAddress], None]) -> None:
        self._received = received
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.0)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._readable)

    @property
    def address(self) -> SocketAddress:
        host, port = self._socket.getsockname()
        return host, port

    def send(self, datagram: bytes, to: SocketAddress) -> None:
        with contextlib.suppress(OSError):  # Closed meanwhile, or the other end has gone: lost, as on any network.
            self._socket.sendto(datagram, to)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                datagram, sender = self._socket.recvfrom(4096)
                if datagram:
                    self._received(datagram, sender)
