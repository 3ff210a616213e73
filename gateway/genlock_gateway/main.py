"""`genlock-gateway`: one process, one HTTP port (and one for HTTPS where that is asked for), one UDP port.

SIGTERM drains (clients are asked to reconnect elsewhere, and waited for), SIGINT and a second SIGTERM stop at once.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from redis.exceptions import RedisError

from genlock_core.errors import GenlockError
from genlock_core.process import logs
from genlock_core.process.address import Address
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before, end_tasks, wait_first
from genlock_core.tokens import Keyring
from genlock_gateway.gateway import Gateway, build
from genlock_gateway.settings import GatewaySettings, parse_settings
from genlock_gateway.web.ports import ports
from genlock_gateway.web.serving import HttpServers, listen, tls_context

logger = logging.getLogger(__name__)

CHATTY = ("aioice", "aiortc", "httpx", "httpcore", "uvicorn.error")
"""Loggers of libraries that tell of every packet or request."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal comes. Exits with 1 and a message if it cannot serve."""
    settings = parse_settings(sys.argv[1:] if arguments is None else arguments, os.environ)
    logs.configure(settings.log, fields={"gateway": settings.name}, quiet=CHATTY)
    # A line for each oddity that a stranger sends would be a way to fill a disk; they are counted.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    if "FORWARDED_ALLOW_IPS" in os.environ:
        logger.warning("FORWARDED_ALLOW_IPS is not read any more: name your proxies with GENLOCK_GATEWAY_PROXY")
    try:
        asyncio.run(serve(settings, Keyring.from_environment(os.environ)))
    except (GenlockError, RedisError, OSError, ValueError) as error:
        sys.stderr.write(f"genlock-gateway: {error}\n")
        sys.exit(1)


async def serve(settings: GatewaySettings, keyring: Keyring) -> None:
    """Serve until a signal comes. Raises GenlockError, RedisError, OSError (a port is taken), ValueError."""
    signals = StopSignals.heed(drains=True)
    context = tls_context(settings.tls)
    with ExitStack() as sockets:
        http = sockets.enter_context(listen(settings.http))
        https = [sockets.enter_context(listen(address)) for address in settings.tls.listen]
        health = [sockets.enter_context(listen(address)) for address in (settings.health,) if address is not None]
        gateway = build(settings, keyring)
        gateway.address.port = http.getsockname()[1]
        server = HttpServers(
            ports(gateway, http=http, https=https, health=health, context=context), clock=gateway.clock
        )
        serving: asyncio.Task[None] | None = None
        try:
            if not await done_before(signals.stopping, gateway.start()):
                return
            serving = asyncio.create_task(server.run(), name="http")
            more = "".join(
                f" {kind}={Address(*one.getsockname()[:2])}"
                for kind, listening in (("https", https), ("health", health))
                for one in listening
            )
            sys.stdout.write(f"ready {settings.name} http={gateway.address()} udp={gateway.media.port}{more}\n")
            sys.stdout.flush()
            await wait_first(serving, signals.stopping)
            if signals.stopping.is_set():
                await _drain(gateway, serving, signals)
        finally:
            await gateway.stop()  # before HTTP ends, which waits for its event streams
            if serving is not None:
                server.end()
                await serving


async def _drain(gateway: Gateway, serving: "asyncio.Task[None]", signals: StopSignals) -> None:
    """Drain, unless or until it has to be quick or HTTP ends."""
    drained = asyncio.create_task(gateway.drain(), name="drain")
    try:
        await wait_first(serving, drained, signals.hurrying)
        if drained.done():
            await drained
    finally:
        await end_tasks([drained])


if __name__ == "__main__":
    main()
