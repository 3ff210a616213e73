"""Links over real sockets for tests: a worker that serves, gateways that connect, strangers that say nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from genlock_core.claims.pulse import Pulse
from genlock_core.clock import SystemClock
from genlock_core.link.client import connect
from genlock_core.link.connection import LinkConnection
from genlock_core.link.events import CodecsWanted, Event, LinkIdentity, MediaReceived, OpenRequested
from genlock_core.link.liveness import LinkTimings
from genlock_core.link.messages import LinkRole
from genlock_core.link.server import LinkServer, serve

GATEWAY = LinkIdentity(LinkRole.GATEWAY, "g0", "g0-a")
WORKER = LinkIdentity(LinkRole.WORKER, "w0", "w0-a")
SECRETS = (b"k" * 32,)
QUICK = LinkTimings(heartbeat_s=0.02, silence_s=0.1, give_up_s=0.3, handshake_s=0.3)

Serve = Callable[[LinkConnection], Awaitable[None]]


class Engine:
    """A counter that moves each time it is asked, until it is stuck."""

    def __init__(self) -> None:
        self.count = 0
        self.stuck = False

    def __call__(self) -> Pulse:
        self.count += not self.stuck
        return Pulse(self.count)


@asynccontextmanager
async def worker(
    on_connection: Serve, *, engine: Engine | None = None, timings: LinkTimings | None = None
) -> AsyncIterator[LinkServer]:
    server = await serve(
        "127.0.0.1",
        0,
        on_connection,
        identity=WORKER,
        secrets=SECRETS,
        clock=SystemClock(),
        pulse=engine or Engine(),
        timings=timings,
    )
    try:
        yield server
    finally:
        await server.close("the test is over")


async def link(server: LinkServer, *, timings: LinkTimings | None = None) -> LinkConnection:
    return await connect(
        server.address, identity=GATEWAY, secrets=SECRETS, clock=SystemClock(), expect=WORKER, timings=timings
    )


async def echo(connection: LinkConnection) -> None:
    """A worker that opens what it is asked for, and sends back what it gets."""
    async for event in connection.events():
        match event:
            case OpenRequested(channel, request):
                connection.accept(channel, request.epoch)
            case MediaReceived(channel, unit=unit, run=run):
                connection.send_media(channel, unit, run=run)
            case CodecsWanted(channel, codecs=codecs):
                for codec in codecs:
                    connection.request_key_frame(channel, codec)


async def until(connection: LinkConnection, kind: type[Event]) -> Event:
    async for event in connection.events():
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the link ended before {kind.__name__}: {connection.closed.result()}")


async def connected(server: LinkServer, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connections that say nothing."""
    host, _, port = server.address.rpartition(":")
    return [await asyncio.open_connection(host, int(port)) for _ in range(count)]
