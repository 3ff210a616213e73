"""What is done about a session: made, claimed, steered, moved, ended and forgotten, each for its reason."""

from dataclasses import replace

import pytest

from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.sizing.placement import PoolShape
from genlock_core.spec.session import Phase
from genlock_operator.actions import (
    ChangeStream,
    ClaimWorker,
    DeleteSession,
    EndSession,
    FitClaim,
    ForgetRecord,
    LookAgain,
    MoveSession,
    SessionAction,
    StoreRecord,
    WriteSessionStatus,
)
from genlock_operator.plan.session import plan_session, store_away
from tests.operator.plan.session_world import BIG, NAME, NOW_MS, POLICY, SMALL, World, only_looks_again, workers_of

HOUR_MS = 3_600_000


def living(**spec: object) -> World:
    """A session that a worker has."""
    world = World()
    world.apply(**({"steps": 1} | spec))
    world.settle()
    return world


def kinds(actions: list[SessionAction]) -> list[str]:
    return [type(action).__name__ for action in actions]


def stored(actions: list[SessionAction]) -> SessionRecord:
    return next(action.record for action in actions if isinstance(action, StoreRecord))


# -- the beginning -----------------------------------------------------------------------------------------------------


def test_a_new_session_gets_a_record_with_its_pools_and_its_objects_uid() -> None:
    world = World()
    world.apply(steps=1)

    record = stored(world.plan())

    assert (record.uid, record.pools) == ("uid-1", (PoolChoice(SMALL, 500), PoolChoice(BIG, 500)))


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
    world = World(workers={}, shapes=(PoolShape(name=SMALL, model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=1),))
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
    for action in store_away(world.seen(), world.now_ms):
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


# -- changes of the spec -----------------------------------------------------------------------------------------------


def test_a_new_prompt_goes_to_the_stream_before_the_record() -> None:
    world = living()
    world.apply(prompt="a storm")

    assert kinds(world.plan()) == ["ChangeStream", "Tell", "StoreRecord"]


def test_only_what_changed_goes_to_the_stream() -> None:
    world = living()
    world.apply(noise_scale=0.5)

    (change,) = [action.change for action in world.plan() if isinstance(action, ChangeStream)]

    assert change.to_fields() == {"noiseScale": "0.5"}


def test_a_change_is_known_again_by_object_and_generation() -> None:
    world = living()
    world.apply(prompt="a storm")

    (change,) = [action for action in world.plan() if isinstance(action, ChangeStream)]

    assert (change.client, change.number) == ("operator-uid-1", 2)


def test_what_the_stream_does_not_know_changes_the_record_alone() -> None:
    world = living()
    world.apply(idle_timeout="20s")

    assert kinds(world.plan()) == ["StoreRecord"]


def test_the_record_keeps_its_keys_when_the_spec_changes() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, key_ids=("k1",))
    world.apply(prompt="a storm")

    assert stored(world.plan()).key_ids == ("k1",)


def test_a_claim_that_pays_too_little_is_fitted() -> None:
    world = living()
    world.apply(steps=2)
    world.reconcile()

    assert world.record is not None
    assert (world.record.cost, world.record.pool, len(world.claims)) == (1_000, SMALL, 1)


def test_a_claim_that_pays_what_is_asked_is_not_fitted() -> None:
    world = living()
    world.apply(prompt="a storm")

    for _ in range(2):
        assert "FitClaim" not in kinds(world.plan())
        world.settle()


def test_a_claim_that_cannot_grow_on_its_worker_moves() -> None:
    world = living()
    world.workers["s0"].others = 500
    world.apply(steps=2)

    world.settle()

    assert world.status.worker == "s1"


def test_fewer_steps_give_room_back() -> None:
    world = living(steps=2)
    world.apply(steps=1)

    world.settle()

    assert world.record is not None
    assert (world.record.cost, len(world.claims)) == (500, 1)


