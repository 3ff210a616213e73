"""What keeps a pool from growing, and how carefully it tries again.

The message is that of the API server, the scheduler or the kubelet. A pod that finds no GPU, or whose image does not
run, is not helped by another one like it.
"""

from dataclasses import dataclass

from genlock_operator.observed import PoolSeen
from genlock_operator.plan.pool.members import Members
from genlock_operator.plan.pool.rollout import stalled
from genlock_operator.reasons import PoolReason

RETRY_MS = 5_000
"""How long a pool waits after the API server refused a pod."""
MAX_FAILING = 3
"""Where some workers of a revision are ready, this many may fail before no more are made."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Why a pool is smaller than it wants to be."""

    reason: PoolReason
    message: str


def limit_of(members: Members, seen: PoolSeen, *, missing: int, asked: int, now_ms: int) -> Limit | None:
    """What stands in the way now. `missing`: workers still to be created; `asked`: wanted, were there no max."""
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
    if asked > seen.resource.spec.max:
        return Limit(PoolReason.AT_MAX, f"{asked} workers are wanted, the pool's max is {seen.resource.spec.max}")
    return None


def may_create(members: Members, seen: PoolSeen, missing: int, now_ms: int) -> int:
    """How many of the missing workers to create now."""
    failing = sum(
        bool(worker.pod.failing) or worker.pod.phase == "Failed" for worker in (*members.current, *members.finished)
    )
    # A revision of which a worker runs is worth more tries than one of which none ever did.
    proven = any(worker.ready for worker in members.current)
    if any(worker.pod.unschedulable for worker in members.current) or failing >= (MAX_FAILING if proven else 1):
        return 0
    if seen.create_failure is not None:
        return min(missing, 1) if now_ms >= retry_at_ms(seen) else 0
    return missing


def retry_at_ms(seen: PoolSeen) -> int:
    """When a pod that was refused is tried again."""
    return 0 if seen.create_failure is None else seen.create_failure.at_ms + RETRY_MS
