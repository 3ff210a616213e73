"""Workers in one process round a real Redis: made, killed without a goodbye, and stopped again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from genlock_core import store as stores
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.clock import SystemClock
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import end_tasks
from genlock_core.spec.session import Resolution, SessionKey, StreamSessionSpec, resolve
from genlock_worker.engines.mock.device import Faults
from genlock_worker.engines.mock.engine import MockEngine
from genlock_worker.probes.health import WorkerHealth
from genlock_worker.probes.start_up import StartPhase, StartUp
from genlock_worker.settings import WorkerSettings
from genlock_worker.worker import Worker, make_engine
from tests.worker.gateway import SECRET

SMALL = Resolution(width=128, height=96)
SESSION = "default/demo"


def worker_settings(name: str, redis_url: str, *, media_root: Path | None = None) -> WorkerSettings:
    return WorkerSettings(name=name, redis=redis_url, media_root=media_root, drain_timeout_s=20.0, instant=True)


class House:
    """A Redis and the workers of one test."""

    def __init__(self, redis_url: str, *, media_root: Path | None = None) -> None:
        self.store = stores.connect(redis_url)
        self.claims = Claims(self.store)
        self.workers: list[Worker] = []
        self._redis_url = redis_url
        self._media_root = media_root

    async def start_worker(self, name: str, *, faults: Faults | None = None, decode_process: bool = False) -> Worker:
        settings = worker_settings(name, self._redis_url, media_root=self._media_root)
        settings = replace(settings, decode_process=decode_process)
        clock, metrics = SystemClock(), WorkerMetrics(CollectorRegistry())
        engine = make_engine(settings, clock)
        if faults is not None:
            assert isinstance(engine, MockEngine)
            engine.faults = faults
        worker = Worker(
            settings,
            store=stores.connect(self._redis_url),
            link_secrets=[SECRET],
            engine=engine,
            clock=clock,
            metrics=metrics,
            health=WorkerHealth(StartUp(clock, metrics, import_s=0.0), clock),
        )
        worker.health.start_up.reached(StartPhase.REDIS)
        await worker.start()
        self.workers.append(worker)
        return worker

    async def session(self, name: str = SESSION, *, cost: int = 300, **spec: object) -> None:
        """Write the record of a small session."""
        fields = {"resolution": SMALL, "steps": 2, **spec}
        resolved = resolve(SessionKey.parse(name), StreamSessionSpec.model_validate(fields))
        await self.claims.create(SessionRecord(session=resolved, pools=(PoolChoice("local", cost),)))

    async def phase(self, name: str = SESSION) -> str:
        record = await self.claims.record(name)
        return record.phase.value if record is not None else "gone"

    async def close(self) -> None:
        for worker in self.workers:
            await worker.stop()
            await worker._store.aclose()
        await self.store.aclose()


async def kill(worker: Worker) -> None:
    """Let a worker die as a process does: nothing is said to anybody, in Redis or on the link."""
    await end_tasks(worker._tasks)
    for connection in worker._server._connections:
        connection._writer.transport.abort()
    for live in worker.agent.sessions.values():
        await live._tasks.end()
        live._executor.shutdown(wait=False)
    await worker._store.aclose()
    await worker._server.close()
    await worker.engine_loop.stop()


@asynccontextmanager
async def house(redis_url: str, *, media_root: Path | None = None) -> AsyncIterator[House]:
    made = House(redis_url, media_root=media_root)
    try:
        yield made
    finally:
        await made.close()
