"""What autoscaling is told of a pool, and what it says: from the pool's members to a recommendation.

It stands between `members`, which know the pool as it is, and `autoscale`, which knows nothing of pods.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genlock_core.claims.identity import CAPACITY
from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.autoscale.recommend import (
    Measured,
    Recommendation,
    as_replicas_say,
    recommend,
    recommend_by_need,
)
from genlock_operator.observed import PoolSeen
from genlock_operator.plan.pool import scale
from genlock_operator.plan.pool.members import Members
from genlock_operator.plan.pool.start_up import total_p95_s


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many workers the pool is to have, and how many autoscaling would give it: the same with the mode SLO."""

    decided: Recommendation
    shown: Recommendation


def scaling_of(members: Members, seen: PoolSeen, now_ms: int) -> Scaling:
    """By what is seen now; Redis must answer."""
    spec = seen.resource.spec
    measured = measured_of(members, seen)
    budget = seen.traffic.budget if seen.traffic is not None else None
    by_need = recommend_by_need(measured, spec, now_ms, budget=budget)
    shown = by_need if seen.traffic is None else recommend(measured, spec, now_ms, budget=budget)
    match spec.autoscaling.mode:
        case ScalingMode.SLO:
            return Scaling(shown, shown)
        case ScalingMode.RECOMMEND:
            return Scaling(by_need, shown)
        case ScalingMode.EXTERNAL:
            return Scaling(as_replicas_say(measured, spec, budget=budget), shown)


def measured_of(members: Members, seen: PoolSeen) -> Measured:
    """The pool in the words of autoscaling."""
    traffic = seen.traffic
    waiting = waiting_costs(seen)
    need = scale.need_of(members, seen.resource.spec, waiting)
    asked = sum(cost.asked for cost in seen.costs.values())
    lowest = sum(cost.lowest for cost in seen.costs.values())
    return Measured(
        need=need.workers,
        # A session that is larger than a worker has one of its own, and leaves no room in it.
        loads=tuple(min(load, CAPACITY) for load in need.loads),
        staying=len(members.staying),
        before=seen.resource.status.desired,
        waiting=len(waiting),
        session_cost=traffic.session_cost if traffic is not None else CAPACITY,
        lowest_share=lowest / asked if 0 < lowest < asked else 1.0,
        flow=traffic.flow if traffic is not None else None,
        start_up_s=start_up_s(seen),
        age_s=traffic.age_s if traffic is not None else 0.0,
    )


def start_up_s(seen: PoolSeen) -> float | None:
    """What a new worker takes until it serves (p95): of the last that were seen, else as the status has it."""
    told = sum(phase.p95 for phase in seen.resource.status.start_up)
    return total_p95_s(seen.start_ups) or told or None


def waiting_costs(seen: PoolSeen) -> Sequence[int]:
    """What the sessions that wait for the pool would take of it."""
    return [one.cost for one in seen.demand if one.pool == seen.name]
