"""What a session asks of a pool while it waits."""

from dataclasses import replace

import pytest

from genlock_core.sizing.candidates import PoolShape
from genlock_operator.observed import Demand
from genlock_operator.plan.session.facts import facts_of
from genlock_operator.plan.session.plan import plan_session
from genlock_operator.plan.session.why_not import why_not_assigned
from tests.operator.plan.session_claims import BIG, NOW_MS, SMALL
from tests.operator.plan.session_world import NAME, ROWS, SHAPES, World


def session(*, without_workers: bool = False) -> World:
    """A session of a minute ago."""
    world = World(workers={}) if without_workers else World()
    world.apply(steps=1)
    world.settle()
    world.now_ms += 60_000
    return world


def demand(world: World) -> Demand | None:
    return plan_session(world.seen(), world.now_ms).demand


def test_a_session_that_waits_asks_its_first_choice_since_it_was_made() -> None:
    assert demand(session(without_workers=True)) == Demand(NAME, SMALL, 500, NOW_MS)


def test_a_new_session_asks_before_it_has_a_record() -> None:
    world = World()
    world.apply(steps=4)

    assert demand(world) == Demand(NAME, BIG, 500, NOW_MS)


def test_a_session_that_a_worker_has_asks_for_nothing() -> None:
    assert demand(session()) is None


def test_a_session_that_waits_to_move_asks_where_it_would_go() -> None:
    world = session()
    world.workers["b0"].others = 1_000
    world.apply(steps=4)
    world.settle()

    assert demand(world) == Demand(NAME, BIG, 500, NOW_MS)


def test_a_session_that_lost_its_worker_asks_again() -> None:
    world = session()
    world.expire()

    assert demand(world) is not None


def test_a_session_that_ran_with_a_model_that_stands_in_asks_a_pool_of_that_model_alone() -> None:
    light = PoolShape(name="light", model="light", gpu_product="NVIDIA-H100", gpus=1, engine="mock")
    world = World(shapes=(*SHAPES, light), rows=(*ROWS, *(one.model_copy(update={"model": "light"}) for one in ROWS)))
    world.apply(steps=1, approximation={"models": ("light",)})
    first = demand(world)
    assert first is not None
    assert first.pool == SMALL
    world.settle()
    world.expire()
    assert world.record is not None
    world.record = replace(world.record, stand_in="light")
    world.refusal = "no worker has room"
    seen = world.seen()

    assert demand(world) == Demand(NAME, "light", 500, NOW_MS)
    assert seen.resource is not None
    told = why_not_assigned(facts_of(seen, seen.resource)).message
    assert "light" in told
    assert SMALL not in told


def test_a_session_that_no_pool_can_serve_asks_none() -> None:
    world = World(shapes=())
    world.apply(steps=1)

    assert demand(world) is None


@pytest.mark.parametrize("how", ["ended", "reported", "swept", "deleted"])
def test_a_session_that_is_over_asks_for_nothing(how: str) -> None:
    world = session()
    world.end()
    if how in ("reported", "swept"):
        world.settle()
    if how == "swept":
        world.lose_record()
    if how == "deleted":
        world.delete()

    assert demand(world) is None
