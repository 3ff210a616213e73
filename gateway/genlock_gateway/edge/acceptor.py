"""Takes new connections from a listening socket: those that the watch lets in, while there are descriptors."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from genlock_core.clock import Clock
from genlock_core.process.tasks import OwnedTasks
from genlock_gateway.edge.connections import Connection
from genlock_gateway.edge.watch import Watch, shut

logger = logging.getLogger(__name__)

AT_ONCE: Final = 64
"""So many are accepted before anything else has its turn."""
PAUSE_S: Final = 0.5
"""Until the next try where nobody could be asked to go."""
CLOSING_TAKES_S: Final = 0.01
TELL_EVERY_S: Final = 60.0
TLS_GOODBYE_S: Final = 1.0

_NOTHING_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """One listening socket, from `run` until that is cancelled."""

    def __init__(
        self,
        listening: socket.socket,
        *,
        watch: Watch,
        clock: Clock,
        protocol: Callable[[Connection], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._socket = listening
        self._watch = watch
        self._clock = clock
        self._protocol = protocol
        self._context = context
        self._opening = OwnedTasks()
        self._opened: set[socket.socket] = set()
        self._told_s: float | None = None

    async def run(self) -> None:
        """Accept until it is cancelled; what is just being opened then ends."""
        self._socket.settimeout(0)  # asyncio asks for it
        try:
            while True:
                for _ in range(AT_ONCE):
                    await self._accept()
                await asyncio.sleep(0)
        finally:
            for accepted in self._opened:
                shut(accepted)
            await asyncio.gather(*self._opening, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted, address = await loop.sock_accept(self._socket)
        except OSError as error:
            # Any other error is that of the one connection that would have come.
            if error.errno in _NOTHING_LEFT:
                await self._without_descriptors(error)
            return

        connection = self._watch.admit(accepted, str(address[0]))
        if connection is None:
            accepted.close()
            return
        self._never_wait_for_a_dead_peer(accepted)
        # asyncio does so where the listening socket names TCP as its protocol, and `socket.create_server`'s does not.
        # Without it the body of an answer waits 40 ms, until the client acknowledges the head (RFC 9293 section 3.7.4).
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened.add(accepted)
        self._opening.start(self._open(accepted, connection), name="http connection")

    async def _open(self, accepted: socket.socket, connection: Connection) -> None:
        limits = (
            {}
            if self._context is None
            else {
                "ssl_handshake_timeout": self._watch.bounds.request_s,
                "ssl_shutdown_timeout": TLS_GOODBYE_S,
            }
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(connection), accepted, ssl=self._context, **limits
            )
        except OSError:
            # It went before it was there, or it does not speak TLS; the transport has closed the socket.
            self._watch.left(connection)
        finally:
            self._opened.discard(accepted)

    async def _without_descriptors(self, error: OSError) -> None:
        """Say so, though not each time; make room, or wait for others to. Who wants to connect waits meanwhile."""
        now_s = self._clock.monotonic()
        if self._told_s is None or now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            logger.error("no new connections for a moment: %s; %d are open", error.strerror, len(self._watch))
        await asyncio.sleep(CLOSING_TAKES_S if self._watch.make_room() else PAUSE_S)

    def _never_wait_for_a_dead_peer(self, accepted: socket.socket) -> None:
        """What is sent is acknowledged in time, or the system ends the connection (RFC 5482)."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            accepted.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self._watch.bounds.stalled_s * 1_000)
            )
