"""What becomes of a pool now: who stays, who leaves and why, how many are wanted, how many to create, what limits it.

It is decided in this order: who cannot stay, how many are wanted then, which of the others are too many, which of the
old revision are relieved. Each decision sees the pool without those who leave by the one before. `plan` makes actions
of the outcome, `status` tells it.
"""

from dataclasses import dataclass

from genlock_operator.autoscale.stabilise import least_to_keep
from genlock_operator.observed import PoolSeen
from genlock_operator.plan.conditions import milliseconds
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.plan.pool import drain, limits, rollout, scale
from genlock_operator.plan.pool.drain import Leaver
from genlock_operator.plan.pool.limits import Limit, Wish
from genlock_operator.plan.pool.members import Member, Members, members_of
from genlock_operator.plan.pool.pods import revision
from genlock_operator.plan.pool.scaling import Scaling, scaling_of, waiting_costs


@dataclass(frozen=True, slots=True)
class PoolOutcome:
    """All that is decided about a pool at one moment."""

    before: Members
    """The pool as it is seen."""
    members: Members
    """The pool once all who are to leave are on their way."""
    want: int
    """How many workers there should be."""
    scaling: Scaling | None
    """What says so; None while Redis is away."""
    begins: tuple[Leaver, ...]
    """Who starts to leave now."""
    goes_on: tuple[Leaver, ...]
    """Who was leaving already, or has come to an end."""
    missing: int
    """Workers still to be created."""
    create: int
    """How many of these to create now."""
    surplus_since_ms: int
    """Since when there are too many; 0 while there are not."""
    scale_in_after_ms: int
    """How long there must be too many before one goes."""
    stalled: tuple[Member, ...]
    """Workers of the template's revision that should have been ready long ago."""
    limit: Limit | None
    """What keeps the pool from growing."""


def outcome_of(seen: PoolSeen, now_ms: int, defaults: WorkerDefaults) -> PoolOutcome:
    """Everything decided, nothing done.

    While Redis is away nobody begins to leave: one that cannot be seen out would be replaced and stay.
    """
    spec = seen.resource.spec
    store = seen.store_answers
    before = members_of(seen, revision(seen.resource, defaults))

    # Who cannot stay, whatever the scale.
    forced = drain.must_leave(before, seen, defaults, now_ms) if store else ()
    useless = [
        Leaver(worker, "it is of an old revision and never got ready")
        for worker in (rollout.useless(before) if store else ())
        if not any(worker == leaver.worker for leaver in forced)
    ]
    members = _without(before, [*forced, *useless])

    # How many are wanted, counting only those that can stay.
    scaling = scaling_of(members, seen, now_ms) if store else None
    wish = wish_of(scaling, seen)

    # Which of them are too many, and which of the old revision a new one relieves.
    since_ms = _surplus_since(seen, scaling, scale.surplus(members, spec, wish.want), now_ms)
    too_many = _too_many(members, seen, scaling, since_ms, now_ms) if scaling is not None else ()
    members = _without(members, too_many)
    relieved = [
        Leaver(worker, "a worker of the new revision took its place")
        for worker in (rollout.relieved(members, spec, wish.want, now_ms) if store else ())
    ]
    members = _without(members, relieved)

    missing = scale.missing(members, spec, wish.want)
    return PoolOutcome(
        before=before,
        members=members,
        want=wish.want,
        scaling=scaling,
        begins=(*forced, *useless, *too_many, *relieved),
        goes_on=(
            *(Leaver(worker, "its drain goes on") for worker in before.leaving),
            *drain.finished(before, now_ms),
        ),
        missing=missing,
        create=limits.may_create(members, seen, missing, now_ms),
        surplus_since_ms=since_ms,
        scale_in_after_ms=scaling.decided.scale_in_after_ms if scaling is not None else spec.scale_in_after,
        stalled=rollout.stalled(members, spec, now_ms),
        limit=limits.limit_of(members, seen, missing=missing, wish=wish, now_ms=now_ms),
    )


def _without(members: Members, leavers: "list[Leaver] | tuple[Leaver, ...]") -> Members:
    return members.without([leaver.worker for leaver in leavers]) if leavers else members


def wish_of(scaling: Scaling | None, seen: PoolSeen) -> Wish:
    """How many workers this pool wants, and would want without bounds.

    While Redis is away nobody knows what the sessions need: then it is no fewer than before.
    """
    spec = seen.resource.spec
    if scaling is None:
        asked = max(spec.replicas, spec.min, min(seen.resource.status.desired, spec.max))
        return Wish(asked=asked, cap=spec.max, most=spec.max)

    # While nobody can count, a share of the budget that shrinks is no reason to go.
    decided = scaling.decided
    return Wish(asked=decided.asked, cap=max(decided.cap, decided.desired), most=spec.max)


def _surplus_since(seen: PoolSeen, scaling: Scaling | None, count: int, now_ms: int) -> int:
    """While nobody can count, no time passes for a surplus."""
    if not count or (scaling is not None and scaling.decided.holds):
        return 0
    known = seen.resource.status.surplus_since
    return milliseconds(known) if known else now_ms


def _too_many(members: Members, seen: PoolSeen, scaling: Scaling, since_ms: int, now_ms: int) -> tuple[Leaver, ...]:
    """Who leaves of those that are too many: above `max` at once, else only once it has lasted, and no more than there
    were too many all the while."""
    spec = seen.resource.spec
    decided = scaling.decided
    if not scale.surplus(members, spec, decided.desired):
        return ()
    kept = least_to_keep(
        seen.traffic.wanted if seen.traffic is not None else (),
        now_ms / 1_000,
        decided.scale_in_after_ms / 1_000,
        staying=len(members.staying),
        desired=decided.desired,
    )
    count = scale.surplus(members, spec, max(decided.desired, min(kept, decided.cap)))
    lasted = not decided.holds and now_ms - since_ms >= decided.scale_in_after_ms
    above_max = len(members.staying) - spec.max - (spec.rollout.surge if members.outdated else 0)
    chosen = scale.victims(members, spec, waiting_costs(seen), count if lasted else max(above_max, 0), by=decided)
    return tuple(Leaver(worker, f"{decided.desired} workers are enough") for worker in chosen)
