"""The worker's end of the link: listens, lets in who knows the secret, and bounds who has not shown it yet."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from genlock_core.claims.pulse import Pulse
from genlock_core.clock import Clock
from genlock_core.link.closure import LinkDown
from genlock_core.link.connection import FAREWELL_S, READ_BYTES, LinkConnection, Meter
from genlock_core.link.events import LinkIdentity, MediaDropped
from genlock_core.link.liveness import LinkTimings
from genlock_core.link.outbox import OutboxLimits
from genlock_core.link.protocol import LinkProtocol
from genlock_core.link.unproven import UnprovenPlaces
from genlock_core.process.address import Address
from genlock_core.process.address_groups import group_of
from genlock_core.process.tasks import OwnedTasks

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
        clock: Clock,
        make_protocol: Callable[..., LinkProtocol],
        meter: Meter | None = None,
    ) -> None:
        self._on_connection = on_connection
        self._clock = clock
        self._make_protocol = make_protocol
        self._meter = meter
        self._server: asyncio.Server | None = None
        self._tasks = OwnedTasks()
        self._connections: set[LinkConnection] = set()  # proven or not
        self._unproven: UnprovenPlaces[LinkConnection] = UnprovenPlaces(
            places=MAX_UNPROVEN,
            per_address=MAX_UNPROVEN_OF_ADDRESS,
            greeted=lambda connection: connection.greeted,
        )
        self._logged_s = float("-inf")
        self._not_logged = 0

    @property
    def address(self) -> str:
        """`host:port` where it listens. Raises ValueError before it does."""
        if self._server is None:
            raise ValueError("the link server does not listen")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def connections(self) -> frozenset[LinkConnection]:
        """The proven connections."""
        return frozenset(connection for connection in self._connections if connection.is_proven)

    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, host, port, limit=READ_BYTES, backlog=BACKLOG)

    async def close(self, reason: str = "") -> None:
        """Listen no more, say goodbye to every gateway, and wait until all are gone.

        What `on_connection` does is cancelled if it goes on although its link is down.
        """
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(connection.close(reason) for connection in self._connections))
        if not len(self._tasks):
            return
        await asyncio.wait(list(self._tasks), timeout=FAREWELL_S)
        await self._tasks.end()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if peer is None:
            writer.transport.abort()  # it has gone before it was looked at
            return
        connection = LinkConnection(
            reader,
            writer,
            address=str(Address(*peer[:2])),
            clock=self._clock,
            make_protocol=self._make_protocol,
            meter=self._meter,
        )
        self._connections.add(connection)
        self._tasks.start(self._attend(connection), name="serves a link connection")

        outgoing = self._unproven.enter(connection, group_of(peer[0]))
        if outgoing is not None:
            outgoing.cut()

    async def _attend(self, connection: LinkConnection) -> None:
        try:
            await connection.connected()
        except LinkDown as down:
            self._log_refused(down)
            self._connections.discard(connection)
            return
        finally:
            # Whoever is proven takes no place from those who are not.
            if connection.is_proven:
                self._unproven.proved(connection)
            else:
                self._unproven.leave(connection)

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

    server = LinkServer(on_connection, clock=clock, make_protocol=make_protocol, meter=meter)
    await server.listen(host, port)
    return server
