"""Why a session is not placed, or not assigned: one word for programs and a sentence that says what would help.

Pure reading of what is seen: sizing says which pools could serve it at all, their outlooks say what keeps them from
growing. The reasons themselves are explained in `reasons`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from genlock_core.sizing.placement import Placement, Unplaceable
from genlock_operator.observed import PoolOutlook, SessionSeen
from genlock_operator.plan.session.demand import own_record
from genlock_operator.reasons import Reason

NEEDS_A_PERSON: Final = frozenset(
    {
        Reason.INVALID,
        Reason.NO_PROFILE,
        Reason.NO_POOL,
        Reason.NO_POOL_OF_SHAPE,
        Reason.POOL_FULL,
        Reason.QUOTA_EXCEEDED,
        Reason.INSUFFICIENT_GPUS,
        Reason.WORKERS_FAILING,
        Reason.NEEDS_MOVE,
        Reason.NOT_CLAIMED,
        Reason.STORE_AWAY,
    }
)
"""These are told as warnings: they do not go away by waiting alone."""

_LIMITS: Final[Mapping[str, Reason]] = {
    "AtMax": Reason.POOL_FULL,
    "QuotaExceeded": Reason.QUOTA_EXCEEDED,
    "InsufficientGPUs": Reason.INSUFFICIENT_GPUS,
    "WorkersFailing": Reason.WORKERS_FAILING,
}
_ADVICE: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.POOL_FULL: ("is full", "raise its spec.max, or end sessions"),
    Reason.QUOTA_EXCEEDED: ("may not create another worker", "raise the ResourceQuota of its namespace"),
    Reason.INSUFFICIENT_GPUS: ("finds no node for its next worker", "add nodes with free GPUs, or free some"),
    Reason.WORKERS_FAILING: ("has workers that do not start", "mend their image or template"),
}
_HOPELESS: Final = frozenset({Reason.INSUFFICIENT_GPUS, Reason.WORKERS_FAILING})
"""Limits of workers that exist already: that some are starting is no hope then."""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """A reason and its sentence."""

    reason: Reason
    message: str


def why_not_placed(seen: SessionSeen) -> WhyNot | None:
    """Why no pool can serve it, None if one can."""
    if seen.session is None:
        mistakes = "; ".join(seen.mistakes) or "no reason is known"
        return WhyNot(Reason.INVALID, f"the spec cannot be read: {mistakes}")
    if isinstance(seen.placement, Unplaceable):
        return WhyNot(Reason(seen.placement.kind), str(seen.placement))
    if seen.placement is None:
        return WhyNot(Reason.NO_POOL, f"no pool for the model {seen.session.model} is known yet")
    return None


def why_not_assigned(seen: SessionSeen) -> WhyNot:
    """Why no worker has it, pool by pool."""
    if seen.record is not None and own_record(seen) is None:
        return WhyNot(
            Reason.NOT_CLAIMED,
            f"a session named {seen.name} is there already that no StreamSession made; end it at a gateway "
            f"(DELETE /api/v1/sessions/{seen.name}), or choose another name",
        )
    unplaced = why_not_placed(seen)
    if unplaced is not None:
        return unplaced
    if not seen.refusal:
        return WhyNot(Reason.NOT_CLAIMED, "no worker was asked yet")
    return _no_room(seen)


def why_not_moved(seen: SessionSeen) -> WhyNot:
    """Why it serves on as it was, although its spec asks for something else."""
    unplaced = why_not_placed(seen)
    there = unplaced.message if unplaced is not None else _no_room(seen).message
    return WhyNot(Reason.NEEDS_MOVE, f"it serves on as before; what the spec asks for now has to wait: {there}")


def _no_room(seen: SessionSeen) -> WhyNot:
    """By the most hopeful pool; among pools without hope by the first choice."""
    assert isinstance(seen.placement, Placement)
    pools = [(choice.pool, seen.outlooks.get(choice.pool)) for choice in seen.placement.choices]
    found = [_of_pool(pool, outlook, seen.refusal) for pool, outlook in pools]
    hopeful = next((one for one in found if one.reason is Reason.WORKERS_STARTING), found[0])
    return WhyNot(hopeful.reason, "; ".join(one.message for one in found))


def _of_pool(pool: str, outlook: PoolOutlook | None, refusal: str) -> WhyNot:
    if outlook is None:
        return WhyNot(Reason.POOL_FULL, f"pool {pool} has no room: {refusal or 'no worker could take it'}")
    limit = _LIMITS.get(outlook.limit)
    if limit is None or (outlook.starting and limit not in _HOPELESS):
        on_the_way = f"{outlook.starting} starting" if outlook.starting else "another one is asked for"
        return WhyNot(Reason.WORKERS_STARTING, f"pool {pool} has no free worker, {on_the_way}")
    what, advice = _ADVICE[limit]
    return WhyNot(limit, f"pool {pool} {what}{f': {outlook.message}' if outlook.message else ''}; {advice}")
