"""What has to be done for a plan: one limit for each session whose claim may not do as it likes. Pure.

A limit is the most that a claim may pay for. Without one a worker's next heartbeat raises its sessions into whatever
room it finds, also into a hole that was made for somebody else. So every session that a plan leaves below its request
gets a limit, also one that stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from genlock_core.approximation.levels import Ladder, Level
from genlock_core.approximation.plan import LevelCause, LevelChange, LevelPlan, Seat
from genlock_core.claims.record import SessionRecord
from genlock_core.levelling.facts import LevelFacts


class Direction(StrEnum):
    """What an order does to the level that is granted."""

    DOWN = "down"
    UP = "up"
    NONE = "none"


class ChangeCause(StrEnum):
    """Why, for metrics."""

    ADMISSION = "admission"  # somebody waits for a worker
    FAIRNESS = "fairness"  # another session of its worker has more of the room
    SURPLUS = "surplus"  # it had more than it requests
    ROOM = "room"  # there is room again


@dataclass(frozen=True, slots=True)
class LimitOrder:
    """One call of `Claims.limit`."""

    session: str
    worker: str
    epoch: int
    number: int
    """Of the grant that the plan knew: another one, and the order is void."""
    level: Level | None
    """None: no limit any more."""
    direction: Direction
    cause: ChangeCause


def orders_of(plan: LevelPlan, facts: LevelFacts, records: Mapping[str, SessionRecord]) -> tuple[LimitOrder, ...]:
    """In the order in which they have to be carried out: what holds still, then what frees room, then what takes it.

    `records` has those of all seated sessions.
    """
    ladders = {one.name: next(iter(one.ladders.values()), None) for one in facts.sessions if one.worker is not None}
    changes = {one.session: one for one in plan.changes}
    admitting = {one.worker for one in plan.changes if one.cause is LevelCause.ADMITTED}

    found: list[tuple[tuple[int, int], LimitOrder]] = []
    places = {change.session: place for place, change in enumerate(plan.changes)}
    for seat in plan.seats:
        ladder = ladders.get(seat.session)
        if ladder is None:
            continue
        change = changes.get(seat.session)
        order = _order(seat, change, ladder, records[seat.session], admits=seat.worker in admitting)
        if order is not None:
            turn = {Direction.NONE: 0, Direction.DOWN: 1, Direction.UP: 2}[order.direction]
            found.append(((turn, places.get(seat.session, 0)), order))
    return tuple(order for _, order in sorted(found, key=lambda one: (one[0], one[1].session)))


def _order(
    seat: Seat, change: LevelChange | None, ladder: Ladder, record: SessionRecord, *, admits: bool
) -> LimitOrder | None:
    """None if the claim has the limit that it needs, or needs none."""
    if seat.level is None or record.granted is None:
        return None

    is_lower = change is not None and change.cost < change.cost_before
    has_all = ladder.top.level.at_most(seat.level) == ladder.top.level
    # What it has beyond its request is taken by a limit, too: the claim itself would wait before it gives that back.
    wanted = None if has_all and not is_lower else seat.level
    limit = None if record.limit is None else Level(record.limit.steps, every=record.limit.every)
    if change is None and wanted == limit:
        return None

    direction = Direction.NONE
    if is_lower:
        direction = Direction.DOWN
    elif change is not None or wanted is None:
        direction = Direction.UP
    return LimitOrder(
        session=seat.session,
        worker=seat.worker,
        epoch=record.epoch,
        number=record.granted.number,
        level=wanted,
        direction=direction,
        cause=_cause(change, direction, admits=admits),
    )


def _cause(change: LevelChange | None, direction: Direction, *, admits: bool) -> ChangeCause:
    if direction is not Direction.DOWN:
        return ChangeCause.ROOM
    if change is not None and change.cause is LevelCause.GIVEN_BACK:
        return ChangeCause.SURPLUS
    return ChangeCause.ADMISSION if admits else ChangeCause.FAIRNESS
