"""The watch over a port's connections: it does what `edge.connections` decides, and ends those that keep it waiting."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection

from genlock_core.clock import Clock
from genlock_gateway.edge.connections import Bounds, Connection, ConnectionPhase, Connections, Why
from genlock_gateway.edge.forwarded import NamedProxies

LOOK_EVERY_S: Final = 0.5
VOUCH: Final = "genlock.vouch"
"""What stands in a request's state for `vouch`."""


class Watch:
    """Over the connections of one port, or of several that share their bounds."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        clock: Clock,
        proxies: NamedProxies,
        ended: Callable[[Why], None],
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`ended` is told of each connection that ends here, or that is not let in."""
        self.bounds = bounds
        self._clock = clock
        self._proxies = proxies
        self._ended = ended
        self._look_every_s = look_every_s
        self._connections = Connections(bounds)
        # How each connection is ended: by its socket until it has a protocol, then by that.
        self._endings: dict[Connection, Callable[[Why], None]] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, accepted: socket.socket, peer: str) -> Connection | None:
        """Let a new connection in, also in another one's place; None: there is no room."""
        named = peer in self._proxies
        admitted, ending = self._connections.open(peer, self._clock.monotonic(), named_proxy=named)
        if ending is not None:
            self._end(ending, Why.GAVE_WAY)
        if isinstance(admitted, Why):
            self._ended(admitted)
            return None

        # Whatever reads from it next finds that it has ended, also a handshake of TLS.
        self._endings[admitted] = lambda _: shut(accepted)
        return admitted

    def hand_over(self, connection: Connection, end: Callable[[Why], None]) -> None:
        """From now on `end` ends it."""
        if connection.is_open:
            self._endings[connection] = end
        else:
            end(Why.GAVE_WAY)

    def enter(self, connection: Connection, phase: ConnectionPhase) -> None:
        """It does something else."""
        self._connections.enter(connection, phase, self._clock.monotonic())

    def vouch(self, connection: Connection) -> None:
        """It has shown a valid token."""
        self._connections.vouch(connection)

    def left(self, connection: Connection) -> None:
        """It has ended."""
        self._connections.close(connection)
        self._endings.pop(connection, None)

    def make_room(self) -> bool:
        """End one that is worth little, as its descriptor is needed; whether there was one."""
        connection = self._connections.give_way()
        if connection is not None:
            self._end(connection, Why.GAVE_WAY)
        return connection is not None

    async def run(self) -> None:
        """End what is late, until it is cancelled."""
        while True:
            await asyncio.sleep(self._look_every_s)
            for connection, why in self._connections.late(self._clock.monotonic()):
                # It stays until it is closed: who does not let it be closed is found again, and cut off.
                self._ended(why)
                self._endings[connection](why)

    def _end(self, connection: Connection, why: Why) -> None:
        self._ended(why)
        self._endings.pop(connection)(why)


def shut(one: socket.socket) -> None:
    """End a connection whose socket somebody else holds and closes."""
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


def vouch(request: HTTPConnection) -> None:
    """Who made the request has shown a valid token: its connection gives way to no stranger's."""
    told = request.scope.get("state", {}).get(VOUCH)
    if told is not None:
        told()
