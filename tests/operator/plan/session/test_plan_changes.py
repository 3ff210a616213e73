"""A change of the spec reaches the stream that lives, and moves it where it has to."""

from dataclasses import replace

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.record import ControlValue
from genlock_operator.actions import (
    ChangeStream,
    ClaimWorker,
    FitClaim,
    MoveSession,
)
from tests.operator.plan.session_claims import BIG, SMALL
from tests.operator.plan.session_world import (
    NAME,
    kinds,
    living,
    stored,
)

HOUR_MS = 3_600_000


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


def test_a_changed_profile_brings_the_price_list_of_a_record_up_to_date() -> None:
    world = living()
    before = world.record
    assert before is not None
    assert before.pools[0].qualities == ()
    world.rows = tuple(one.model_copy(update={"quality": 1 - 0.1 * (4 - one.steps)}) for one in world.rows)

    world.settle()

    after = world.record
    assert after is not None
    assert after.pools[0].qualities == (0.7, 0.8, 0.8, 1.0)
    assert (after.owner, after.epoch, after.cost) == (before.owner, before.epoch, before.cost)


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


def test_fewer_steps_are_left_to_the_worker_to_give_room_back_for() -> None:
    world = living(steps=2)
    world.apply(steps=1)

    world.settle()

    assert world.record is not None
    assert (world.record.session.steps, world.record.cost, len(world.claims)) == (1, 1_000, 1)
    assert "FitClaim" not in kinds(world.plan())


def test_what_users_ask_for_beyond_the_spec_moves_no_stream() -> None:
    world = living()
    assert world.record is not None
    world.workers["s0"].others = 500
    world.record = replace(world.record, control={"steps": ControlValue("2", "1-0")}, cost=250)

    assert not {"FitClaim", "MoveSession"} & set(kinds(world.plan()))


def test_steps_that_need_another_shape_move_it_before_they_reach_the_stream() -> None:
    world = living()
    world.apply(steps=4)

    assert kinds(world.plan()) == ["StoreRecord"]
    world.record = stored(world.plan())
    assert world.plan() == [MoveSession(NAME, world.record.epoch, MoveCause.REQUESTED, 4)]


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


def test_a_prompt_and_steps_of_one_change_both_reach_a_stream_that_moves_in_between() -> None:
    world = living()
    world.apply(steps=4, prompt="a storm")

    world.settle()

    assert [change.to_fields() for _, _, change in world.control] == [{"prompt": "a storm"}, {"steps": "4"}]


def test_a_move_by_a_gateway_is_not_fought() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, owner=world.workers["s1"].identity, epoch=world.record.epoch + 1)

    assert kinds(world.plan()) == ["WriteSessionStatus", "Tell"]


def test_a_session_whose_lease_ran_out_is_claimed_for() -> None:
    world = living()
    world.expire()

    assert world.plan() == [ClaimWorker(NAME)]


def test_a_spec_that_cannot_be_read_leaves_the_record_alone() -> None:
    world = living()
    world.mistakes = ("spec.steps: must be at most 4",)

    assert kinds(world.plan()) == ["WriteSessionStatus", "Tell"]


def test_a_fit_is_asked_for_the_epoch_that_was_seen() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, cost=250)

    assert world.plan() == [FitClaim(NAME, world.record.epoch)]
