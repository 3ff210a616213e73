"""What the operator's metrics are told, and when.

It stands above what it measures: the parts call what they were given, and know no metric.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genlock_core.clock import Clock
from genlock_core.metrics.operator import OperatorMetrics
from genlock_core.spec.autoscaling import ScalingMode
from genlock_core.spec.session import Phase
from genlock_core.spec.status import ConditionType
from genlock_operator.actions import ClaimWorker, CreatePod, MoveSession, RetirePod, Tell
from genlock_operator.autoscale.recommend import Recommendation, ScaleReason
from genlock_operator.kube.api import STREAM_SESSIONS, WORKER_POOLS, Resource
from genlock_operator.observed import PoolResource, StartUpTimes
from genlock_operator.reasons import EventReason, Reason
from genlock_operator.reconcile.executor import ActionResult, RealAction
from genlock_operator.watch.caches import Caches

COUNT_EVERY_S: Final = 10.0
AT_ONCE: Final = 200
"""Statuses that are read before others get their turn."""
_KINDS: Final = {"session": STREAM_SESSIONS.kind, "pool": WORKER_POOLS.kind}
_BLOCKED: Final = frozenset(Reason) - {Reason.CLAIMED, Reason.NOT_CLAIMED, Reason.FITS}
_WITHOUT_WORKER: Final = frozenset({Phase.PENDING.value, Phase.RECOVERING.value})


@dataclass(frozen=True, slots=True)
class Standing:
    """How the operator as a whole stands at one moment."""

    queue_depth: int
    leading: bool
    store_up: bool
    watch_age_s: float | None
    """Seconds since a watch last said anything; None before the first word."""


class Measures:
    """Translates what happens into metrics; `run` counts what is there."""

    def __init__(self, metrics: OperatorMetrics, clock: Clock, caches: Caches) -> None:
        self._metrics = metrics
        self._clock = clock
        self._caches = caches
        self._pools: set[str] = set()
        """Pools that have gauges."""
        self._heard_s: dict[str, tuple[str, float]] = {}
        """Sessions that wait for their first worker since we heard of them: uid, and when that was."""

    def request(self, verb: str, _plural: str, code: int, seconds: float) -> None:
        """A request to the API server is over."""
        self._metrics.kube_api_seconds.labels(verb, str(code) if code else "error").observe(seconds)

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """A reconciliation is over."""
        self._metrics.reconcile_seconds.labels(_KINDS[kind], result).observe(seconds)

    def started(self, pool: str, times: StartUpTimes) -> None:
        """A new worker is ready and registered."""
        for phase, seconds in times.seconds.items():
            self._metrics.worker_startup_seconds.labels(pool, phase).observe(seconds)

    def scaled(self, pool: str, shown: Recommendation) -> None:
        """A pool was planned."""
        for term, workers in shown.terms.items():
            self._metrics.autoscale_workers.labels(pool, term).set(math.nan if workers is None else workers)
        for reason in ScaleReason:
            self._metrics.autoscale_reason.labels(pool, reason.value).set(int(reason is shown.reason))
        for mode in ScalingMode:
            self._metrics.autoscale_mode.labels(pool, mode.value).set(int(mode is shown.mode))

    def event(self, _reason: str, result: str) -> None:
        """What became of an Event."""
        self._metrics.events.labels(result).inc()

    def heard(self, resource: Resource, key: str) -> None:
        """A watch told of an object: of a session that has no status yet for the first time."""
        if resource is not STREAM_SESSIONS:
            return
        session = self._caches.sessions.get(key)
        if session is not None and not session.status_json:
            self._heard_s.setdefault(key, (session.meta.uid, self._clock.monotonic()))
        # It is gone, or another replica has assigned it: what this one would measure is not its time to a worker.
        elif session is None or (key in self._heard_s and session.status.get("worker")):
            self._heard_s.pop(key, None)

    def action(self, action: RealAction, result: ActionResult) -> None:
        """An action was carried out, or failed."""
        done = result is ActionResult.DONE
        match action:
            case ClaimWorker():
                self._metrics.claims.labels("claimed" if done else result.value).inc()
            case MoveSession(_, _, cause):
                self._metrics.moves.labels(cause.value, "won" if done else result.value).inc()
            case CreatePod(pool, _):
                self._metrics.pod_creations.labels(pool, "created" if done else result.value).inc()
            case RetirePod() if done:
                self._drained(action)
            case Tell() if done:
                self._told(action)
            case _:
                return

    async def run(self, look: Callable[[], Standing]) -> None:
        """Count for ever."""
        while True:
            await self.count(look())
            await asyncio.sleep(COUNT_EVERY_S)

    async def count(self, standing: Standing) -> None:
        """Set every gauge."""
        metrics = self._metrics
        metrics.queue_depth.set(standing.queue_depth)
        metrics.leader.set(int(standing.leading))
        metrics.store_up.set(int(standing.store_up))
        metrics.watch_age.set(math.nan if standing.watch_age_s is None else standing.watch_age_s)

        # A pool that is gone takes its gauges with it.
        pools = {pool.meta.key: pool for pool in self._caches.pools}
        for gone in self._pools - pools.keys():
            metrics.drop_pool(gone)
        self._pools = set(pools)
        for pool in pools.values():
            self._count_pool(pool)
        await self._count_sessions()

    def _count_pool(self, pool: PoolResource) -> None:
        # The last status is counted, not the pool anew: the page of a person and the metrics say the same.
        name = pool.meta.key
        status = pool.status
        self._metrics.pool_desired.labels(name).set(status.desired)
        self._metrics.pool_free.labels(name).set(status.free)
        states = {
            "starting": max(0, status.replicas - status.ready),
            "warm": max(0, status.ready - status.serving),
            "serving": status.serving,
            "draining": status.draining,
            "failing": sum(1 for pod in self._caches.pods_of(name) if pod.failing),
        }
        for state, count in states.items():
            self._metrics.pool_workers.labels(name, state).set(count)

    async def _count_sessions(self) -> None:
        phases: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for number, session in enumerate(self._caches.sessions):
            status = session.status
            phase = str(status.get("phase") or Phase.PENDING.value)
            phases[phase] += 1
            if phase in _WITHOUT_WORKER:
                reasons.update(
                    one["reason"]
                    for one in status.get("conditions", ())
                    if one["type"] == ConditionType.ASSIGNED and one["status"] != "True"
                )
            # Ten thousand statuses take a while; the other loops get their turns meanwhile.
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

        for phase in Phase:
            self._metrics.sessions.labels(phase.value).set(phases[phase.value])
        for reason in _BLOCKED:
            self._metrics.blocked_sessions.labels(reason.value).set(reasons[reason.value])

    def _told(self, told: Tell) -> None:
        """What people are told of a session is what counts of it, once each."""
        if told.kind != STREAM_SESSIONS.kind:
            return
        if told.reason == EventReason.ASSIGNED:
            uid, heard_s = self._heard_s.pop(told.meta.key, ("", 0.0))
            if uid == told.meta.uid:
                self._metrics.assign_seconds.observe(self._clock.monotonic() - heard_s)
        elif told.reason in _BLOCKED:
            self._metrics.blocked.labels(told.reason).inc()

    def _drained(self, retired: RetirePod) -> None:
        """A pod was deleted: how long its drain took, if it had one."""
        pod = self._caches.pods.get(retired.meta.key)
        pool = self._caches.pools.get(pod.pool) if pod is not None else None
        if pod is None or pool is None or not pod.draining_since_ms or pod.meta.deleting:
            return
        took_ms = self._clock.wall_ms() - pod.draining_since_ms
        outcome = "overdue" if took_ms > pool.spec.drain.timeout else "in-time"
        self._metrics.drain_seconds.labels(pod.pool, outcome).observe(max(0, took_ms) / 1_000)
