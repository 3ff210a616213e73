"""What is told of a session as Events: each thing once."""

from dataclasses import replace

from genlock_core.claims.facts import MoveCause
from genlock_core.spec.session import Phase
from genlock_core.spec.status import SessionStatus
from genlock_operator.actions import Tell
from genlock_operator.observed import PoolOutlook
from tests.operator.plan.session_claims import BIG, SMALL, workers_of
from tests.operator.plan.session_world import (
    World,
    live,
    living,
    only_looks_again,
    waiting,
)


def test_a_life_without_trouble_is_told_in_four_words() -> None:
    world = live()
    world.apply(prompt="a storm")
    world.settle()
    assert world.record is not None
    world.now_ms += 1_000
    world.move(world.record.epoch, MoveCause.DRAIN)
    world.settle()
    world.end()
    world.settle()

    assert world.told == [("Normal", "Assigned"), ("Normal", "Steered"), ("Normal", "Moved"), ("Normal", "Ended")]


def test_a_failure_is_a_warning() -> None:
    world = live()
    world.end(Phase.FAILED, "the engine gave it up")
    world.settle()

    assert world.told[-1] == ("Warning", "Ended")


def test_why_it_waits_is_told_once_per_reason() -> None:
    world = waiting(small=PoolOutlook(SMALL, starting=1), big=PoolOutlook(BIG, limit="AtMax", message="1 of 1"))
    for _ in range(3):
        world.now_ms += 60_000
        world.settle()
    world.outlooks[SMALL] = PoolOutlook(SMALL, starting=1, limit="InsufficientGPUs", message="0/3 nodes")
    world.settle()

    assert world.told == [("Normal", "WorkersStarting"), ("Warning", "InsufficientGPUs")]


def test_an_unplaceable_session_is_told_once_although_two_conditions_say_so() -> None:
    world = World(shapes=())
    world.apply(steps=1)
    world.settle()

    assert world.told == [("Warning", "NoPool")]


def test_a_name_that_is_taken_is_told() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, uid="")
    world.status = SessionStatus()
    world.told.clear()
    world.settle()

    assert world.told == [("Warning", "NotClaimed")]


def test_a_move_names_where_it_came_from() -> None:
    world = live()
    assert world.record is not None
    world.now_ms += 1_000
    world.move(world.record.epoch, MoveCause.SILENT)

    (told,) = [action for action in world.plan() if isinstance(action, Tell)]

    assert "worker s1" in told.message
    assert "moved from s0" in told.message


def test_what_needs_nothing_is_not_told() -> None:
    world = live()
    told = list(world.told)
    world.now_ms += 300_000
    world.workers |= workers_of(s2=SMALL)
    world.settle()

    assert world.told == told
    assert only_looks_again(world.plan())
