"""What is done about a session: made, claimed, steered, moved, ended and forgotten, each for its reason."""

from dataclasses import replace

import pytest

from genlock_core.sizing.candidates import PoolShape
from genlock_core.spec.session import Phase
from genlock_operator.actions import (
    ClaimWorker,
    EndSession,
    ForgetRecord,
    WriteSessionStatus,
)
from genlock_operator.plan.session.plan import plan_without_store
from tests.operator.plan.session_claims import BIG, NOW_MS, SMALL, workers_of
from tests.operator.plan.session_world import (
    NAME,
    World,
    kinds,
    living,
    only_looks_again,
    stored,
)

HOUR_MS = 3_600_000


# -- the beginning -----------------------------------------------------------------------------------------------------


def test_a_new_session_gets_a_record_with_its_pools_and_its_objects_uid() -> None:
    world = World()
    world.apply(steps=1)

    record = stored(world.plan())

    assert (record.uid, [(choice.pool, choice.cost) for choice in record.pools]) == (
        "uid-1",
        [(SMALL, 500), (BIG, 500)],
    )


def test_a_session_without_placement_gets_no_record() -> None:
    world = World(shapes=())
    world.apply(steps=1)

    assert "StoreRecord" not in kinds(world.plan())


def test_a_stored_session_is_claimed_for() -> None:
    world = World()
    world.apply(steps=1)
    world.record = stored(world.plan())

    assert world.plan() == [ClaimWorker(NAME)]


def test_a_refused_claim_is_not_repeated_in_the_same_pass() -> None:
    world = World(workers={})
    world.apply(steps=1)
    world.settle()

    assert "ClaimWorker" not in kinds(world.plan())


def test_a_session_that_waits_is_looked_at_again_soon() -> None:
    world = World(workers={})
    world.apply(steps=1)
    world.settle()

    assert world.look_again_ms == NOW_MS + 1_000


def test_a_session_that_has_waited_long_is_looked_at_less_often() -> None:
    world = World(workers={})
    world.apply(steps=1)
    world.settle()
    world.now_ms += 100_000

    world.settle()

    assert world.look_again_ms == world.now_ms + 10_000


def test_a_session_that_waits_is_claimed_for_when_there_is_room() -> None:
    world = World(workers={})
    world.apply(steps=1)
    world.settle()
    world.workers = workers_of(s0=SMALL)

    world.settle()

    assert world.status.worker == "s0"


def test_a_session_that_was_never_claimed_is_not_claimed_for_a_spec_that_nobody_can_serve() -> None:
    world = World(
        workers={},
        shapes=(PoolShape(name=SMALL, model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=1, engine="mock"),),
    )
    world.apply(steps=1)
    world.settle()
    world.apply(steps=4)
    world.workers = workers_of(s0=SMALL)

    world.settle()

    assert world.claims == []


# -- whose record ------------------------------------------------------------------------------------------------------


def test_the_record_of_an_older_object_is_ended_first() -> None:
    world = living()
    world.delete()
    world.apply(steps=2)

    assert world.plan() == [EndSession(NAME, "Deleted")]


def test_the_ended_record_of_an_older_object_is_forgotten() -> None:
    world = living()
    world.end()
    world.delete()
    world.apply(steps=2)

    assert world.plan() == [ForgetRecord(NAME)]


def test_a_record_without_an_object_is_ended() -> None:
    world = living()
    world.delete()

    assert world.plan() == [EndSession(NAME, "Deleted")]


def test_an_ended_record_without_an_object_is_forgotten() -> None:
    world = living()
    world.end()
    world.delete()

    assert world.plan() == [ForgetRecord(NAME)]


def test_an_object_that_is_being_deleted_is_as_good_as_gone() -> None:
    world = living()
    assert world.meta is not None
    world.meta = replace(world.meta, deleting=True)

    assert world.plan() == [EndSession(NAME, "Deleted")]


def test_a_session_that_no_object_made_is_left_alone() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, uid="")
    world.delete()

    assert world.plan() == []


def test_an_object_does_not_take_a_session_that_lives_without_one() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, uid="")

    assert set(kinds(world.plan())) <= {"WriteSessionStatus", "Tell", "LookAgain"}


def test_an_object_takes_the_name_of_a_session_that_ended_without_one() -> None:
    world = living()
    assert world.record is not None
    world.end()
    world.record = replace(world.record, uid="", phase=Phase.ENDED)

    assert world.plan() == [ForgetRecord(NAME)]


def test_a_finished_object_leaves_a_session_that_no_object_made_alone() -> None:
    world = living()
    world.end()
    world.settle()
    assert world.record is not None
    world.record = replace(world.record, uid="")

    assert only_looks_again(world.plan())


def test_nothing_at_all_needs_nothing() -> None:
    assert World().plan() == []


def test_a_record_that_redis_lost_goes_on_from_its_epoch() -> None:
    world = living()
    epoch = world.status.epoch
    world.lose_record()
    world.settle()
    world.now_ms += 6_000

    assert stored(world.plan()).epoch == epoch


@pytest.mark.parametrize("after_ms", [0, 5_000])
def test_a_lost_record_is_left_to_its_worker_for_a_while(after_ms: int) -> None:
    world = living()
    world.lose_record()
    world.settle()
    world.now_ms += after_ms

    assert only_looks_again(world.plan())
    assert world.look_again_ms == NOW_MS + 1_000


def test_a_record_that_was_lost_while_redis_was_away_is_left_to_its_worker_from_then_on() -> None:
    world = living()
    for action in plan_without_store(world.seen(), world.now_ms):
        if isinstance(action, WriteSessionStatus):
            world.status = action.status
    world.now_ms += 60_000
    world.lose_record()

    assert "StoreRecord" not in kinds(world.plan())


def test_a_session_that_waited_for_a_worker_when_its_record_was_lost_does_not_wait_longer() -> None:
    world = living()
    world.workers.clear()
    world.expire()
    world.settle()
    world.now_ms += 60_000
    world.lose_record()

    assert kinds(world.plan()) == ["StoreRecord"]


def test_a_session_whose_record_was_lost_gets_a_worker_again() -> None:
    world = living()
    world.lose_record()
    world.settle()
    world.now_ms += 6_000

    world.settle()

    assert (world.status.worker, len(world.claims)) == ("s0", 2)
