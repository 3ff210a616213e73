"""The plan of a WorkerPool: from what is seen to what is to be done, as one list of actions.

`outcome` decides; here the decisions become actions, in an order that is safe to be cut off anywhere.
"""

from collections.abc import Iterator

from genlock_core.spec.pool import PoolConditionType
from genlock_operator.actions import (
    CloseWorker,
    CreatePod,
    ExpectWorker,
    LookAgain,
    MarkPod,
    MoveSession,
    PoolAction,
    RetirePod,
    SetReserve,
    ShowScaling,
    Tell,
    WritePoolStatus,
)
from genlock_operator.observed import PodRole, PoolOutlook, PoolSeen
from genlock_operator.plan.conditions import find
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.plan.pool import drain, limits, scale
from genlock_operator.plan.pool.drain import Leaver
from genlock_operator.plan.pool.members import members_of
from genlock_operator.plan.pool.outcome import PoolOutcome, outcome_of, wish_of
from genlock_operator.plan.pool.pods import placeholder_pod, pod_name, worker_pod
from genlock_operator.plan.pool.scaling import scaling_of
from genlock_operator.plan.pool.start_up import next_worker_ms
from genlock_operator.plan.pool.status import reserve_of, status_of
from genlock_operator.reasons import EventReason, PoolReason

DRAIN_EVERY_MS = 500
"""How often the sessions of a worker that leaves are tried again."""
LOOK_EVERY_MS = 5_000
"""How often a pool is looked at although nothing tells of a change: a worker gets stuck without a word."""
LOOK_IDLE_MS = 30_000
"""How often one without pods is: its schedule begins, or another pool leaves it its share of the GPUs."""


def plan_pool(seen: PoolSeen, now_ms: int, defaults: WorkerDefaults) -> list[PoolAction]:
    """What to do about this pool now; nothing for one that is being deleted, whose pods go with it."""
    if seen.resource.meta.deleting:
        return []
    outcome = outcome_of(seen, now_ms, defaults)

    # A move may take long, and any action may fail: new workers and the status do not wait for moves.
    steps = list(_steps_of_leavers(seen, outcome))
    return [
        *_marks(seen, outcome, now_ms),
        *(step for step in steps if not isinstance(step, MoveSession)),
        *_new_workers(seen, outcome, defaults),
        *_placeholders(seen, outcome, defaults),
        *_reserve(seen, outcome),
        *_scaling(seen, outcome),
        *_expected(seen, outcome, now_ms),
        *_status_and_what_changed(seen, outcome, now_ms),
        *_look_again(seen, outcome, now_ms),
        *(step for step in steps if isinstance(step, MoveSession)),
    ]


def outlook_of(seen: PoolSeen, now_ms: int) -> PoolOutlook:
    """What a session that waits for this pool is told.

    It stands beside the plan, as it is asked for after the plan's actions were carried out. The revision is that of the
    last status, since nothing is decided here.
    """
    spec = seen.resource.spec
    members = members_of(seen, seen.resource.status.revision)
    wish = wish_of(scaling_of(members, seen, now_ms) if seen.store_answers else None, seen)
    missing = scale.missing(members, spec, wish.want)
    limit = limits.limit_of(members, seen, missing=missing, wish=wish, now_ms=now_ms)
    starting = sum(not worker.ready for worker in members.staying)
    if limit is None:
        return PoolOutlook(seen.name, starting)
    return PoolOutlook(seen.name, starting, limit.reason.value, limit.message)


def _steps_of_leavers(seen: PoolSeen, outcome: PoolOutcome) -> Iterator[CloseWorker | RetirePod | MoveSession]:
    """None while Redis is away: that a pod has not run yet may be old news, and only Redis knows who is on it."""
    if not seen.store_answers:
        return
    for leaver in (*outcome.begins, *outcome.goes_on):
        yield from drain.see_out(leaver)


