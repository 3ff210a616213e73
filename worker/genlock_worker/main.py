"""`genlock-worker`: one worker process, from its command line to a polite end."""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future

from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from genlock_core import store as stores
from genlock_core.clock import Clock, SystemClock
from genlock_core.errors import GenlockError
from genlock_core.metrics import WorkerMetrics
from genlock_core.process import logs
from genlock_core.process.probes import ProbeServer
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before
from genlock_core.tokens import Keyring
from genlock_worker.engines.contract import Engine
from genlock_worker.probes.health import WorkerHealth
from genlock_worker.probes.start_up import StartPhase, StartUp, process_age_s
from genlock_worker.settings import WorkerSettings, parse_settings
from genlock_worker.worker import Worker, WorkerStopped, make_engine

logger = logging.getLogger(__name__)

REDIS_WAIT_S = 0.5


async def run(settings: WorkerSettings, environ: Mapping[str, str]) -> int:
    """Serve until told to leave (exit 0) or until it cannot go on (exit 1).

    SIGTERM drains; SIGINT, or a second SIGTERM, leaves at once: what it served is found by its lease. So does a SIGTERM
    before it serves, as there is nobody to move. Raises OSError if a port is taken.
    """
    clock, metrics = SystemClock(), WorkerMetrics(CollectorRegistry())
    health = WorkerHealth(StartUp(clock, metrics, import_s=process_age_s()), clock)
    secrets = Keyring.from_environment(environ).link_secrets()
    store = stores.connect(settings.redis)
    signals = StopSignals.heed(drains=True)
    with _probes(settings, health, metrics.registry):
        try:
            if not await done_before(signals.stopping, _wait_for_redis(store)):
                return 0
            health.start_up.reached(StartPhase.REDIS)
            loading = _load_engine(settings, clock)
            if not await done_before(signals.stopping, loading):
                return 0
            worker = Worker(
                settings,
                store=store,
                link_secrets=secrets,
                engine=loading.result(),
                clock=clock,
                metrics=metrics,
                health=health,
            )
            return await _serve(worker, signals)
        finally:
            await store.aclose()


def _load_engine(settings: WorkerSettings, clock: Clock) -> asyncio.Future[Engine]:
    """Load the engine on a thread of its own: probes and signals are answered meanwhile, and who is told to leave does
    not wait for it. Fails with what `make_engine` raises."""
    loaded: Future[Engine] = Future()

    def work() -> None:
        loaded.set_running_or_notify_cancel()
        try:
            loaded.set_result(make_engine(settings, clock))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            loaded.set_exception(error)

    threading.Thread(target=work, name="loading", daemon=True).start()
    return asyncio.wrap_future(loaded)


@contextlib.contextmanager
def _probes(settings: WorkerSettings, health: WorkerHealth, registry: CollectorRegistry) -> Iterator[None]:
    """Answer probes meanwhile, if there is a port for it: from the very start, so that they learn what it waits for."""
    if not settings.metrics_port:
        yield
        return
    server = ProbeServer(
        settings.metrics_host,
        settings.metrics_port,
        probed=health,
        registry=registry,
        look=health.look,
        ready=health.ready,
    )
    server.start()
    try:
        yield
    finally:
        server.stop()


async def _serve(worker: Worker, signals: StopSignals) -> int:
    """From the start of a worker to its end."""
    try:
        if not await done_before(signals.stopping, worker.start()):
            return 0
        took = "" if worker.warmed_up is None else f" warm_up_s={worker.warmed_up.seconds:.1f}"
        sys.stdout.write(f"ready name={worker.settings.name} address={worker.address}{took}\n")
        sys.stdout.flush()
        if await done_before(signals.stopping, worker.wait()):
            return 1
        await done_before(signals.hurrying, worker.drain())
        return 0
    except WorkerStopped as stopped:
        logger.critical("%s", stopped)
        return 1
    finally:
        await worker.stop()


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
    settings = parse_settings(sys.argv[1:] if arguments is None else arguments)
    logs.configure(settings.log, fields={"worker": settings.name})
    try:
        return asyncio.run(run(settings, os.environ))
    except (GenlockError, WorkerStopped, ValueError, OSError) as error:
        sys.stderr.write(f"genlock-worker: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
