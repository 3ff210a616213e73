"""`genlock-gateway`: one process, one HTTP port, one UDP port.

SIGTERM drains (clients are asked to reconnect elsewhere, and waited for), SIGINT and a second SIGTERM stop at once.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from redis.exceptions import RedisError

from genlock_core.errors import GenlockError
from genlock_core.process import logs
from genlock_core.process.address import Address
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
    gateway = build(settings, keyring)
    listening = _listen(settings.http)
    gateway.address.port = listening.getsockname()[1]
    stop, drain = asyncio.Event(), asyncio.Event()
    _on_signals(stop=stop, drain=drain)  # at once: the first process of a container ignores what it does not handle
    starting = asyncio.create_task(gateway.start(), name="start")
    await _first({starting}, stop, drain)
    if not starting.done():
        starting.cancel()
        return
    await starting
    config = uvicorn.Config(
        create_app(gateway),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    sys.stdout.write(f"ready {settings.name} http={gateway.address()} udp={gateway.media.port}\n")
    sys.stdout.flush()
    try:
        await _until_asked(gateway, serving, stop=stop, drain=drain)
    finally:
        await gateway.stop()
        server.should_exit = True
        await serving


async def _until_asked(
    gateway: Gateway, serving: "asyncio.Task[None]", *, stop: asyncio.Event, drain: asyncio.Event
) -> None:
    await _first({serving}, stop, drain)
    if drain.is_set() and not stop.is_set():
        drained = asyncio.create_task(gateway.drain())
        await _first({serving, drained}, stop)
        drained.cancel()


async def _first(tasks: "set[asyncio.Task[None]]", *events: asyncio.Event) -> None:
    """Wait until one of the tasks is done or one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait({*tasks, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


def _on_signals(*, stop: asyncio.Event, drain: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def terminate() -> None:
        if drain.is_set():
            stop.set()
        drain.set()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGINT, stop.set)


def _listen(address: Address) -> socket.socket:
    """The HTTP socket; raises OSError that names the address if it is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error


if __name__ == "__main__":
    main()
