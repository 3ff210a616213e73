"""A plan becomes limits, in the order in which they have to be set."""

from collections.abc import Sequence

from genlock_core.approximation.levels import Level
from genlock_core.claims.record import SessionRecord
from genlock_core.levelling.facts import Reserved
from genlock_core.levelling.orders import ChangeCause, Direction, LimitOrder
from genlock_core.levelling.planning import Reading, plan_of
from tests.core.levelling.world import NOW_MS, owned, view, waiting_record, waits


def orders(records: Sequence[SessionRecord], *, wait: Sequence[SessionRecord] = ()) -> tuple[LimitOrder, ...]:
    """What a plan of one worker with these sessions leads to."""
    known = {one.name: one for one in records}
    return plan_of(Reading(NOW_MS, [view("w", *records)], known, [waits(one) for one in wait], Reserved())).orders


def told(found: Sequence[LimitOrder]) -> list[tuple[str, int | None, Direction, ChangeCause]]:
    short = (one.session.removeprefix("default/") for one in found)
    return [
        (name, None if one.level is None else one.level.steps, one.direction, one.cause)
        for name, one in zip(short, found, strict=True)
    ]


def test_nobody_is_ordered_anything_while_all_have_what_they_ask_for() -> None:
    assert orders([owned(name) for name in "abcd"]) == ()


def test_an_order_names_the_grant_that_the_plan_knew() -> None:
    (order,) = orders([owned("a", 2, limit=2)])
    assert (order.epoch, order.number) == (7, 11)


def test_a_hole_is_made_for_who_waits() -> None:
    found = orders([owned(name) for name in "abcd"], wait=[waiting_record("x", steps=1)])
    assert [(one.direction, one.cause) for one in found] == [(Direction.DOWN, ChangeCause.ADMISSION)]
    assert found[0].level == Level(1)


def test_who_is_left_below_its_request_is_limited_before_anybody_makes_room() -> None:
    """Else its heartbeat would take the room for itself."""
    low = owned("low", 2, changed_ms=NOW_MS - 1_000)
    found = orders([*(owned(name) for name in "abc"), low], wait=[waiting_record("x", steps=1)])
    assert found[0].session == low.name
    assert (found[0].direction, found[0].level) == (Direction.NONE, Level(2))


def test_who_is_limited_already_is_not_limited_again() -> None:
    low = owned("low", 2, limit=2, changed_ms=NOW_MS - 1_000)
    assert orders([*(owned(name) for name in "abc"), low]) == ()


def test_with_room_again_the_limit_goes() -> None:
    assert told(orders([owned("a", 1, limit=1)])) == [("a", None, Direction.UP, ChangeCause.ROOM)]


def test_a_limit_that_is_not_needed_any_more_goes_also_where_nothing_changes() -> None:
    assert told(orders([owned("a", 2, limit=2, wish=2)])) == [("a", None, Direction.UP, ChangeCause.ROOM)]


def test_who_gives_way_comes_before_who_is_raised() -> None:
    found = orders([owned("a"), owned("b"), owned("c"), owned("low", 1), owned("e", 1)])
    directions = [one.direction for one in found]
    assert directions == sorted(directions, key=[Direction.NONE, Direction.DOWN, Direction.UP].index)


def test_what_nobody_requests_is_taken_by_a_limit_while_somebody_waits() -> None:
    records = [owned("spare", 4, wish=1), *(owned(name) for name in "abc")]
    (order,) = orders(records, wait=[waiting_record("x", steps=1)])
    assert told([order]) == [("spare", 1, Direction.DOWN, ChangeCause.SURPLUS)]
