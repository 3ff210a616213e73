"""`genlock-gateway`: one process, one HTTP port, one UDP port.

SIGTERM drains (clients are asked to reconnect elsewhere, and waited for), SIGINT and a second SIGTERM stop at once.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from redis.exceptions import RedisError

from genlock_core.errors import GenlockError
from genlock_core.process import logs
from genlock_core.process.address import Address
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before, end_tasks, wait_first
from genlock_core.tokens import Keyring
from genlock_gateway.gateway import Gateway, build
from genlock_gateway.settings import GatewaySettings, parse_settings
from genlock_gateway.web.app import create_app

logger = logging.getLogger(__name__)

GRACE_S = 3
CHATTY = ("aioice", "aiortc", "httpx", "httpcore", "uvicorn.error")
"""Loggers of libraries that tell of every packet or request."""
BACKLOG = 1024
"""Connections that wait to be accepted."""


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals: a drain comes before the end of HTTP."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal comes. Exits with 1 and a message if it cannot serve."""
    settings = parse_settings(sys.argv[1:] if arguments is None else arguments, os.environ)
    logs.configure(settings.log, fields={"gateway": settings.name}, quiet=CHATTY)
    try:
        asyncio.run(serve(settings, Keyring.from_environment(os.environ)))
    except (GenlockError, RedisError, OSError, ValueError) as error:
        sys.stderr.write(f"genlock-gateway: {error}\n")
        sys.exit(1)


async def serve(settings: GatewaySettings, keyring: Keyring) -> None:
    """Serve until a signal comes. Raises GenlockError, RedisError, OSError (a port is taken), ValueError."""
    signals = StopSignals.heed(drains=True)
    with _listen(settings.http) as listening:
        gateway = build(settings, keyring)
        gateway.address.port = listening.getsockname()[1]
        server = _http_server(gateway)
        serving: asyncio.Task[None] | None = None
        try:
            if not await done_before(signals.stopping, gateway.start()):
                return
            serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
            sys.stdout.write(f"ready {settings.name} http={gateway.address()} udp={gateway.media.port}\n")
            sys.stdout.flush()
            await wait_first(serving, signals.stopping)
            if signals.stopping.is_set():
                await _drain(gateway, serving, signals)
        finally:
            await gateway.stop()  # before HTTP ends, which waits for its event streams
            if serving is not None:
                server.should_exit = True
                await serving


def _http_server(gateway: Gateway) -> uvicorn.Server:
    config = uvicorn.Config(
        create_app(gateway),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
    )
    return _Server(config)


async def _drain(gateway: Gateway, serving: "asyncio.Task[None]", signals: StopSignals) -> None:
    """Drain, unless or until it has to be quick or HTTP ends."""
    drained = asyncio.create_task(gateway.drain(), name="drain")
    try:
        await wait_first(serving, drained, signals.hurrying)
        if drained.done():
            await drained
    finally:
        await end_tasks([drained])


def _listen(address: Address) -> socket.socket:
    """The HTTP socket; raises OSError that names the address if it is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error


if __name__ == "__main__":
    main()
