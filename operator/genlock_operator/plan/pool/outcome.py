"""What becomes of a pool now: who stays, who leaves and why, how many are wanted, how many to create, what limits it.

Decided in this order: who cannot stay, how many are wanted then, which of the others are too many, which of the old
revision are relieved. `pool` makes actions of it, `pool_status` tells it.
"""

from dataclasses import dataclass

from genlock_operator.observed import PoolSeen
from genlock_operator.plan.conditions import milliseconds
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.plan.pool import drain, limits, rollout, scale
from genlock_operator.plan.pool.drain import Leaver
from genlock_operator.plan.pool.limits import Limit
from genlock_operator.plan.pool.members import Member, Members, roster_of
from genlock_operator.plan.pool.pods import revision


@dataclass(frozen=True, slots=True)
class PoolOutcome:
    """`before`: the pool as it is seen; `roster`: the pool once all who are to leave are on their way.

    `begins`: who starts to leave now; `goes_on`: who was leaving already or has come to an end. `surplus_since_ms`: 0
    while there are not too many.
    """

    before: Members
    roster: Members
    want: int
    begins: tuple[Leaver, ...]
    goes_on: tuple[Leaver, ...]
    missing: int
    create: int
    surplus_since_ms: int
    stalled: tuple[Member, ...]
    limit: Limit | None


def course_of(seen: PoolSeen, now_ms: int, defaults: WorkerDefaults) -> PoolOutcome:
    """Everything decided, nothing done. While Redis is away nobody begins to leave: one that cannot be seen out would
    be replaced and stay."""
    spec, store = seen.resource.spec, seen.store_answers
    before = roster_of(seen, revision(seen.resource, defaults))
    forced = drain.must_leave(before, seen, defaults, now_ms) if store else ()
    useless = [
        Leaver(worker, "it is of an old revision and never got ready")
        for worker in (rollout.useless(before) if store else ())
        if not any(worker == leaver.worker for leaver in forced)
    ]
    roster = _without(before, [*forced, *useless])
    asked = asked_by(roster, seen)
    want = min(asked, spec.max)

    since_ms = _surplus_since(seen, scale.surplus(roster, spec, want), now_ms)
    too_many = _too_many(roster, seen, want, since_ms, now_ms) if store else ()
    roster = _without(roster, too_many)
    relieved = [
        Leaver(worker, "a worker of the new revision took its place")
        for worker in (rollout.relieved(roster, spec, want, now_ms) if store else ())
    ]
    roster = _without(roster, relieved)

    missing = scale.missing(roster, spec, want)
    return PoolOutcome(
        before=before,
        roster=roster,
        want=want,
        begins=(*forced, *useless, *too_many, *relieved),
        goes_on=(
            *(Leaver(worker, "its drain goes on") for worker in before.leaving),
            *drain.finished(before, now_ms),
        ),
        missing=missing,
        create=limits.may_create(roster, seen, missing, now_ms),
        surplus_since_ms=since_ms,
        stalled=rollout.stalled(roster, spec, now_ms),
        limit=limits.limit_of(roster, seen, missing=missing, asked=asked, now_ms=now_ms),
    )


def _without(roster: Members, leavers: "list[Leaver] | tuple[Leaver, ...]") -> Members:
    return roster.without([leaver.worker for leaver in leavers]) if leavers else roster


def asked_by(roster: Members, seen: PoolSeen) -> int:
    """How many workers this pool would have, were there no max.

    While Redis is away nobody knows what the sessions need: then it is no fewer than before.
    """
    spec = seen.resource.spec
    if not seen.store_answers:
        return max(spec.replicas, spec.min, min(seen.resource.status.desired, spec.max))
    return scale.asked_for(spec, scale.need_of(roster, spec, _waiting(seen)))


def _waiting(seen: PoolSeen) -> list[int]:
    return [one.cost for one in seen.demand if one.pool == seen.name]


def _surplus_since(seen: PoolSeen, count: int, now_ms: int) -> int:
    if not count:
        return 0
    known = seen.resource.status.surplus_since
    return milliseconds(known) if known else now_ms


def _too_many(roster: Members, seen: PoolSeen, want: int, since_ms: int, now_ms: int) -> tuple[Leaver, ...]:
    """Who leaves of those that are too many: above `max` at once, else only once it has lasted."""
    spec = seen.resource.spec
    count = scale.surplus(roster, spec, want)
    if not count:
        return ()
    lasted = now_ms - since_ms >= spec.scale_in_after
    above_max = len(roster.staying) - spec.max - (spec.rollout.surge if roster.outdated else 0)
    chosen = scale.victims(roster, spec, _waiting(seen), count if lasted else max(above_max, 0))
    return tuple(Leaver(worker, f"{want} workers are enough") for worker in chosen)
