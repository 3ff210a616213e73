"""One WorkerPool: observe, plan, act. A pod that the API server refuses to create is seen by the next plan.

What its pods and Redis do not tell (which pod was refused last, how long workers took to start) is remembered here and
may be lost.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from redis.exceptions import RedisError

from genlock_core.clock import Clock
from genlock_core.spec.pool import PoolConditionType, WorkerPoolStatus
from genlock_operator.actions import (
    CloseWorker,
    CreatePod,
    ExpectWorker,
    LookAgain,
    MoveSession,
    SetReserve,
    ShowScaling,
    WritePoolStatus,
)
from genlock_operator.kube.errors import RequestRefused
from genlock_operator.observed import CreateFailure, PoolSeen, StartUpTimes
from genlock_operator.plan.conditions import ConditionVerdict, conditions
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.plan.pool.plan import outlook_of, plan_pool
from genlock_operator.reasons import PoolReason
from genlock_operator.reconcile.autoscaler import Autoscaler
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.executor import Executor
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.placing import measured_of, step_times_of
from genlock_operator.reconcile.queue import WorkQueue, pool_key, session_key
from genlock_operator.reconcile.start_ups import StartUps
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.tables import WorkerTable
from genlock_operator.watch.caches import Caches, Mistaken

logger = logging.getLogger(__name__)

SAME_MS: Final = 1_000
_CHANGES_WORKERS = (CloseWorker, MoveSession)


@dataclass(slots=True)
class PoolMemory:
    """What is remembered of a pool between two plans, and may be lost."""

    create_failure: CreateFailure | None = None
    reserve: int | None = None
    """What was last set, None: not known."""
    expected_ms: int = 0
    """When the next worker was last said to be expected; 0: nothing was said."""
    start_ups: StartUps = field(default_factory=StartUps)


@dataclass(slots=True)
class PoolReconciler:
    """Works on one pool at a time per call."""

    caches: Caches
    workers: WorkerTable
    pending: PendingSessions
    queue: WorkQueue
    executor: Executor
    clock: Clock
    defaults: WorkerDefaults
    store_state: StoreState
    costs: CostTable
    autoscaler: Autoscaler
    started: Callable[[str, StartUpTimes], None]
    """Told of every worker that got ready."""
    _memories: dict[str, PoolMemory] = field(default_factory=dict)
    _refused: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Pools of which it was said that they cannot be read: uid and generation."""

    async def reconcile(self, name: str) -> None:
        """Bring the pool one step nearer to what it should be. Raises KubeError, NotLeading."""
        if (mistaken := self.caches.mistaken.get(name)) is not None:
            await self._report_mistakes(mistaken)
            return
        seen = self._observe(name)
        if seen is None:
            self._memories.pop(name, None)
            self.autoscaler.forget(name)
            self._tell_pending(name, None)
            return
        try:
            again = await self._act(name, seen)
        except RedisError as error:
            logger.warning("%s: Redis does not answer: %s", name, error, extra={"pool": name})
            self.store_state.failed()
            again = True

        # What was just done changes what a waiting session is told.
        self._tell_pending(name, self._observe(name))
        if again:
            self.queue.add(pool_key(name))

    def forget_reserves(self) -> None:
        """Redis may have lost them."""
        for memory in self._memories.values():
            memory.reserve = None
            memory.expected_ms = 0

    async def _act(self, name: str, seen: PoolSeen) -> bool:
        """Carry the plan out; whether to plan again at once, because a creation was refused."""
        memory = self._memories[name]
        for action in plan_pool(seen, self.clock.wall_ms(), self.defaults):
            if isinstance(action, LookAgain):
                self.queue.add_in(pool_key(name), (action.at_ms - self.clock.wall_ms()) / 1_000)
            elif isinstance(action, CreatePod):
                if not await self._create(name, action):
                    return True
            elif isinstance(action, ShowScaling):
                await self.autoscaler.show(action)
            elif isinstance(action, SetReserve):
                if memory.reserve != action.thousandths:
                    await self.executor.perform(action)
                    memory.reserve = action.thousandths
            elif isinstance(action, ExpectWorker):
                await self._expect(memory, action)
            else:
                await self.executor.perform(action)
                if isinstance(action, _CHANGES_WORKERS):
                    self.workers.outdated.set()
        return False

    async def _expect(self, memory: PoolMemory, action: ExpectWorker) -> None:
        """Say it where it is news: a second sooner or later is none."""
        at_ms = self.clock.wall_ms() + action.in_ms
        if abs(at_ms - memory.expected_ms) > SAME_MS:
            await self.executor.perform(action)
            memory.expected_ms = at_ms

    async def _create(self, name: str, action: CreatePod) -> bool:
        """Create the pod; False if the API server said no, which the next plan has to know."""
        memory = self._memories[name]
        try:
            await self.executor.perform(action)
        except RequestRefused as refused:
            reason = PoolReason.QUOTA_EXCEEDED.value if refused.quota else "Refused"
            memory.create_failure = CreateFailure(reason, refused.message, self.clock.wall_ms())
            logger.warning("%s: a pod was refused: %s", name, refused.message, extra={"pool": name})
            return False
        memory.create_failure = None
        return True

    def _observe(self, name: str) -> PoolSeen | None:
        resource = self.caches.pools.get(name)
        if resource is None:
            return None
        memory = self._memories.setdefault(name, PoolMemory())
        pods = self.caches.pods_of(name)
        workers = self.workers.of_pool(name)

        # Start-ups are noticed here, since this is where pods and workers are seen together.
        for times in memory.start_ups.look(pods, workers, self.workers.read_ms):
            self.started(name, times)

        return PoolSeen(
            resource=resource,
            pods=pods,
            workers=workers,
            store_answers=self.store_state.knows_workers,
            store_since_ms=self.store_state.since_ms,
            nodes=self.caches.nodes,
            demand=self.autoscaler.demand_of(name),
            create_failure=memory.create_failure,
            start_ups=tuple(memory.start_ups.times),
            costs=self.costs.of_pool(name),
            traffic=self.autoscaler.traffic_of(resource),
            measured=measured_of(resource, self.caches),
            step_times=step_times_of(resource, self.caches),
        )

    def _tell_pending(self, name: str, seen: PoolSeen | None) -> None:
        """Plan the sessions that wait for this pool again, if its outlook is another; None: the pool is gone."""
        outlook = outlook_of(seen, self.clock.wall_ms()) if seen is not None else None
        if self.pending.note_outlook(name, outlook):
            for session in self.pending.names(name):
                self.queue.add(session_key(session))

    async def _report_mistakes(self, mistaken: Mistaken) -> None:
        """A condition in the place of a plan, once; whatever runs, runs on."""
        name = mistaken.meta.key
        said = (mistaken.meta.uid, mistaken.meta.generation)
        if self._refused.get(name) == said:
            return

        message = f"the spec cannot be read: {'; '.join(mistaken.mistakes)}"
        verdict = ConditionVerdict(PoolConditionType.AVAILABLE, None, PoolReason.INVALID, message)
        generation = mistaken.meta.generation
        judged = conditions((), [verdict], generation=generation, now_ms=self.clock.wall_ms())
        status = WorkerPoolStatus(observed_generation=generation, conditions=judged)
        await self.executor.perform(WritePoolStatus(mistaken.meta, status))
        self._refused[name] = said
