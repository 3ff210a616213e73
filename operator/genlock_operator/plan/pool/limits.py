"""What keeps a pool from growing, and how carefully it tries again.

The message is that of the API server, the scheduler or the kubelet. A pod whose image does not run is not helped by
another one like it. One that finds no node is: whoever adds nodes goes by the pods that wait for one.
"""

from dataclasses import dataclass

from genlock_operator.observed import PoolSeen
from genlock_operator.plan.pool.members import Member, Members
from genlock_operator.plan.pool.rollout import stalled
from genlock_operator.reasons import PoolReason

RETRY_MS = 5_000
"""How long a pool waits after the API server refused a pod."""
STEP = 8
"""So many pods are made at a time while one finds no node. Whoever adds nodes goes by the pods that wait, so there must
be as many as are wanted; but a pool for which no node will ever come must not flood the scheduler at once."""
STEP_EVERY_MS = 5_000
MAX_FAILING = 3
"""Where some workers of a revision are ready, this many may fail before no more are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How many workers a pool wants."""

    asked: int
    """Were there no bounds."""
    cap: int
    """By its max and its share of the GPU budget."""
    most: int
    """Its max."""

    @property
    def want(self) -> int:
        return min(self.asked, self.cap)


@dataclass(frozen=True, slots=True)
class Limit:
    """Why a pool is smaller than it wants to be."""

    reason: PoolReason
    message: str


def limit_of(members: Members, seen: PoolSeen, *, missing: int, wish: Wish, now_ms: int) -> Limit | None:
    """What stands in the way now. `missing`: workers still to be created."""
    # The nearest reason first: what was refused, what finds no node, what does not run, what does not get ready.
    refused = seen.create_failure
    if refused is not None and missing:
        quota = refused.reason == PoolReason.QUOTA_EXCEEDED.value
        return Limit(PoolReason.QUOTA_EXCEEDED if quota else PoolReason.WORKERS_FAILING, refused.message)
    for worker in members.current:
        if worker.pod.unschedulable:
            return Limit(PoolReason.INSUFFICIENT_GPUS, f"{worker.name}: {worker.pod.unschedulable}")
    for worker in (*members.current, *members.finished):
        if worker.pod.failing:
            return Limit(PoolReason.WORKERS_FAILING, f"{worker.name}: {worker.pod.failing}")
    for worker in stalled(members, seen.resource.spec, now_ms):
        return Limit(PoolReason.WORKERS_FAILING, f"{worker.name} runs, but does not get ready")
    if wish.asked > wish.cap >= wish.most:
        return Limit(PoolReason.AT_MAX, f"{wish.asked} workers are wanted, the pool's max is {wish.most}")
    if wish.asked > wish.cap:
        message = f"{wish.asked} workers are wanted, the GPU budget has {wish.cap} for this pool"
        return Limit(PoolReason.GPU_BUDGET, message)
    return None


def may_create(members: Members, seen: PoolSeen, missing: int, now_ms: int) -> int:
    """How many of the missing workers to create now: all, unless something keeps those that are there from running."""
    failing = sum(
        bool(worker.pod.failing) or worker.pod.phase == "Failed" for worker in (*members.current, *members.finished)
    )
    # A revision of which a worker runs is worth more tries than one of which none ever did.
    proven = any(worker.ready for worker in members.current)
    if failing >= (MAX_FAILING if proven else 1):
        return 0
    if seen.create_failure is not None:
        return min(missing, 1) if now_ms >= retry_at_ms(seen) else 0
    if any(worker.pod.unschedulable for worker in members.current):
        return min(missing, max(0, STEP - len(_just_made(members, now_ms))))
    return missing


def step_at_ms(members: Members, now_ms: int) -> int:
    """When more pods may be made while one finds no node; `now_ms` if that is now."""
    return min((worker.pod.meta.created_ms + STEP_EVERY_MS for worker in _just_made(members, now_ms)), default=now_ms)


def _just_made(members: Members, now_ms: int) -> list[Member]:
    """The pods of this step."""
    return [worker for worker in members.current if now_ms - worker.pod.meta.created_ms < STEP_EVERY_MS]


def retry_at_ms(seen: PoolSeen) -> int:
    """When a pod that was refused is tried again."""
    return 0 if seen.create_failure is None else seen.create_failure.at_ms + RETRY_MS
