"""A pool's status: what is counted, and conditions that say what a person would want to know."""

from genlock_core.claims.facts import WorkerState
from genlock_core.claims.identity import CAPACITY
from genlock_core.spec.pool import AutoscalingStatus, PoolConditionType, WorkerPoolStatus
from genlock_operator.observed import PoolSeen
from genlock_operator.plan.conditions import ConditionVerdict, conditions, no, timestamp, yes
from genlock_operator.plan.pool import drain
from genlock_operator.plan.pool.members import Member
from genlock_operator.plan.pool.outcome import PoolOutcome
from genlock_operator.plan.pool.pods import selector
from genlock_operator.plan.pool.start_up import start_up_figures
from genlock_operator.reasons import PoolReason


def status_of(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> WorkerPoolStatus:
    """The status as it should be written. While Redis is away, what Redis alone knows stays as it was."""
    resource = seen.resource
    members = outcome.members
    before = resource.status
    there = (*members.staying, *members.leaving)
    views = [worker.view for worker in there if worker.view is not None]
    known = seen.store_answers
    free = sum(worker.view.free for worker in members.staying if worker.ready and worker.view is not None)
    return WorkerPoolStatus(
        observed_generation=resource.meta.generation,
        selector=selector(resource.meta.name),
        revision=members.revision,
        replicas=len(members.staying),
        desired=outcome.want,
        ready=ready_count(seen, outcome),
        updated=len(members.current),
        serving=sum(bool(view.sessions) for view in views) if known else before.serving,
        draining=len(members.leaving),
        placeholders=len(members.placeholders),
        sessions=sum(len(view.sessions) for view in views) if known else before.sessions,
        waiting=sum(one.pool == seen.name for one in seen.demand) if known else before.waiting,
        free=round(free / CAPACITY, 3) if known else before.free,
        surplus_since=timestamp(outcome.surplus_since_ms) if outcome.surplus_since_ms else None,
        autoscaling=_autoscaling(seen, outcome, now_ms),
        # A new leader has seen nobody start; what the last one saw says more than nothing.
        start_up=start_up_figures(seen.start_ups) or before.start_up,
        conditions=conditions(
            before.conditions,
            [
                _available(seen, outcome),
                _progressing(seen, outcome, now_ms),
                _limited(outcome),
                _metrics_stale(seen, outcome),
                _stabilizing(outcome),
            ],
            generation=resource.meta.generation,
            now_ms=now_ms,
        ),
    )


def ready_count(seen: PoolSeen, outcome: PoolOutcome) -> int:
    """Workers that take sessions; while Redis is away, those that their kubelets call ready."""
    staying = outcome.members.staying
    return sum(worker.ready if seen.store_answers else worker.pod.ready for worker in staying)


def reserve_of(seen: PoolSeen, outcome: PoolOutcome) -> int:
    """What only moves may use, in thousandths of a worker: a share of what the ready workers can do."""
    ready = [worker.view for worker in outcome.members.staying if worker.ready and worker.view is not None]
    return int(
        seen.resource.spec.move_reserve * sum(view.capacity for view in ready if view.state is WorkerState.READY)
    )


def _available(seen: PoolSeen, outcome: PoolOutcome) -> ConditionVerdict:
    ready = ready_count(seen, outcome)
    away = "" if seen.store_answers else "; Redis does not answer, nothing is drained meanwhile"
    message = f"{ready} of {outcome.want} workers are ready{away}"
    enough = ready >= outcome.want
    return ConditionVerdict(
        PoolConditionType.AVAILABLE, enough, PoolReason.READY if enough else PoolReason.TOO_FEW, message
    )


def _progressing(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> ConditionVerdict:
    members = outcome.members
    spec = seen.resource.spec
    late = drain.overdue(outcome.before, spec.drain.timeout, now_ms)
    old = members.outdated
    starting = [one for one in members.staying if not one.pod.ready]

    def verdict(reason: PoolReason, message: str, *, holds: bool = True) -> ConditionVerdict:
        return ConditionVerdict(PoolConditionType.PROGRESSING, holds, reason, message)

    if outcome.stalled:
        minutes = spec.rollout.stalled_after // 60_000
        served = "; the old ones serve on" if old else ""
        message = f"not ready after {minutes} min: {_names(outcome.stalled)}{served}"
        return verdict(PoolReason.STALLED, message, holds=False)
    if late:
        sessions = sum(worker.sessions for worker in late)
        message = f"{sessions} sessions find no room elsewhere, they are served on by {_names(late)}"
        return verdict(PoolReason.DRAIN_OVERDUE, message)
    if old:
        message = f"{len(members.current)} workers run the new revision, {len(old)} an old one"
        return verdict(PoolReason.ROLLING_OUT, message)
    if members.leaving:
        return verdict(PoolReason.DRAINING, f"leaving: {_names(members.leaving)}")
    if starting or outcome.missing:
        message = f"{len(starting)} workers start, {outcome.missing} are to be created"
        return verdict(PoolReason.STARTING, message)
    return verdict(PoolReason.SETTLED, "nothing to do", holds=False)


def _limited(outcome: PoolOutcome) -> ConditionVerdict:
    if outcome.limit is None:
        return no(PoolConditionType.SCALING_LIMITED, PoolReason.UNLIMITED, "nothing keeps it from growing")
    return yes(PoolConditionType.SCALING_LIMITED, outcome.limit.reason, outcome.limit.message)


def _metrics_stale(seen: PoolSeen, outcome: PoolOutcome) -> ConditionVerdict:
    if not seen.store_answers:
        message = "Redis does not answer, so nobody counts; no worker leaves meanwhile"
        return yes(PoolConditionType.METRICS_STALE, PoolReason.METRICS_STALE, message)
    if outcome.scaling is not None and outcome.scaling.shown.stale:
        held = "; no worker leaves for want of sessions meanwhile" if outcome.scaling.decided.holds else ""
        message = f"the counters are older than a minute{held}"
        return yes(PoolConditionType.METRICS_STALE, PoolReason.METRICS_STALE, message)
    return no(PoolConditionType.METRICS_STALE, PoolReason.METRICS_FRESH, "who comes and goes is known")


def _stabilizing(outcome: PoolOutcome) -> ConditionVerdict:
    if outcome.surplus_since_ms:
        seconds = outcome.scale_in_after_ms / 1_000
        message = f"{outcome.want} workers are enough; one leaves once that has lasted for {seconds:g} s"
        return yes(PoolConditionType.STABILIZING, PoolReason.TOO_MANY, message)
    return no(PoolConditionType.STABILIZING, PoolReason.ENOUGH, "there are no more workers than are wanted")


def _autoscaling(seen: PoolSeen, outcome: PoolOutcome, now_ms: int) -> AutoscalingStatus | None:
    """What it says, and since when; while Redis is away what it said before."""
    before = seen.resource.status.autoscaling
    if outcome.scaling is None:
        return before
    shown = outcome.scaling.shown
    if before is not None and (before.desired, before.reason) == (shown.desired, shown.reason.value):
        return before
    return AutoscalingStatus(desired=shown.desired, reason=shown.reason.value, since=timestamp(now_ms))


def _names(workers: "tuple[Member, ...] | list[Member]") -> str:
    """Up to three of them by name."""
    names = ", ".join(worker.name for worker in workers[:3])
    return names if len(workers) <= 3 else f"{names} and {len(workers) - 3} more"
