"""The operator put together: what it knows is always up to date, what it does it does only while this replica leads.

This is the one place that knows every part; the parts are told what they need and nothing of each other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry

from genlock_core.claims.claims import Claims
from genlock_core.claims.figure_board import FigureBoard
from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.metrics.operator import OperatorMetrics
from genlock_core.process.probes import ProbeServer
from genlock_core.process.tasks import end_tasks
from genlock_core.store import Store
from genlock_core.stream_state.control import ControlStream
from genlock_operator.elasticity import Elasticity
from genlock_operator.election import Election
from genlock_operator.health import OperatorHealth
from genlock_operator.kube.api import MODEL_PROFILES, NODES, PODS, STREAM_SESSIONS, WORKER_POOLS, Resource
from genlock_operator.kube.client import KubeClient
from genlock_operator.kube.errors import NotFound, Unavailable
from genlock_operator.kube.recorder import EventRecorder
from genlock_operator.leader import Leader
from genlock_operator.measures import Measures, Standing
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.executor import Executor
from genlock_operator.reconcile.loop import ReconcileLoop
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.pool import PoolReconciler
from genlock_operator.reconcile.queue import WorkQueue, pool_key
from genlock_operator.reconcile.resync import Resync
from genlock_operator.reconcile.routing import Router
from genlock_operator.reconcile.session import SessionReconciler
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.store_watch import StoreWatch
from genlock_operator.reconcile.tables import FigureTable, WorkerTable
from genlock_operator.settings import OperatorSettings
from genlock_operator.store_room import StoreRoom
from genlock_operator.watch.caches import Caches
from genlock_operator.watch.watcher import Watcher

logger = logging.getLogger(__name__)

CONCURRENCY = 32
"""Objects that are worked on at once."""

CRD_RETRY_S: Final = 2.0
WATCHES_END_S: Final = 3.0
"""How long kopf may take to end its watches."""


class OperatorStopped(GenlockError):
    """A part of the operator ended that never should; the process begins anew."""


class Operator:
    """`run` until `stop`; everything that it holds is closed then, and the lease is given back."""

    def __init__(self, settings: OperatorSettings, *, configuration: Configuration, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._configuration = configuration
        self._clock = clock
        self._begun = asyncio.Event()
        """Set when everything is known and this replica leads: from then on keys are worked on."""

        # What is known: of the API server, of Redis, and of what sessions and pools tell each other.
        scope = settings.scope
        claims = Claims(store)
        workers = WorkerTable(stuck_after_ms=round(settings.workers.stuck_after_s * 1_000))
        figures = FigureTable()
        costs = CostTable()
        pending = PendingSessions()
        self.caches = Caches()
        self.queue = WorkQueue(clock)
        self.store_state = StoreState(clock)

        # What is told of it: metrics, health, Events.
        self.registry = CollectorRegistry()
        metrics = OperatorMetrics(self.registry)
        self.measures = Measures(metrics, clock, self.caches)
        self.api = KubeClient(configuration, measure=self.measures.request)
        self.leader = Election(self._make_leader)
        router = Router(self.caches, pending, self.queue, heard=self.measures.heard)
        self.watcher = Watcher(scope=scope, caches=self.caches, clock=clock, changed=router.changed)
        self.health = OperatorHealth(
            clock,
            watch_age_s=self.watcher.age_s,
            synced=self.watcher.synced.is_set,
            waiting=lambda: len(self.queue) if self.leader.leading.is_set() else 0,
        )
        self._probes: ProbeServer | None = None
        self.recorder = EventRecorder(self.api, identity=settings.identity, clock=clock, told=self.measures.event)

        # What is done: read Redis, reconcile each key, and look at everything again now and then.
        self.store_watch = StoreWatch(
            claims=claims,
            board=FigureBoard(store),
            workers=workers,
            figures=figures,
            pending=pending,
            queue=self.queue,
            store_state=self.store_state,
            clock=clock,
            scope=scope,
            beat=self.health.beat,
        )
        self.elasticity = Elasticity(
            settings,
            store=store,
            claims=claims,
            caches=self.caches,
            workers=workers,
            costs=costs,
            pending=pending,
            clock=clock,
            levelling=LevellingMetrics(self.registry),
            beat=self.health.beat,
            leading=self.leader.leading,
            corrected=router.place_anew,
            changed=lambda pool: self.queue.add(pool_key(pool)),
            outdated=self.store_watch.turned_away,
            scaled=self.measures.scaled,
        )
        self.store_room = StoreRoom(
            store,
            budget_bytes=settings.snapshot_budget_bytes,
            metrics=metrics,
            leads=self.leader.leading.is_set,
        )
        self.executor = Executor(
            claims=claims,
            control=ControlStream(store),
            api=self.api,
            caches=self.caches,
            recorder=self.recorder,
            may_act=self.leader.may_act,
            done=self.measures.action,
        )
        sessions = SessionReconciler(
            caches=self.caches,
            claims=claims,
            workers=workers,
            figures=figures,
            pending=pending,
            queue=self.queue,
            executor=self.executor,
            clock=clock,
            public_url=settings.public_url or "",
            store_state=self.store_state,
            costs=costs,
            speeds=self.elasticity.counting.speeds,
        )
        pools = PoolReconciler(
            caches=self.caches,
            workers=workers,
            pending=pending,
            queue=self.queue,
            executor=self.executor,
            clock=clock,
            defaults=settings.workers,
            store_state=self.store_state,
            costs=costs,
            autoscaler=self.elasticity.autoscaler,
            started=self.measures.started,
        )
        self.loop = ReconcileLoop(
            queue=self.queue,
            sessions=sessions,
            pools=pools,
            beat=self.health.beat,
            reconciled=self.measures.reconciled,
        )
        self.resync = Resync(
            api=self.api,
            watcher=self.watcher,
            claims=claims,
            pools=pools,
            queue=self.queue,
            store_state=self.store_state,
            beat=self.health.beat,
        )

    def _make_leader(self) -> tuple[Leader, Callable[[], Awaitable[None]]]:
        """A leader with a connection of its own, and what closes that: it runs in the election's thread."""
        scope = self._settings.scope
        api = KubeClient(self._configuration, measure=self.measures.request)
        leader = Leader(
            api,
            namespace=scope.lease_namespace,
            name=scope.lease_name,
            identity=self._settings.identity,
            clock=self._clock,
        )
        return leader, api.close

    async def start(self) -> int:
        """Serve /healthz, and KEDA where that is wanted; the port of the first. Raises OSError."""
        where = self._settings.health
        self._probes = ProbeServer(where.host, where.port, probed=self.health, registry=self.registry)
        self._probes.start()
        await self.elasticity.start()
        return self._probes.port

    async def run(
        self, stop: asyncio.Event, *, ready: asyncio.Event, spawned: Callable[[], None] = lambda: None
    ) -> None:
        """Work until `stop`. Raises what ended the operator otherwise.

        `ready` is set once everything was listed; `spawned` is called once kopf has taken the signals.
        """
        tasks: set[asyncio.Task[Any]] = set()
        watching: asyncio.Task[None] | None = None
        try:
            await self._wait_for_crds(stop)
            if stop.is_set():
                return

            # The watches are no part of `tasks`: at the end they go on until the lease is given back.
            watching = asyncio.create_task(self.watcher.run(self._configuration, spawned=spawned), name="watches")
            tasks = {asyncio.create_task(one, name=name) for name, one in self._loops(ready).items()}
            stopping = asyncio.create_task(stop.wait(), name="stop")
            tasks.add(stopping)

            # None of these ends by itself, unless something is wrong.
            done, _ = await asyncio.wait({*tasks, watching}, return_when=asyncio.FIRST_COMPLETED)
            if stopping not in done:
                ended = done.pop()
                ended.result()
                raise OperatorStopped(f"{ended.get_name()} ended by itself")
        finally:
            await self._wind_up(tasks, watching)

    async def _wind_up(self, tasks: set["asyncio.Task[Any]"], watching: "asyncio.Task[None] | None") -> None:
        """Nothing acts any more, then another replica may; only then the watches end, which takes its time."""
        await end_tasks(tasks)
        await self.leader.release()
        await self.elasticity.stop()
        if watching is not None:
            await end_tasks([watching], ask_again_s=WATCHES_END_S)
        if self._probes is not None:
            await asyncio.to_thread(self._probes.stop)
        await self.api.close()

    def _loops(self, ready: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
        """All that goes on at the same time, by name."""
        return {
            "election": self.leader.run(),
            "events of Redis": self.store_watch.follow_events(),
            "workers of Redis": self.store_watch.poll_workers(),
            "figures of Redis": self.store_watch.poll_figures(),
            "room in Redis": self.store_room.run(),
            "Events": self.recorder.run(),
            "timers": self.queue.run_timers(),
            "measures": self.measures.run(self._standing),
            "resync": self._lead(ready),
            **self.elasticity.loops(),
            **{f"reconciliation {number}": self._reconcile() for number in range(CONCURRENCY)},
        }

    def _standing(self) -> Standing:
        return Standing(
            queue_depth=len(self.queue),
            leading=self.leader.leading.is_set(),
            store_up=self.store_state.answers,
            watch_age_s=self.watcher.age_s(),
        )

    async def _lead(self, ready: asyncio.Event) -> None:
        """Once everything is known and this replica leads: look at all, and let work begin."""
        await self.watcher.sync(self.api)
        ready.set()
        await self.leader.leading.wait()
        await self.store_watch.first_reading()
        await self.elasticity.inherit()
        self._begun.set()
        await self.resync.run()

    async def _reconcile(self) -> None:
        await self._begun.wait()
        await self.loop.run()

    async def _wait_for_crds(self, stop: asyncio.Event) -> None:
        """kopf looks for the kinds once, when it starts: they have to be there, and ours to read."""
        kinds: list[Resource] = [STREAM_SESSIONS, WORKER_POOLS, MODEL_PROFILES, PODS]
        kinds += [NODES] if self._settings.scope.nodes else []
        for resource in kinds:
            while not stop.is_set():
                try:
                    for namespace in self._settings.scope.namespaces or (None,):
                        where = namespace if resource.namespaced else None
                        await self.api.list_names(resource, where, only_first=True)
                    break
                except (NotFound, Unavailable) as error:
                    logger.warning("not there yet: %s", error)
                    await asyncio.sleep(CRD_RETRY_S)
