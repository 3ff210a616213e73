"""Which workers have to leave, whatever the scale; and how: closed, its sessions moved, deleted when none is left.

A session is never cut. One that finds no room elsewhere is served on, and the drain says that it is overdue. A drain
that began goes on even if its reason is gone (a node that was uncordoned): a closed worker is not opened again, it is
replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from genlock_core.claims.facts import MoveCause, WorkerState
from genlock_core.sizing.measured import to_json
from genlock_operator.actions import CloseWorker, MarkPod, MoveSession, RetirePod
from genlock_operator.observed import PodState, PoolSeen
from genlock_operator.plan.conditions import timestamp
from genlock_operator.plan.policy import (
    DRAINING_SINCE_ANNOTATION,
    KEEP_ANNOTATIONS,
    STATE_LABEL,
    WorkerDefaults,
)
from genlock_operator.plan.pool.members import Member, Members

FAILED_KEPT_MS = 30_000
"""A pod that failed without ever having been ready is left for this long, so that a node that refuses its pods does
not make one after the other."""


@dataclass(frozen=True, slots=True)
class Leaver:
    """A worker that leaves, and why, as the end of a sentence."""

    worker: Member
    why: str


def must_leave(members: Members, seen: PoolSeen, defaults: WorkerDefaults, now_ms: int) -> tuple[Leaver, ...]:
    """The workers that cannot stay, however many are wanted: their node leaves, a person asked, or they are stuck."""
    stuck = _stuck(members, seen, defaults, now_ms)
    reasons = ((worker, _outer_reason(worker, seen) or stuck.get(worker.name, "")) for worker in members.staying)
    return tuple(Leaver(worker, why) for worker, why in reasons if why)


def finished(members: Members, now_ms: int) -> tuple[Leaver, ...]:
    """Pods that have come to an end by themselves."""
    return tuple(
        Leaver(worker, f"its pod is {worker.pod.phase}{f': {worker.pod.failing}' if worker.pod.failing else ''}")
        for worker in members.finished
        if worker.pod.ready_ms or now_ms - worker.pod.meta.created_ms >= FAILED_KEPT_MS
    )


def see_out(leaver: Leaver) -> Iterator[CloseWorker | RetirePod | MoveSession]:
    """The next steps of one that leaves, while Redis answers.

    Deleting looks for itself whether nobody is left (`RetirePod`), so a worker without sessions needs no more than it.
    """
    worker = leaver.worker
    view = worker.view
    if view is None or not view.sessions:
        yield RetirePod(worker.pod.meta, None if view is None else view.identity, leaver.why)
    else:
        if view.state is WorkerState.READY:
            yield CloseWorker(view.identity)
        for session, epoch in sorted(view.sessions.items()):
            yield MoveSession(session, epoch, MoveCause.DRAIN)


def mark(worker: Member, *, leaves: bool, now_ms: int) -> MarkPod | None:
    """What the pod's label and annotations should say and do not; None if all is said, or nothing is known.

    A worker that leaves is Serving until its last session has moved: until then nobody else may delete it either.
    """
    pod = worker.pod
    view = worker.view
    if view is None:
        return None

    serves = bool(view.sessions)
    state = PodState.SERVING if serves else PodState.DRAINING if leaves else PodState.WARM
    annotations: dict[str, str | None] = {}
    if pod.protected != serves:
        annotations |= {key: value if serves else None for key, value in KEEP_ANNOTATIONS.items()}
    if leaves and not pod.draining_since_ms:
        annotations[DRAINING_SINCE_ANNOTATION] = timestamp(now_ms)
    labels: dict[str, str | None] = {} if pod.state == state.value else {STATE_LABEL: state.value}
    return MarkPod(pod.meta, labels, annotations) if labels or annotations else None


def overdue(members: Members, timeout_ms: int, now_ms: int) -> tuple[Member, ...]:
    """Workers that leave for longer than they should, as their sessions find no room elsewhere."""
    return tuple(
        worker
        for worker in members.leaving
        if worker.sessions and worker.pod.draining_since_ms and now_ms - worker.pod.draining_since_ms > timeout_ms
    )


def _outer_reason(worker: Member, seen: PoolSeen) -> str:
    node = seen.nodes.get(worker.pod.node)
    if node is not None and node.leaving:
        return f"its node {node.name} is leaving ({node.leaving})"
    if worker.pod.drain_asked:
        return "somebody asked for its drain"
    return "it does not start, and its model was measured since it was made" if _fails_untold(worker, seen) else ""


def _fails_untold(worker: Member, seen: PoolSeen) -> bool:
    """Whether it does not run, and a new one would be told what it was not: a mock of an unknown model never starts."""
    fails = bool(worker.pod.failing) and worker.view is None
    return fails and bool(seen.measured) and worker.pod.told != to_json(seen.measured)


def _stuck(members: Members, seen: PoolSeen, defaults: WorkerDefaults, now_ms: int) -> dict[str, str]:
    """By name those that make no progress, or do not start while others do."""
    if not seen.store_answers:
        return {}

    patience_ms = round(defaults.stuck_after_s * 1_000)
    running = [worker for worker in members.staying if worker.pod.started_ms and not worker.pod.failing]
    silences = {worker.name: _silence(worker, seen, patience_ms, now_ms) for worker in running}
    silent = {name: why for name, why in silences.items() if why}

    # Where most workers are silent, the fault may lie elsewhere: then one is replaced at a time.
    if 2 * len(silent) > len(running):
        settled = not members.leaving and all(worker.pod.ready_ms for worker in members.staying)
        silent = dict([min(silent.items())]) if settled else {}
    return _cannot_start(members, seen.resource.spec.rollout.stalled_after, now_ms) | silent


def _silence(worker: Member, seen: PoolSeen, patience_ms: int, now_ms: int) -> str:
    """Why it counts as stuck; "" if it does not. It has had time to speak since it and Redis have been there."""
    pod = worker.pod
    view = worker.view
    if now_ms - max(pod.started_ms, seen.store_since_ms) <= patience_ms:
        return ""
    if view is None:
        late = pod.ready and pod.ready_ms and now_ms - pod.ready_ms > patience_ms
        return "it is ready, but has not registered" if late else ""
    age_ms = view.heartbeat_age_ms
    return f"it has made no progress for {age_ms // 1_000} s" if age_ms > patience_ms else ""


def _cannot_start(members: Members, late_ms: int, now_ms: int) -> dict[str, str]:
    """By name those whose container has failed for long although others of the same revision run."""
    if not any(worker.ready for worker in members.current):
        return {}
    return {
        worker.name: f"its container does not run ({worker.pod.failing})"
        for worker in members.current
        if worker.pod.failing and now_ms - max(worker.pod.meta.created_ms, worker.pod.ready_ms) > late_ms
    }