def test_steps_that_need_another_shape_move_it_before_they_reach_the_stream() -> None:
    world = living()
    world.apply(steps=4)

    assert kinds(world.plan()) == ["StoreRecord"]
    world.record = stored(world.plan())
    assert world.plan() == [MoveSession(NAME, world.record.epoch, world.plan()[0].cause)]  # type: ignore[union-attr]


def test_steps_that_need_another_shape_reach_the_stream_after_the_move() -> None:
    world = living()
    world.apply(steps=4)

    world.settle()

    assert (world.status.pool, [change.steps for _, _, change in world.control]) == (BIG, [4])


def test_steps_that_find_no_room_of_their_shape_leave_the_stream_as_it_is() -> None:
    world = living()
    world.workers["b0"].others = 1_000
    world.apply(steps=4, prompt="a storm")

    world.settle()

    assert (world.status.worker, [change.to_fields() for _, _, change in world.control]) == (
        "s0",
        [{"prompt": "a storm"}],
    )


def test_steps_that_found_no_room_are_tried_again() -> None:
    world = living()
    world.workers["b0"].others = 1_000
    world.apply(steps=4)
    world.settle()
    assert world.look_again_ms == world.now_ms + 1_000
    world.workers["b0"].others = 0

    world.settle()

    assert (world.status.pool, world.status.steps) == (BIG, 4)


def test_steps_that_no_pool_can_serve_leave_the_session_where_it_is() -> None:
    world = living()
    world.shapes = world.shapes[:1]
    world.apply(steps=4)

    world.settle()

    assert (world.status.worker, world.control, len(world.claims)) == ("s0", [], 1)


def test_a_session_on_a_pool_that_still_serves_it_in_time_stays() -> None:
    world = living(steps=4)
    world.apply(steps=1)

    world.settle()

    assert (world.status.pool, len(world.claims)) == (BIG, 1)


def test_a_move_by_a_gateway_is_not_fought() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, owner=world.workers["s1"].identity, epoch=world.record.epoch + 1)

    assert set(kinds(world.plan())) == {"WriteSessionStatus", "Tell", "LookAgain"}


def test_a_session_whose_lease_ran_out_is_claimed_for() -> None:
    world = living()
    world.expire()

    assert world.plan() == [ClaimWorker(NAME)]


def test_a_spec_that_cannot_be_read_leaves_the_record_alone() -> None:
    world = living()
    world.mistakes = ("spec.steps: must be at most 4",)

    assert set(kinds(world.plan())) == {"WriteSessionStatus", "Tell", "LookAgain"}


def test_a_fit_is_asked_for_the_epoch_that_was_seen() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, cost=250)

    assert world.plan() == [FitClaim(NAME, world.record.epoch)]


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

    actions = store_away(replace(world.seen(), record=None, worker=None), world.now_ms)

    (written,) = [action.status for action in actions if isinstance(action, WriteSessionStatus)]
    changed = {name for name, value in written if value != getattr(world.status, name)}
    assert changed == {"conditions"}


def test_without_redis_it_is_said_once() -> None:
    world = living()
    for action in store_away(world.seen(), world.now_ms):
        if isinstance(action, WriteSessionStatus):
            world.status = action.status

    assert store_away(world.seen(), world.now_ms + 5_000) == []


@pytest.mark.parametrize("over", ["ended", "deleted"])
def test_without_redis_nothing_is_said_of_a_session_that_is_over(over: str) -> None:
    world = living()
    world.end()
    world.settle()
    if over == "deleted":
        world.delete()

    assert store_away(world.seen(), world.now_ms) == []


def test_what_redis_was_away_for_is_taken_back_when_it_answers() -> None:
    world = living()
    for action in store_away(world.seen(), world.now_ms):
        if isinstance(action, WriteSessionStatus):
            world.status = action.status

    world.settle()

    assert next(one.status for one in world.status.conditions if one.type == "Assigned") == "True"


def test_a_plan_is_the_same_however_often_it_is_made() -> None:
    world = living()
    world.apply(steps=4)

    assert plan_session(world.seen(), world.now_ms, POLICY) == plan_session(world.seen(), world.now_ms, POLICY)
