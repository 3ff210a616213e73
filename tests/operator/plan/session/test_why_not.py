"""Why a session is not placed, or not assigned: the word for programs and what the sentence names."""

from dataclasses import replace

import pytest

from genlock_core.errors import Overloaded
from genlock_core.sizing.candidates import PoolShape
from genlock_operator.observed import PoolOutlook
from genlock_operator.plan.session.facts import SessionFacts, facts_of
from genlock_operator.plan.session.why_not import WhyNot, why_not_assigned, why_not_moved, why_not_placed
from genlock_operator.reasons import Reason
from tests.operator.plan.session_claims import BIG, SMALL
from tests.operator.plan.session_world import NAME, SHAPES, World

REFUSED = "no worker of pool studio/small has 500 thousandths free"


def facts(world: World) -> SessionFacts:
    seen = world.seen()
    assert seen.resource is not None
    return facts_of(seen, seen.resource)


def refused(*outlooks: PoolOutlook, **spec: object) -> WhyNot:
    """Why a session waits that no worker had room for."""
    world = World(workers={}, outlooks={outlook.name: outlook for outlook in outlooks}, refusal=REFUSED)
    world.apply(**({"steps": 1} | spec))
    return why_not_assigned(facts(world))


def unplaced(*shapes: PoolShape, **spec: object) -> WhyNot:
    world = World(shapes=shapes)
    world.apply(**spec)
    found = why_not_placed(facts(world))
    assert found is not None
    return found


def at_max(pool: str) -> PoolOutlook:
    return PoolOutlook(pool, limit="AtMax", message="4 of 4 workers busy, its max is 4")


# -- not placed --------------------------------------------------------------------------------------------------------


def test_a_spec_with_mistakes_names_each() -> None:
    world = World(mistakes=("spec.steps: must be at most 4", "spec.seed: must be a number"))
    world.apply()

    assert why_not_placed(facts(world)) == WhyNot(
        Reason.INVALID, "the spec cannot be read: spec.steps: must be at most 4; spec.seed: must be a number"
    )


def test_without_a_pool_of_the_model_the_served_ones_are_named() -> None:
    found = unplaced(*SHAPES, model="wan2.1-14b")

    assert found.reason is Reason.NO_POOL
    assert "served: wan2.1-1.3b" in found.message


def test_without_a_profile_of_the_model_the_known_ones_are_named() -> None:
    found = unplaced(replace(SHAPES[0], model="dream-1"), model="dream-1")

    assert found.reason is Reason.NO_PROFILE
    assert "profiled: wan2.1-1.3b" in found.message


def test_without_a_pool_of_the_shape_each_pool_is_named() -> None:
    found = unplaced(SHAPES[0], replace(SHAPES[0], name="studio/other"), steps=4)

    assert found.reason is Reason.NO_POOL_OF_SHAPE
    assert "studio/small" in found.message
    assert "studio/other" in found.message


def test_a_session_that_a_pool_can_serve_is_placed() -> None:
    world = World()
    world.apply(steps=1)

    assert why_not_placed(facts(world)) is None


# -- not assigned ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reason", "advice"),
    [
        ("AtMax", Reason.POOL_FULL, "raise its spec.max"),
        ("QuotaExceeded", Reason.QUOTA_EXCEEDED, "raise the ResourceQuota"),
        ("InsufficientGPUs", Reason.INSUFFICIENT_GPUS, "add nodes with free GPUs"),
        ("WorkersFailing", Reason.WORKERS_FAILING, "mend their image or template"),
    ],
)
def test_what_limits_the_pool_is_the_reason_and_comes_with_advice(limit: str, reason: Reason, advice: str) -> None:
    found = refused(PoolOutlook(BIG, limit=limit, message="in the pool's own words"), steps=4)

    assert found.reason is reason
    assert f"pool {BIG}" in found.message
    assert "in the pool's own words" in found.message
    assert advice in found.message


def test_every_pool_that_could_serve_it_is_named() -> None:
    found = refused(at_max(SMALL), at_max(BIG))

    assert f"pool {SMALL} is full" in found.message
    assert f"pool {BIG} is full" in found.message


def test_a_worker_on_its_way_in_any_pool_is_the_reason() -> None:
    assert refused(at_max(SMALL), PoolOutlook(BIG, starting=1)).reason is Reason.WORKERS_STARTING


def test_a_full_pool_whose_last_worker_starts_is_no_full_pool_yet() -> None:
    assert refused(replace(at_max(BIG), starting=1), steps=4).reason is Reason.WORKERS_STARTING


@pytest.mark.parametrize("limit", ["InsufficientGPUs", "WorkersFailing"])
def test_workers_that_cannot_start_are_no_hope(limit: str) -> None:
    assert refused(PoolOutlook(BIG, starting=2, limit=limit), steps=4).reason.value == limit


def test_a_pool_that_nothing_limits_will_have_a_worker() -> None:
    assert refused(PoolOutlook(BIG), steps=4).reason is Reason.WORKERS_STARTING


def test_without_an_outlook_the_refusal_itself_is_told() -> None:
    found = refused(steps=4)

    assert found.reason is Reason.POOL_FULL
    assert REFUSED in found.message


def test_where_all_workers_are_overloaded_that_is_said_whatever_becomes_of_the_pools() -> None:
    for outlook in (PoolOutlook(BIG), PoolOutlook(BIG, starting=1), at_max(BIG)):
        world = World(workers={}, outlooks={BIG: outlook}, refusal=Overloaded(NAME).reason)
        world.apply(steps=4)
        found = why_not_assigned(facts(world))
        assert found.reason is Reason.OVERLOADED
        assert found.message.startswith("all workers are overloaded and take no new session; pool ")


def test_among_pools_without_hope_the_first_choice_gives_the_reason() -> None:
    found = refused(PoolOutlook(SMALL, limit="QuotaExceeded", message="pods: 4"), at_max(BIG))

    assert found.reason is Reason.QUOTA_EXCEEDED


def test_a_session_that_nobody_was_asked_for_is_not_claimed() -> None:
    world = World()
    world.apply(steps=1)

    assert why_not_assigned(facts(world)).reason is Reason.NOT_CLAIMED


def test_an_unplaced_session_is_not_assigned_for_the_same_reason() -> None:
    world = World(shapes=())
    world.apply(steps=1)

    assert why_not_assigned(facts(world)) == why_not_placed(facts(world))


def test_a_name_that_is_taken_says_how_to_free_it() -> None:
    world = World()
    world.apply(steps=1)
    world.settle()
    assert world.record is not None
    world.record = replace(world.record, uid="")

    assert f"DELETE /api/v1/sessions/{NAME}" in why_not_assigned(facts(world)).message


# -- not moved ---------------------------------------------------------------------------------------------------------


def test_a_change_that_waits_names_what_it_waits_for() -> None:
    world = World(outlooks={BIG: at_max(BIG)}, refusal=REFUSED)
    world.apply(steps=4)

    found = why_not_moved(facts(world))

    assert found.reason is Reason.NEEDS_MOVE
    assert f"pool {BIG} is full" in found.message
