"""`genlock-worker`: one worker process, from its command line to a polite end."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from prometheus_client import start_http_server
from redis.exceptions import RedisError

from genlock_core import store as stores
from genlock_core.clock import SystemClock
from genlock_core.errors import GenlockError
from genlock_core.tokens import Keyring
from genlock_worker.settings import WorkerSettings, parse_settings
from genlock_worker.worker import Worker, WorkerStopped, make_engine

logger = logging.getLogger(__name__)

REDIS_WAIT_S = 0.5


class JsonFormatter(logging.Formatter):
    """One JSON object per line; what a call put into `extra` stands beside the message."""

    _STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in record.__dict__.items() if key not in self._STANDARD},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def start_logging(settings: WorkerSettings) -> None:
    """Log to stderr; stdout is for the `ready` line."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {settings.name} %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)


async def run(settings: WorkerSettings, environ: Mapping[str, str]) -> int:
    """Serve until told to leave (exit 0) or until it cannot go on (exit 1).

    SIGTERM drains; SIGINT, or a second SIGTERM, leaves at once: what it served is found by its lease.
    """
    clock = SystemClock()
    secrets = Keyring.from_environment(environ).link_secrets()
    store = stores.connect(settings.redis)
    await _wait_for_redis(store)
    worker = Worker(settings, store=store, link_secrets=secrets, engine=make_engine(settings, clock), clock=clock)
    stopping, hurrying = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def leave_at_once() -> None:
        hurrying.set()
        stopping.set()

    loop.add_signal_handler(signal.SIGTERM, lambda: (hurrying if stopping.is_set() else stopping).set())
    loop.add_signal_handler(signal.SIGINT, leave_at_once)
    await worker.start()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host, registry=worker.registry)
    sys.stdout.write(f"ready name={settings.name} address={worker.address}\n")
    sys.stdout.flush()
    serving, told = asyncio.create_task(worker.wait()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await _drain(worker, hurrying)
            return 0
        serving.result()
        return 1
    except WorkerStopped as stopped:
        logger.critical("%s", stopped)
        return 1
    finally:
        for task in (serving, told):
            task.cancel()
        await worker.stop()
        await store.aclose()


async def _drain(worker: Worker, hurrying: asyncio.Event) -> None:
    """Drain, unless or until it has to be quick."""
    if hurrying.is_set():
        return
    drained, hurry = asyncio.create_task(worker.drain()), asyncio.create_task(hurrying.wait())
    await asyncio.wait({drained, hurry}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drained, hurry):
        task.cancel()
    await asyncio.gather(drained, hurry, return_exceptions=True)


async def _wait_for_redis(store: stores.Store) -> None:
    """Be patient with a Redis that is not up yet. Raises StoreUnusable for one that will not do."""
    while True:
        try:
            await stores.check(store)
        except RedisError as error:
            logger.warning("Redis does not answer yet: %s", error)
            await asyncio.sleep(REDIS_WAIT_S)
        else:
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Mistakes in what it was told are one line on stderr and exit status 2."""
    settings = parse_settings(arguments)
    start_logging(settings)
    try:
        return asyncio.run(run(settings, os.environ))
    except (GenlockError, WorkerStopped, ValueError, OSError) as error:
        sys.stderr.write(f"genlock-worker: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
