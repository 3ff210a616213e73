"""How a session ends, what stays of it and for how long; and what is said while Redis is away."""

from dataclasses import replace

import pytest

from genlock_operator.actions import (
    DeleteSession,
    LookAgain,
    WriteSessionStatus,
)
from genlock_operator.plan.session.plan import plan_session, plan_without_store
from tests.operator.plan.session_world import (
    kinds,
    living,
    only_looks_again,
)

HOUR_MS = 3_600_000


# -- the end -----------------------------------------------------------------------------------------------------------


def test_an_end_is_written_once() -> None:
    world = living()
    world.end()
    world.settle()

    assert only_looks_again(world.plan())


def test_the_object_goes_when_its_time_after_the_end_is_over() -> None:
    world = living()
    world.end()
    world.settle()
    world.now_ms += HOUR_MS

    assert kinds(world.plan()) == ["DeleteSession"]


def test_until_then_the_object_stays() -> None:
    world = living()
    world.end()
    world.settle()
    ended_ms = world.now_ms
    world.now_ms += HOUR_MS - 1

    assert world.plan() == [LookAgain(ended_ms + HOUR_MS)]


def test_an_ended_session_whose_record_was_swept_is_not_made_anew() -> None:
    world = living()
    world.end()
    world.settle()
    world.lose_record()

    assert only_looks_again(world.plan())


def test_an_ended_session_that_a_worker_brings_back_is_ended_again() -> None:
    world = living()
    before = world.record
    world.end()
    world.settle()
    world.record = before

    assert kinds(world.plan()) == ["EndSession"]


def test_only_the_object_that_was_seen_is_deleted() -> None:
    world = living()
    world.end()
    world.settle()
    world.now_ms += HOUR_MS

    assert world.plan() == [DeleteSession(world.meta)]  # type: ignore[arg-type]


# -- Redis is away -----------------------------------------------------------------------------------------------------


def test_without_redis_only_the_condition_is_written() -> None:
    world = living()
    world.go_live()
    world.settle()

    actions = plan_without_store(replace(world.seen(), record=None, worker=None), world.now_ms)

    (written,) = [action.status for action in actions if isinstance(action, WriteSessionStatus)]
    changed = {name for name, value in written if value != getattr(world.status, name)}
    assert changed == {"conditions"}


def test_without_redis_it_is_said_once() -> None:
    world = living()
    for action in plan_without_store(world.seen(), world.now_ms):
        if isinstance(action, WriteSessionStatus):
            world.status = action.status

    assert plan_without_store(world.seen(), world.now_ms + 5_000) == []


@pytest.mark.parametrize("over", ["ended", "deleted"])
def test_without_redis_nothing_is_said_of_a_session_that_is_over(over: str) -> None:
    world = living()
    world.end()
    world.settle()
    if over == "deleted":
        world.delete()

    assert plan_without_store(world.seen(), world.now_ms) == []


def test_what_redis_was_away_for_is_taken_back_when_it_answers() -> None:
    world = living()
    for action in plan_without_store(world.seen(), world.now_ms):
        if isinstance(action, WriteSessionStatus):
            world.status = action.status

    world.settle()

    assert next(one.status for one in world.status.conditions if one.type == "Assigned") == "True"


def test_a_plan_is_the_same_however_often_it_is_made() -> None:
    world = living()
    world.apply(steps=4)

    assert plan_session(world.seen(), world.now_ms) == plan_session(world.seen(), world.now_ms)
