"""Who is in a pool: each worker pod together with what Redis says of it, sorted by what that makes of it.

Nothing is remembered: that a worker is leaving is read from its pod's annotation or from its closed claim in Redis,
whichever came first, so that a drain that began before a crash goes on after it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import CAPACITY
from genlock_operator.observed import PodFacts, PodRole, PoolSeen

FINISHED_PHASES = frozenset({"Failed", "Succeeded"})
"""A pod that never comes back, although its restartPolicy is Always: evicted, or refused by its kubelet."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker pod and what Redis knows of it; `view` None: it has not registered (yet)."""

    pod: PodFacts
    view: WorkerView | None
    beyond: int = 0
    """What its sessions would take besides, in thousandths, at the levels that they ask for."""

    @property
    def name(self) -> str:
        return self.pod.meta.name

    @property
    def load(self) -> int:
        """What its sessions take, in thousandths."""
        return 0 if self.view is None else self.view.capacity - self.view.free

    @property
    def asked(self) -> int:
        """What its sessions would take at the levels that they ask for, which may be more than it has."""
        return max(self.taken, self.load + self.beyond)

    @property
    def taken(self) -> int:
        """What new sessions find taken of it: all, while it is overloaded."""
        return CAPACITY if self.view is not None and self.view.is_overloaded else self.load

    @property
    def sessions(self) -> int:
        return 0 if self.view is None else len(self.view.sessions)

    @property
    def busy(self) -> bool:
        return self.sessions > 0 or self.load > 0

    @property
    def ready(self) -> bool:
        """It takes sessions."""
        return self.pod.ready and self.view is not None and self.view.state is WorkerState.READY


@dataclass(frozen=True, slots=True)
class Members:
    """The pool's pods, each in one place; pods that are being deleted are in none."""

    revision: str
    """What the pool's template says now."""
    staying: tuple[Member, ...]
    leaving: tuple[Member, ...]
    """They run, but their drain has begun."""
    finished: tuple[Member, ...]
    """They will never run again."""
    placeholders: tuple[PodFacts, ...]
    adrift: tuple[int, ...]
    """What sessions take on workers whose pod is gone or going; they will need room elsewhere."""
    taken: frozenset[str]
    """Names that no new pod may have."""

    @property
    def current(self) -> tuple[Member, ...]:
        """Those that stay and run what the template says."""
        return tuple(worker for worker in self.staying if worker.pod.revision == self.revision)

    @property
    def outdated(self) -> tuple[Member, ...]:
        return tuple(worker for worker in self.staying if worker.pod.revision != self.revision)

    @property
    def to_place(self) -> tuple[int, ...]:
        """What must find room on those that stay: the load of each worker that leaves."""
        return tuple(worker.load for worker in self.leaving if worker.load) + self.adrift

    def without(self, leavers: Iterable[Member]) -> "Members":
        """The same pool once these leave too."""
        names = {worker.name for worker in leavers}
        going = tuple(worker for worker in self.staying if worker.name in names)
        staying = tuple(worker for worker in self.staying if worker.name not in names)
        return replace(self, staying=staying, leaving=self.leaving + going)


def members_of(seen: PoolSeen, revision: str) -> Members:
    """Every pod of the pool in its place."""
    there = [pod for pod in seen.pods if not pod.meta.deleting]
    workers = sorted(
        (_member(pod, seen) for pod in there if pod.role is PodRole.WORKER),
        key=lambda worker: worker.name,
    )
    running = [worker for worker in workers if worker.pod.phase not in FINISHED_PHASES]
    names = {worker.name for worker in running}
    return Members(
        revision=revision,
        staying=tuple(worker for worker in running if not is_leaving(worker)),
        leaving=tuple(worker for worker in running if is_leaving(worker)),
        finished=tuple(worker for worker in workers if worker.pod.phase in FINISHED_PHASES),
        placeholders=tuple(pod for pod in there if pod.role is PodRole.PLACEHOLDER),
        adrift=tuple(
            view.capacity - view.free
            for name, view in sorted(seen.workers.items())
            if name not in names and view.capacity > view.free
        ),
        taken=frozenset(pod.meta.name for pod in seen.pods) | frozenset(seen.workers),
    )


def _member(pod: PodFacts, seen: PoolSeen) -> Member:
    view = seen.workers.get(pod.meta.name)
    costs = [seen.costs[session] for session in (view.sessions if view is not None else ()) if session in seen.costs]
    return Member(pod, view, beyond=sum(max(0, cost.asked - cost.paid) for cost in costs))


def is_leaving(worker: Member) -> bool:
    """Its drain began: nothing takes that back, as a closed worker is not opened again."""
    closed = worker.view is not None and worker.view.state is WorkerState.DRAINING
    return closed or worker.pod.draining_since_ms > 0
