"""HTTP as bytes: what no client library would send."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from starlette.types import ASGIApp

from genlock_core.clock import SystemClock
from genlock_core.process.address import Address
from genlock_gateway.edge.connections import Bounds, Why
from genlock_gateway.edge.forwarded import NamedProxies
from genlock_gateway.edge.watch import Watch
from genlock_gateway.web.serving import HttpServers, Port, listen

PATIENCE_S = 20.0
"""How long a test waits for something to become true before it fails."""

LONG_S = 600.0
ROOMY = Bounds(
    connections=1_000,
    per_address=1_000,
    new_per_address=1_000,
    grace_s=0.0,
    request_s=LONG_S,
    idle_s=LONG_S,
    stalled_s=LONG_S,
)
"""Nothing of it comes true in a test that does not change it."""


def watch(bounds: Bounds = ROOMY, *, ended: list[Why] | None = None) -> Watch:
    """It looks often, and notes what it ends."""
    told = [] if ended is None else ended
    return Watch(bounds, clock=SystemClock(), proxies=NamedProxies(), ended=told.append, look_every_s=0.02)


@asynccontextmanager
async def served(app: ASGIApp, over: Watch | None = None) -> AsyncIterator[Address]:
    """The application on a port of its own, as a gateway serves it."""
    with closing(listen(Address("127.0.0.1", 0))) as http:
        port = Port(app=app, sockets=[http], watch=watch() if over is None else over)
        servers = HttpServers([port], clock=SystemClock())
        running = asyncio.create_task(servers.run())
        try:
            yield Address(*http.getsockname())
        finally:
            servers.end()
            await running


async def ask(address: Address, *lines: str, body: bytes = b"") -> tuple[int, bytes]:
    """The status and the body of the answer to exactly this head; the connection is closed by the other side."""
    head = "".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode("latin-1")
    reader, writer = await asyncio.open_connection(address.host, address.port, family=socket.AF_INET)
    writer.write(head + body)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    said, _, content = answer.partition(b"\r\n\r\n")
    return int(said.split(b" ", 2)[1]), content
