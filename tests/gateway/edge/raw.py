"""HTTP as bytes: what no client library would send."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from starlette.types import ASGIApp

from genlock_core.process.address import Address
from genlock_gateway.web.serving import HttpServers, listen


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[Address]:
    """The application on a port of its own, as a gateway serves it."""
    with closing(listen(Address("127.0.0.1", 0))) as http:
        servers = HttpServers(app, http=http, https=(), context=None)
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
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    said, _, content = answer.partition(b"\r\n\r\n")
    return int(said.split(b" ", 2)[1]), content
