"""What a session's plan goes by. It is established once, before anything is decided.

Every decision and every sentence of the status reads these facts, so all of them speak of the same moment, and none
of them has to ask whose record it is.
"""

from dataclasses import dataclass

from pydantic import ValidationError

from genlock_core.approximation.levels import levels_of
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.sizing.placement import Placement
from genlock_core.spec.session import ResolvedSession
from genlock_core.spec.status import SessionStatus
from genlock_operator.observed import Meta, SessionResource, SessionSeen


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """One session whose object is there: what is seen of it, and what that means."""

    seen: SessionSeen
    meta: Meta
    stored: SessionStatus
    """The status as it was written last."""
    record: SessionRecord | None
    """The record, if this object made it."""
    foreign: SessionRecord | None
    """A record of the same name that a deleted object made, or a gateway (its `uid` is "" then)."""
    owner: WorkerIdentity | None
    """The worker that has the session, by its own record."""
    placement: Placement | None
    """Where the spec could run; None if no pool can serve it, or the spec cannot be read."""
    open_choices: tuple[PoolChoice, ...]
    """The pools that it may go to: those of the model that it runs with, and all as long as it never ran."""
    choice: PoolChoice | None
    """What the placement says of the owner's pool; None without an owner, and where that pool cannot serve the spec."""
    attainable: ResolvedSession | None
    """As much of the spec as the record may ask for now. While the owner's pool cannot serve the spec, its shape stays
    that of the record. None without a record, and while the spec cannot be read."""
    underpays: bool
    """Its claim pays less than the least that its spec may run at costs where it is."""
    needs_move: bool
    """The owner cannot serve the spec as it is now: its pool does not fit, or the worker has not that much room."""
    waits_to_change: bool
    """A worker has the session, and the spec asks for more than any worker gives it now."""


def facts_of(seen: SessionSeen, resource: SessionResource) -> SessionFacts:
    """The facts of a session whose object is `resource`."""
    record, foreign = _by_whose_it_is(seen.record, resource.meta)
    owner = record.owner if record is not None else None
    placement = seen.placement if isinstance(seen.placement, Placement) else None

    choice = _choice_of(record, placement) if owner is not None else None
    attainable = _attainable(seen.session, record, may_take_shape=_may_take_shape(placement, owner, choice))
    underpays = _underpays(record, choice, seen)
    needs_move = owner is not None and placement is not None and _has_outgrown(record, choice, seen)
    return SessionFacts(
        seen=seen,
        meta=resource.meta,
        stored=stored_status(resource),
        record=record,
        foreign=foreign,
        owner=owner,
        placement=placement,
        open_choices=_open_choices(record, placement),
        choice=choice,
        attainable=attainable,
        underpays=underpays,
        needs_move=needs_move,
        waits_to_change=owner is not None
        and seen.session is not None
        and (
            needs_move
            # No pool can serve the spec as a whole, and it asks for another shape.
            or (placement is None and attainable != seen.session)
            # Its pool can serve it, and the worker has just refused the larger share.
            or (bool(seen.refusal) and underpays)
        ),
    )


def stored_status(resource: SessionResource) -> SessionStatus:
    """The status as it was written last; a field that this version cannot read is left out, never the whole."""
    given = resource.status
    try:
        return SessionStatus.model_validate(given)
    except ValidationError as error:
        unreadable = {mistake["loc"][0] for mistake in error.errors(include_url=False, include_input=False)}
        return SessionStatus.model_validate({name: value for name, value in given.items() if name not in unreadable})


def _by_whose_it_is(record: SessionRecord | None, meta: Meta) -> tuple[SessionRecord | None, SessionRecord | None]:
    """The record of this name: as this object's own, or as somebody else's."""
    if record is not None and record.uid == meta.uid:
        return record, None
    return None, record


def _open_choices(record: SessionRecord | None, placement: Placement | None) -> tuple[PoolChoice, ...]:
    choices = () if placement is None else placement.choices
    if record is None or not record.epoch:
        return choices
    return tuple(choice for choice in choices if choice.model == record.standing_in) or choices


def _choice_of(record: SessionRecord | None, placement: Placement | None) -> PoolChoice | None:
    if record is None or placement is None:
        return None
    return next((choice for choice in placement.choices if choice.pool == record.pool), None)


def _may_take_shape(placement: Placement | None, owner: WorkerIdentity | None, choice: PoolChoice | None) -> bool:
    """Whether the record may ask for all that the spec asks for: not while its worker is of another shape."""
    return placement is not None and (owner is None or choice is not None)


def _attainable(
    wanted: ResolvedSession | None, record: SessionRecord | None, *, may_take_shape: bool
) -> ResolvedSession | None:
    if wanted is None or record is None:
        return None
    if may_take_shape:
        return wanted
    # Nothing else that decides the shape can change in a spec.
    return wanted.model_copy(
        update={
            "steps": record.session.steps,
            "time_to_first_frame_ms": record.session.time_to_first_frame_ms,
            "frame_deadline_ms": record.session.frame_deadline_ms,
        }
    )


def _has_outgrown(record: SessionRecord | None, choice: PoolChoice | None, seen: SessionSeen) -> bool:
    """Whether the pool does not fit, or the worker lacks the room for the least that the spec allows there.

    What its users ask for beyond the spec waits where the session is: no stream is moved for it.
    """
    if record is None or choice is None:
        return True
    if record.is_steered:
        return False
    return seen.worker is not None and _least_cost(choice, seen) - record.cost > seen.worker.free


def _underpays(record: SessionRecord | None, choice: PoolChoice | None, seen: SessionSeen) -> bool:
    return record is not None and choice is not None and _least_cost(choice, seen) > record.cost


def _least_cost(choice: PoolChoice, seen: SessionSeen) -> int:
    """What the lowest level that the spec allows costs.

    What the spec asks for beyond it is raised where the session is, as soon as there is room. Otherwise each session
    that made room for another would be moved to get it back.

    A worker of the release before is held to no level, so there it is what the spec asks for.
    """
    session, worker = seen.session, seen.worker
    if session is None or worker is None or not worker.ceilings:
        return choice.cost
    lowest = levels_of(session)[-1]
    return choice.cost_at(lowest.steps, lowest.every if worker.halves else 1)
