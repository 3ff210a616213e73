"""`genlock-operator`: one process of the operator; another one stands by.

SIGTERM and SIGINT stop it at once: nothing it does has to be finished, and the lease is given back, so that the other
replica goes on. Losing the lease ends it with status 1, to begin anew as the one that stands by.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from redis.exceptions import RedisError

from genlock_core import store as stores
from genlock_core.clock import SystemClock
from genlock_core.errors import GenlockError
from genlock_core.process import logs
from genlock_core.process.address import Address
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import end_tasks
from genlock_operator.kube import credentials
from genlock_operator.operator import Operator
from genlock_operator.settings import OperatorSettings, parse_settings

logger = logging.getLogger(__name__)

CHATTY = ("kopf", "aiohttp", "asyncio")
"""Loggers of libraries that tell of every request."""
OF_KOPF = ("settings", "k8s_skip", "k8s_ref")
"""What kopf puts into records for itself."""


async def serve(settings: OperatorSettings) -> None:
    """Work until a signal comes. Raises what ended the operator otherwise."""
    signals = StopSignals.heed(drains=False)
    configuration = await credentials.load(settings.kubeconfig)
    store = stores.connect(settings.redis_url)
    try:
        await stores.check(store)
    except RedisError as error:
        logger.warning("Redis does not answer yet: %s", error)
    operator = Operator(settings, configuration=configuration, store=store, clock=SystemClock())
    port = await operator.start()
    ready = asyncio.Event()
    announcing = asyncio.create_task(_announce(settings, port, ready), name="announces that it is ready")
    try:
        await operator.run(signals.stopping, ready=ready, spawned=signals.take)
    finally:
        await end_tasks([announcing])
        await store.aclose()


async def _announce(settings: OperatorSettings, port: int, ready: asyncio.Event) -> None:
    await ready.wait()
    sys.stdout.write(f"ready {settings.identity} health={Address(settings.health.host, port)}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal comes. Exits with 1 and a message if it cannot go on."""
    settings = parse_settings(sys.argv[1:] if arguments is None else arguments, os.environ)
    logs.configure(settings.log, fields={"operator": settings.identity}, quiet=CHATTY, hidden=OF_KOPF)
    try:
        asyncio.run(serve(settings))
    except (GenlockError, OSError) as error:
        sys.stderr.write(f"genlock-operator: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
