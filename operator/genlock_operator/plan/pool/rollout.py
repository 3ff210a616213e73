"""How a change of the template reaches the workers: new ones first, then the old ones leave, never too many at a time.

An old worker serves on until a new one is ready in its stead. If the new ones do not get ready, nobody else leaves.
"""

from genlock_core.spec.pool import WorkerPoolSpec
from genlock_operator.plan.pool.members import Member, Members


def useless(members: Members) -> tuple[Member, ...]:
    """Old workers that serve nobody and are not even ready: there is nothing to wait for."""
    return tuple(worker for worker in members.outdated if not worker.pod.ready and not worker.busy)


def relieved(members: Members, spec: WorkerPoolSpec, want: int, now_ms: int) -> tuple[Member, ...]:
    """Old workers that may leave now, the emptiest first: enough others are ready, and no more than `surge` leave."""
    if stalled(members, spec, now_ms):
        return ()
    ready = sum(worker.ready for worker in members.staying)
    at_once = spec.rollout.surge - sum(worker.busy for worker in members.leaving)
    chosen: list[Member] = []
    for worker in sorted(members.outdated, key=lambda worker: (worker.ready, worker.load, worker.name)):
        if len(chosen) >= at_once:
            break
        if ready - worker.ready >= want:
            chosen.append(worker)
            ready -= worker.ready
    return tuple(chosen)


def stalled(members: Members, spec: WorkerPoolSpec, now_ms: int) -> tuple[Member, ...]:
    """Workers of the template's revision that should have been ready long ago and never were."""
    return tuple(
        worker
        for worker in members.current
        if not worker.pod.ready
        and not worker.pod.ready_ms
        and now_ms - worker.pod.meta.created_ms >= spec.rollout.stalled_after
    )
