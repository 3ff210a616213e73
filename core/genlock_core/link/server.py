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
from genlock_core.process.tasks import OwnedTasks

logger = logging.getLogger(__name__)

MAX_UNPROVEN = 64
"""Connections whose handshake is not done, at a time; further ones are closed at once."""
MAX_CONNECTIONS = 512
"""Connections at a time, proven or not: one per gateway process."""

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
        self._unproven = 0
        self._connections: set[LinkConnection] = set()  # proven or not

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
        self._server = await asyncio.start_server(self._accept, host, port, limit=READ_BYTES)

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
        if self._unproven >= MAX_UNPROVEN or len(self._tasks) >= MAX_CONNECTIONS:
            logger.warning("too many link connections, one was closed", extra={"unproven": self._unproven})
            writer.transport.abort()
            return
        self._tasks.start(self._attend(reader, writer), name="serves a link connection")

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        connection = LinkConnection(
            reader,
            writer,
            address=f"{host}:{port}",
            clock=self._clock,
            make_protocol=self._make_protocol,
            meter=self._meter,
        )
        self._connections.add(connection)
        self._unproven += 1
        try:
            await connection.connected()
        except LinkDown as down:
            logger.warning("link refused", extra={"address": down.address, "cause": down.cause, "detail": down.detail})
            self._connections.discard(connection)
            return
        finally:
            self._unproven -= 1
        try:
            await self._on_connection(connection)
        except Exception:
            logger.exception("serving a link failed", extra={"peer": str(connection.peer)})
        finally:
            self._connections.discard(connection)
            await connection.close("the worker ended this link")


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
