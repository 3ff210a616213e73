"""What a session still needs room for: whose record it is, whether it has to move, what it asks of a pool meanwhile.

A pool's plan adds the demands up and grows; the session's own plan moves by the same rule.
"""

from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.sizing.placement import Placement
from genlock_core.spec.session import Phase, ResolvedSession
from genlock_operator.observed import Demand, SessionSeen


def own_record(seen: SessionSeen) -> SessionRecord | None:
    """The record, if it is that of the object which is there now."""
    record, resource = seen.record, seen.resource
    ours = record is not None and resource is not None and record.uid == resource.meta.uid
    return record if ours else None


def choice_here(seen: SessionSeen) -> PoolChoice | None:
    """What the placement says of the pool whose worker has the session; None: it does not belong there (any more)."""
    record = own_record(seen)
    if record is None or record.owner is None or not isinstance(seen.placement, Placement):
        return None
    return next((choice for choice in seen.placement.choices if choice.pool == record.pool), None)


def needs_move(seen: SessionSeen) -> bool:
    """A worker has it that cannot serve it as its spec is now: of another shape, or without that much room."""
    record = own_record(seen)
    if record is None or record.owner is None or not isinstance(seen.placement, Placement):
        return False
    here = choice_here(seen)
    if here is None:
        return True
    return seen.worker is not None and here.cost - record.cost > seen.worker.free


def waits_to_change(seen: SessionSeen) -> bool:
    """A worker has it, and its spec asks for more than any worker gives it now."""
    record, here = own_record(seen), choice_here(seen)
    if record is None or record.owner is None or seen.session is None:
        return False
    unplaced = not isinstance(seen.placement, Placement)
    beyond_its_shape = unplaced and in_shape_of(record.session, seen.session) != seen.session
    not_fitted = bool(seen.refusal) and here is not None and here.cost > record.cost
    return needs_move(seen) or beyond_its_shape or not_fitted


def in_shape_of(old: ResolvedSession, new: ResolvedSession) -> ResolvedSession:
    """The new spec with what decides the shape as it was; every other such field never changes."""
    return new.model_copy(
        update={
            "steps": old.steps,
            "time_to_first_frame_ms": old.time_to_first_frame_ms,
            "frame_deadline_ms": old.frame_deadline_ms,
        }
    )


def demand_of(seen: SessionSeen) -> Demand | None:
    """The room that it waits for, None if it waits for none."""
    resource, record = seen.resource, own_record(seen)
    if resource is None or resource.meta.deleting or not isinstance(seen.placement, Placement):
        return None
    if record is None and seen.record is not None:
        return None
    if record is not None and (record.finished or (record.owner is not None and not waits_to_change(seen))):
        return None
    if resource.status.get("phase") in (Phase.ENDED, Phase.FAILED):
        return None
    first = seen.placement.choices[0]
    return Demand(session=seen.name, pool=first.pool, cost=first.cost, since_ms=resource.meta.created_ms)
