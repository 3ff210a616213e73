"""The worker's end of the link: listens, lets in who knows the secret, and bounds who has not shown it yet."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from genlock_core.claims.pulse import Pulse
from genlock_core.clock import Clock
from genlock_core.link.closure import LinkDown
from genlock_core.link.connection import FAREWELL_S, READ_BYTES, LinkConnection, Meter
from genlock_core.link.doorstep import Caller, Doorstep
from genlock_core.link.events import LinkIdentity, MediaDropped
from genlock_core.link.liveness import LinkTimings
from genlock_core.link.outbox import OutboxLimits
from genlock_core.link.protocol import LinkProtocol
from genlock_core.link.unproven import UnprovenPlaces
from genlock_core.process.address import Address
from genlock_core.process.tasks import OwnedTasks, end_tasks

logger = logging.getLogger(__name__)

MAX_UNPROVEN = 64
"""Connections whose handshake is not done, at a time; a further one takes the place of one of them."""
MAX_UNPROVEN_OF_ADDRESS = 16
MAX_PROVEN = 512
"""Proven connections at a time: one per gateway process."""
BACKLOG = 1_024
"""Connections that wait to be accepted."""
LOG_EVERY_S = 1.0
"""Whoever is turned away is logged, but not more often than this: strangers come as often as they like."""

OnConnection = Callable[[LinkConnection], Awaitable[None]]


class LinkServer:
    """Made by `serve`. Serving -> closed (`close`); each connection has a task that ends with it."""

    def __init__(
        self,
        on_connection: OnConnection,
        *,
        listening: socket.socket,
        clock: Clock,
        make_protocol: Callable[[Callable[[MediaDropped], None]], LinkProtocol],
        handshake_s: float,
        meter: Meter | None = None,
    ) -> None:
        host, port = listening.getsockname()[:2]
        self.address = str(Address(host, port))
        """`host:port` where it listens."""
        self._on_connection = on_connection
        self._clock = clock
        self._make_protocol = make_protocol
        self._meter = meter
        self._connections: set[LinkConnection] = set()  # proven or not
        self._logged_s = float("-inf")
        self._not_logged = 0
        self._doorstep = Doorstep(
            listening,
            places=UnprovenPlaces(
                places=MAX_UNPROVEN, per_address=MAX_UNPROVEN_OF_ADDRESS, greeted=lambda caller: caller.greeted
            ),
            handshake_s=handshake_s,
            judge=lambda: make_protocol(lambda _: None),
            greeted=self._let_in,
            refused=self._log_refused,
        )
        self._tasks = OwnedTasks()
        self.accepting = self._tasks.start(self._doorstep.run(), name="accepts links")
        """Done once nobody is let in any more: it is closed, or has failed."""

    @property
    def connections(self) -> frozenset[LinkConnection]:
        """The proven connections."""
        return frozenset(connection for connection in self._connections if connection.is_proven)

    @property
    def strangers(self) -> int:
        """Connections that have not said HELLO with a key of the installation."""
        return len(self._doorstep)

    async def stop_listening(self) -> None:
        """Whoever comes from now on is refused; links that are up go on."""
        await end_tasks([self.accepting])
        self._doorstep.close()

    async def close(self, reason: str = "") -> None:
        """Listen no more, say goodbye to every gateway, and wait until all are gone.

        What `on_connection` does is cancelled if it goes on although its link is down.
        """
        await self.stop_listening()
        await asyncio.gather(*(connection.close(reason) for connection in self._connections))
        if not len(self._tasks):
            return
        await asyncio.wait(list(self._tasks), timeout=FAREWELL_S)
        await self._tasks.end()

    def _let_in(self, caller: Caller) -> None:
        task = self._tasks.start(self._attend(caller), name="serves a link connection")

        def cut() -> None:
            task.cancel()
            caller.socket.close()  # it may not have begun, and then nobody else does

        caller.cut = cut

    async def _attend(self, caller: Caller) -> None:
        """One connection, from its HELLO on."""
        connection = await self._connection_of(caller)
        if connection is None or not await self._is_proven(connection, caller):
            return

        if len(self.connections) > MAX_PROVEN:
            logger.error("more than %d gateways have linked; one was sent away", MAX_PROVEN)
            self._connections.discard(connection)
            await connection.close("too many gateways")
            return
        try:
            await self._on_connection(connection)
        except Exception:
            logger.exception("serving a link failed", extra={"peer": str(connection.peer)})
        finally:
            self._connections.discard(connection)
            await connection.close("the worker ended this link")

    async def _connection_of(self, caller: Caller) -> LinkConnection | None:
        """Its link, which begins with what it has said; None if it has gone meanwhile."""
        try:
            reader, writer = await asyncio.open_connection(sock=caller.socket, limit=READ_BYTES)
            connection = self._link_of(caller, reader, writer)
        except BaseException as error:
            caller.socket.close()
            self._doorstep.left(caller)
            if isinstance(error, OSError):
                return None
            raise
        caller.said.clear()
        caller.cut = connection.cut
        self._connections.add(connection)
        return connection

    def _link_of(self, caller: Caller, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> LinkConnection:
        """Raises OSError if it has gone."""
        try:
            return LinkConnection(
                reader,
                writer,
                address=str(caller.address),
                clock=self._clock,
                make_protocol=self._make_protocol,
                meter=self._meter,
                said=bytes(caller.said),
            )
        except OSError:
            writer.transport.abort()
            raise

    async def _is_proven(self, connection: LinkConnection, caller: Caller) -> bool:
        """Whether it shows the secret in time. Whoever does takes no place from those who do not."""
        try:
            await connection.connected()
        except LinkDown as down:
            self._log_refused(down)
            self._connections.discard(connection)
            return False
        finally:
            if connection.is_proven:
                self._doorstep.proved(caller)
            else:
                self._doorstep.left(caller)
        return True

    def _log_refused(self, down: LinkDown) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._logged_s < LOG_EVERY_S:
            self._not_logged += 1
            return
        logger.warning(
            "link refused",
            extra={"address": down.address, "cause": down.cause, "detail": down.detail, "others": self._not_logged},
        )
        self._logged_s = now_s
        self._not_logged = 0


async def serve(
    host: str,
    port: int,
    on_connection: OnConnection,
    *,
    identity: LinkIdentity,
    secrets: Sequence[bytes],
    clock: Clock,
    pulse: Callable[[], Pulse],
    timings: LinkTimings | None = None,
    limits: OutboxLimits | None = None,
    meter: Meter | None = None,
) -> LinkServer:
    """Listen for gateways; port 0 takes a free one. `on_connection` runs once per proven gateway, and its link closes
    when it returns. `pulse` is what heartbeats say of this worker."""

    def make_protocol(on_drop: Callable[[MediaDropped], None]) -> LinkProtocol:
        return LinkProtocol(
            identity, secrets, clock=clock, on_drop=on_drop, pulse=pulse, timings=timings, limits=limits
        )

    return LinkServer(
        on_connection,
        listening=listen(host, port),
        clock=clock,
        make_protocol=make_protocol,
        handshake_s=(timings or LinkTimings()).handshake_s,
        meter=meter,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there: `::` takes both kinds of addresses, a name the first that it has. Raises OSError."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
