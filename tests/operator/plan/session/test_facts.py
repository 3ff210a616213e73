"""What a plan goes by: whose the record is, where the session belongs, how much of its spec the record may ask for."""

from dataclasses import replace
from typing import Any

import pytest

from genlock_core.claims.record import Granted
from genlock_operator.plan.session.facts import SessionFacts, facts_of
from tests.operator.plan.session_claims import BIG, SMALL, workers_of
from tests.operator.plan.session_world import World, living


def facts(world: World) -> SessionFacts:
    seen = world.seen()
    assert seen.resource is not None
    return facts_of(seen, seen.resource)


@pytest.mark.parametrize("uid", ["", "uid of one that was deleted"])
def test_a_record_that_another_made_is_foreign_and_gives_no_owner(uid: str) -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, uid=uid)

    found = facts(world)

    assert found.foreign == world.record
    assert (found.record, found.owner, found.choice, found.attainable) == (None, None, None, None)
    assert not found.needs_move
    assert not found.waits_to_change


def test_a_session_that_is_served_as_its_spec_says_waits_for_nothing() -> None:
    found = facts(living())

    assert found.choice is not None
    assert found.choice.pool == SMALL
    assert not found.needs_move
    assert not found.waits_to_change


def test_a_spec_that_the_owner_s_pool_cannot_serve_needs_a_move() -> None:
    world = living()
    world.apply(steps=4)

    found = facts(world)

    assert found.choice is None
    assert found.needs_move
    assert found.waits_to_change


def test_until_it_moves_only_the_shape_of_the_spec_is_held_back() -> None:
    world = living()
    world.apply(steps=4, prompt="a harbour")

    found = facts(world)

    assert found.attainable is not None
    assert (found.attainable.steps, found.attainable.prompt) == (1, "a harbour")


def test_without_an_owner_the_record_may_ask_for_all_of_the_spec() -> None:
    world = living()
    world.expire()
    world.apply(steps=4)

    found = facts(world)

    assert found.attainable == world.wanted()
    assert not found.needs_move


def test_a_larger_share_needs_a_move_only_where_the_worker_lacks_the_room() -> None:
    world = World(workers=workers_of(s0=SMALL))
    world.apply(steps=1)
    world.settle()
    world.apply(steps=2)
    assert not facts(world).needs_move

    world.workers["s0"].others = 500

    assert facts(world).needs_move


def lowered(**spec: Any) -> World:
    """A session that pays for one step of two, on a worker without room for more."""
    world = World(workers=workers_of(s0=SMALL), ceilings=True)
    world.apply(steps=2, **spec)
    world.settle()
    assert world.record is not None
    world.record = replace(world.record, cost=500, granted=Granted(1, 1))
    world.workers["s0"].others = 500
    return world


def test_a_session_that_made_room_waits_where_it_is_to_be_raised_again() -> None:
    found = facts(lowered())

    assert found.choice is not None
    assert found.choice.cost == 1_000
    assert not found.underpays
    assert not found.needs_move
    world = lowered()
    world.refusal = "its worker has no room for the change"
    assert not facts(world).waits_to_change


@pytest.mark.parametrize("approximation", [{"policy": "Never"}, {"min_steps": 2}])
def test_a_session_that_may_not_run_at_what_it_pays_for_needs_a_move(approximation: dict[str, Any]) -> None:
    found = facts(lowered(approximation=approximation))

    assert found.underpays
    assert found.needs_move


def test_a_worker_that_knows_no_levels_must_have_room_for_all_that_the_spec_asks_for() -> None:
    world = lowered()
    world.ceilings = False

    assert facts(world).needs_move


def test_a_session_of_every_second_frame_is_not_moved_either() -> None:
    world = lowered(approximation={"min_frame_rate": 8})
    assert world.record is not None
    assert world.record.pools[0].half is not None
    world.record = replace(world.record, cost=250, granted=Granted(1, 1, every=2))
    world.workers["s0"].others = 750

    assert not facts(world).needs_move


def test_a_larger_share_that_was_just_refused_is_waited_for() -> None:
    world = living()
    world.apply(steps=2)
    assert not facts(world).waits_to_change

    world.refusal = "its worker has no room for the change"

    assert facts(world).waits_to_change


def test_a_shape_that_no_pool_serves_any_more_is_waited_for() -> None:
    world = living()
    world.shapes = ()
    assert not facts(world).waits_to_change

    world.apply(steps=2)

    found = facts(world)
    assert found.waits_to_change
    assert not found.needs_move


def test_a_spec_that_cannot_be_read_changes_nothing() -> None:
    world = living(steps=4)
    assert facts(world).choice is not None
    world.mistakes = ("spec.steps: must be at most 4",)

    found = facts(world)

    assert found.owner is not None
    assert (found.placement, found.attainable) == (None, None)
    assert not found.needs_move
    assert not found.waits_to_change
    assert world.record is not None
    assert world.record.pool == BIG
