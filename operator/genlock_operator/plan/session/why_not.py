"""Why a session is not placed, not assigned or not moved: a word for programs and a sentence that says what would help.

Sizing says which pools could serve the session at all; their outlooks say what keeps them from growing. All of it is
found before the status is written, so that the status only puts it down. The reasons are explained in `reasons`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from genlock_core.errors import Overloaded
from genlock_core.sizing.placement import Unplaceable
from genlock_operator.observed import PoolOutlook
from genlock_operator.plan.session.facts import SessionFacts
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
    "GPUBudget": Reason.POOL_FULL,
    "QuotaExceeded": Reason.QUOTA_EXCEEDED,
    "InsufficientGPUs": Reason.INSUFFICIENT_GPUS,
    "WorkersFailing": Reason.WORKERS_FAILING,
}
_ADVICE: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.POOL_FULL: ("is full", "raise its spec.max or the GPU budget, or end sessions"),
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


@dataclass(frozen=True, slots=True)
class Hindrances:
    """What stands between a session and its worker; each is None where nothing does."""

    placing: WhyNot | None
    """No pool can serve it."""
    assigning: WhyNot | None
    """No worker has it."""
    moving: WhyNot | None
    """Its worker serves it as before, although its spec asks for something else."""


def hindrances_of(facts: SessionFacts) -> Hindrances:
    """All that stands in its way."""
    return Hindrances(
        placing=why_not_placed(facts),
        assigning=why_not_assigned(facts) if facts.owner is None else None,
        moving=why_not_moved(facts) if facts.waits_to_change else None,
    )


def why_not_placed(facts: SessionFacts) -> WhyNot | None:
    """Why no pool can serve it, None if one can."""
    seen = facts.seen
    if seen.session is None:
        mistakes = "; ".join(seen.mistakes) or "no reason is known"
        return WhyNot(Reason.INVALID, f"the spec cannot be read: {mistakes}")
    if isinstance(seen.placement, Unplaceable):
        return WhyNot(Reason(seen.placement.kind), str(seen.placement))
    if facts.placement is None:
        return WhyNot(Reason.NO_POOL, f"no pool for the model {seen.session.model} is known yet")
    return None


def why_not_assigned(facts: SessionFacts) -> WhyNot:
    """Why no worker has it, pool by pool."""
    name = facts.seen.name
    if facts.foreign is not None:
        return WhyNot(
            Reason.NOT_CLAIMED,
            f"a session named {name} is there already that no StreamSession made; end it at a gateway "
            f"(DELETE /api/v1/sessions/{name}), or choose another name",
        )
    unplaced = why_not_placed(facts)
    if unplaced is not None:
        return unplaced
    if not facts.seen.refusal:
        return WhyNot(Reason.NOT_CLAIMED, "no worker was asked yet")
    return _no_room(facts)


def why_not_moved(facts: SessionFacts) -> WhyNot:
    """Why it serves on as it was, although its spec asks for something else."""
    why = why_not_placed(facts) or _no_room(facts)
    return WhyNot(Reason.NEEDS_MOVE, f"it serves on as before; what the spec asks for now has to wait: {why.message}")


def _no_room(facts: SessionFacts) -> WhyNot:
    """By the most hopeful pool; among pools without hope by the first choice."""
    pools = [(choice.pool, facts.seen.outlooks.get(choice.pool)) for choice in facts.open_choices]
    found = [_of_pool(pool, outlook, facts.seen.refusal) for pool, outlook in pools]
    message = "; ".join(one.message for one in found)
    if facts.seen.refusal == Overloaded.REASON:
        return WhyNot(Reason.OVERLOADED, f"{Overloaded.REASON}; {message}")
    hopeful = next((one for one in found if one.reason is Reason.WORKERS_STARTING), found[0])
    return WhyNot(hopeful.reason, message)


def _of_pool(pool: str, outlook: PoolOutlook | None, refusal: str) -> WhyNot:
    if outlook is None:
        return WhyNot(Reason.POOL_FULL, f"pool {pool} has no room: {refusal or 'no worker could take it'}")
    limit = _LIMITS.get(outlook.limit)
    if limit is None or (outlook.starting and limit not in _HOPELESS):
        on_the_way = f"{outlook.starting} starting" if outlook.starting else "another one is asked for"
        return WhyNot(Reason.WORKERS_STARTING, f"pool {pool} has no free worker, {on_the_way}")
    what, advice = _ADVICE[limit]
    return WhyNot(limit, f"pool {pool} {what}{f': {outlook.message}' if outlook.message else ''}; {advice}")