def _marks(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> Iterator[MarkPod]:
    if not seen.store_answers:
        return
    for workers, leaves in ((outcome.members.leaving, True), (outcome.members.staying, False)):
        for worker in workers:
            found = drain.mark(worker, leaves=leaves, now_ms=now_ms)
            if found is not None:
                yield found


def _new_workers(seen: PoolSeen, outcome: PoolOutcome, defaults: WorkerDefaults) -> Iterator[CreatePod]:
    for ordinal in _free_ordinals(seen, outcome, PodRole.WORKER, outcome.create):
        yield CreatePod(seen.name, worker_pod(seen.resource, ordinal, defaults, seen.measured, seen.step_times))


def _placeholders(seen: PoolSeen, outcome: PoolOutcome, defaults: WorkerDefaults) -> Iterator[CreatePod | RetirePod]:
    """As many as the headroom says, of the template's revision.

    While a worker finds no room none is made, and while a quota refuses a worker none is kept. While Redis is away they
    stay as they are: a pod is deleted only after Redis was asked for a worker of its name.
    """
    if not seen.store_answers:
        return
    # Workers come first: placeholders give way to a worker that finds no room, or that a quota refuses.
    limit = None if outcome.limit is None else outcome.limit.reason
    want = 0 if limit is PoolReason.QUOTA_EXCEEDED else seen.resource.spec.headroom
    there = sorted(outcome.before.placeholders, key=lambda pod: pod.meta.name)
    fresh = [
        pod for pod in there if pod.revision == outcome.members.revision and pod.phase not in ("Failed", "Succeeded")
    ]
    for pod in there:
        if pod not in fresh[:want]:
            yield RetirePod(pod.meta, None, "its room is not to be held any longer")
    if limit not in (PoolReason.INSUFFICIENT_GPUS, PoolReason.QUOTA_EXCEEDED) and seen.create_failure is None:
        for ordinal in _free_ordinals(seen, outcome, PodRole.PLACEHOLDER, want - len(fresh)):
            yield CreatePod(seen.name, placeholder_pod(seen.resource, ordinal, defaults))


def _free_ordinals(seen: PoolSeen, outcome: PoolOutcome, role: PodRole, count: int) -> Iterator[int]:
    """The lowest ones whose names nobody has, not even a pod that is going.

    So a plan that is made twice asks for the same pods.
    """
    ordinal = 0
    found = 0
    while found < count:
        name = pod_name(seen.resource.meta.name, outcome.members.revision, ordinal, role)
        if name not in outcome.members.taken:
            found += 1
            yield ordinal
        ordinal += 1


def _reserve(seen: PoolSeen, outcome: PoolOutcome) -> Iterator[SetReserve]:
    """Each time, where there is one, as Redis may have lost it; and once more when a spec takes it away."""
    changed = seen.resource.status.observed_generation != seen.resource.meta.generation
    if seen.store_answers and (seen.resource.spec.move_reserve or changed):
        yield SetReserve(seen.name, reserve_of(seen, outcome))


def _scaling(seen: PoolSeen, outcome: PoolOutcome) -> Iterator[ShowScaling]:
    if outcome.scaling is not None:
        yield ShowScaling(seen.name, outcome.scaling.shown, outcome.scaling.decided.asked)


def _expected(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> Iterator[ExpectWorker]:
    """Nothing where no worker starts, and where no start-up was measured: what was said before runs out."""
    if not seen.store_answers:
        return
    starting = [worker.pod.meta.created_ms for worker in outcome.members.staying if not worker.ready]
    at_ms = next_worker_ms(starting, seen.start_ups, now_ms)
    if at_ms is not None:
        yield ExpectWorker(seen.name, at_ms - now_ms)


def _status_and_what_changed(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> Iterator[Tell | WritePoolStatus]:
    meta = seen.resource.meta
    before = seen.resource.status
    status = status_of(seen, outcome, now_ms)

    # What begins or ends now. The recorder leaves out what it has just said.
    if outcome.create:
        message = f"created {outcome.create} of {outcome.want} workers, revision {outcome.members.revision}"
        yield Tell("WorkerPool", meta, "Normal", EventReason.WORKER_CREATED.value, message)
    for leaver in (*outcome.begins, *outcome.goes_on):
        told = _told_of(leaver, begins=leaver in outcome.begins)
        if told is not None and seen.store_answers:
            yield Tell("WorkerPool", meta, "Normal", told[0].value, told[1])

    # What stands in the way is told when its reason changes.
    for type_ in (
        PoolConditionType.PROGRESSING,
        PoolConditionType.SCALING_LIMITED,
        PoolConditionType.METRICS_STALE,
    ):
        now = find(status.conditions, type_)
        then = find(before.conditions, type_)
        if now is not None and now.reason in _WORTH_A_WARNING and (then is None or then.reason != now.reason):
            yield Tell("WorkerPool", meta, "Warning", now.reason, now.message)

    if status != before:
        yield WritePoolStatus(meta, status)


def _told_of(leaver: Leaver, *, begins: bool) -> tuple[EventReason, str] | None:
    """The Event about one that leaves: when its drain begins, and when nobody is left on it."""
    name = leaver.worker.name
    sessions = leaver.worker.sessions
    if not sessions:
        return EventReason.WORKER_DELETED, f"{name} is deleted: {leaver.why}"
    if begins:
        return EventReason.WORKER_DRAINING, f"{name} leaves: {leaver.why}; {sessions} sessions move first"
    return None


_WORTH_A_WARNING = frozenset(
    reason.value
    for reason in (
        PoolReason.STALLED,
        PoolReason.DRAIN_OVERDUE,
        PoolReason.QUOTA_EXCEEDED,
        PoolReason.INSUFFICIENT_GPUS,
        PoolReason.WORKERS_FAILING,
        PoolReason.AT_MAX,
        PoolReason.GPU_BUDGET,
        PoolReason.METRICS_STALE,
    )
)


def _look_again(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> Iterator[LookAgain]:
    """At the first moment at which time alone changes the plan."""
    idle = not (seen.pods or outcome.missing or outcome.surplus_since_ms)
    times = [now_ms + (LOOK_IDLE_MS if idle else LOOK_EVERY_MS)]
    if outcome.begins or outcome.goes_on:
        times.append(now_ms + DRAIN_EVERY_MS)
    if outcome.surplus_since_ms:
        times.append(outcome.surplus_since_ms + outcome.scale_in_after_ms)
    if outcome.missing and seen.create_failure is not None:
        times.append(limits.retry_at_ms(seen))
    elif outcome.missing > outcome.create:
        times.append(limits.step_at_ms(outcome.members, now_ms))
    yield LookAgain(max(min(times), now_ms + DRAIN_EVERY_MS))
