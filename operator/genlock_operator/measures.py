"""What the operator's metrics are told, and when."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from genlock_core.claims.facts import MoveCause
from genlock_core.clock import Clock
from genlock_core.metrics.operator import OperatorMetrics
from genlock_core.spec.session import Phase
from genlock_operator.actions import ClaimWorker, CreatePod, MoveSession
from genlock_operator.kube.api import STREAM_SESSIONS, WORKER_POOLS
from genlock_operator.reconcile.acting import RealAction

if TYPE_CHECKING:
    from genlock_operator.operator import Operator

COUNT_EVERY_S: Final = 10.0
_KINDS: Final = {"session": STREAM_SESSIONS.kind, "pool": WORKER_POOLS.kind}


class Measures:
    """Translates what happens into metrics; `run` counts what is there."""

    def __init__(self, metrics: OperatorMetrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock

    def request(self, verb: str, _plural: str, code: int, seconds: float) -> None:
        """A request to the API server is over."""
        self._metrics.kube_api_seconds.labels(verb, str(code) if code else "error").observe(seconds)

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """A reconciliation is over."""
        self._metrics.reconcile_seconds.labels(_KINDS[kind], result).observe(seconds)

    def action(self, action: RealAction, refusal: str) -> None:
        """An action was carried out."""
        match action:
            case ClaimWorker():
                self._metrics.claims.labels("no-capacity" if refusal else "claimed").inc()
            case MoveSession(_, _, cause):
                self._metrics.moves.labels(MoveCause(cause).value, "no-capacity" if refusal else "won").inc()
            case CreatePod(pool, _):
                self._metrics.pod_creations.labels(pool, "created").inc()
            case _:
                return

    async def run(self, operator: "Operator") -> None:
        """Count for ever."""
        while True:
            self.count(operator)
            await asyncio.sleep(COUNT_EVERY_S)

    def count(self, operator: "Operator") -> None:
        """Set every gauge."""
        metrics = self._metrics
        metrics.queue_depth.set(len(operator.queue))
        metrics.leader.set(int(operator.leader.leading.is_set()))
        metrics.store_up.set(int(operator.state.answers))
        metrics.watch_age.labels("Lease").set(operator.watcher.age_s() or 0.0)
        phases: Counter[str] = Counter()
        for session in operator.caches.sessions:
            phases[str(session.status.get("phase") or Phase.PENDING.value)] += 1
        for phase in Phase:
            metrics.sessions.labels(phase.value).set(phases[phase.value])
