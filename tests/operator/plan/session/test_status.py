"""What a session's status says, and when it is written."""

from dataclasses import replace

import pytest

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.record import ControlValue, Granted, LevelLimit
from genlock_core.sizing.candidates import PoolShape
from genlock_core.spec.session import Phase
from genlock_core.spec.status import ConditionType, LevelReason, SessionStatus
from genlock_operator.actions import LookAgain, WriteSessionStatus
from genlock_operator.observed import SessionResource
from genlock_operator.plan.conditions import find, timestamp
from genlock_operator.plan.session.facts import facts_of, stored_status
from genlock_operator.plan.session.status import status_of
from genlock_operator.plan.session.why_not import hindrances_of
from tests.operator.plan.session_claims import NOW_MS, SMALL
from tests.operator.plan.session_world import (
    FIGURES,
    ROWS,
    SHAPES,
    World,
    condition,
    live,
    living,
    waiting,
    written,
)

# -- fields ------------------------------------------------------------------------------------------------------------


def test_an_assigned_session_tells_worker_pool_and_epoch() -> None:
    world = living()

    assert world.record is not None
    status = world.status
    assert (status.phase, status.worker, status.pool, status.epoch) == (
        Phase.ASSIGNED,
        "s0",
        SMALL,
        world.record.epoch,
    )


def test_the_share_of_the_gpus_is_what_the_claim_pays() -> None:
    world = living(steps=4)

    assert (world.status.gpus, world.status.gpu_share) == (4, 2.0)


def test_endpoints_begin_with_the_public_url() -> None:
    endpoints = living().status.endpoints

    assert endpoints is not None
    assert endpoints.whip == "https://live.example.com/whip/studio/demo"


def test_without_a_public_url_endpoints_are_paths() -> None:
    world = living()
    world.status = SessionStatus()
    seen = replace(world.seen(), public_url="")

    assert seen.resource is not None
    facts = facts_of(seen, seen.resource)
    status = status_of(facts, hindrances_of(facts), NOW_MS)
    assert status.endpoints is not None
    assert status.endpoints.watch == "/watch/studio/demo"


def test_steps_are_those_that_were_measured() -> None:
    world = live(replace(FIGURES, steps=2))

    assert world.status.steps == 2


def test_a_session_below_its_request_says_what_it_has_and_why_and_only_its_level_writes_that() -> None:
    world = live()
    whole = world.record
    assert whole is not None
    assert "level" not in world.status.model_dump(exclude_none=True)

    world.record = replace(
        whole,
        control={"steps": ControlValue("4", "1-0")},
        granted=Granted(1, 7, NOW_MS - 60_000, every=2),
        limit=LevelLimit(1, 2, NOW_MS - 60_000),
        below_since_ms=NOW_MS - 90_000,
    )
    world.settle()
    level = world.status.level
    assert level is not None
    assert (level.steps, level.frame_rate, level.reason) == (1, whole.session.frame_rate / 2, LevelReason.BUSY)
    assert level.since == timestamp(NOW_MS - 90_000)
    assert world.status.reason.startswith("1 of 4 steps and 1 of 2 pictures: the installation is busy.")

    # Nothing of it moves while the level stays.
    world.now_ms += 20_000
    assert written(world) is None

    world.record = replace(world.record, granted=Granted(4, 8, NOW_MS), limit=None, below_since_ms=0)
    world.settle()
    assert "level" not in world.status.model_dump(exclude_none=True)


def test_unmeasured_steps_are_those_that_were_asked_for_last() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, control={"steps": ControlValue("3", "1-0")}, phase=Phase.LIVE)
    world.settle()

    assert world.status.steps == 3


def test_steps_of_a_stream_that_was_never_steered_are_those_of_its_spec() -> None:
    assert living(steps=2).status.steps == 2


def test_what_nobody_measured_for_its_placement_is_named() -> None:
    assert "chunk latency" in living().status.unprofiled


def test_a_model_that_stands_in_is_told_and_which_may_and_which_cannot() -> None:
    light = PoolShape(name="light", model="light", gpu_product="NVIDIA-H100", gpus=1, engine="mock")
    world = World(shapes=(*SHAPES, light), rows=(*ROWS, *(one.model_copy(update={"model": "light"}) for one in ROWS)))
    world.apply(steps=1, approximation={"models": ("light", "nobodys")})
    world.settle()
    placed = find(world.status.conditions, ConditionType.PLACED)
    assert placed is not None
    assert (
        "light may stand in, in pool light; nobodys cannot stand in: no pool serves the model nobodys" in placed.message
    )
    assert world.status.stand_in is None

    assert world.record is not None
    world.record = replace(world.record, pool="light", stand_in="light")
    world.settle()
    assert world.status.stand_in == "light"


def test_a_move_is_counted() -> None:
    world = live()
    assert world.record is not None
    world.now_ms += 1_000
    world.move(world.record.epoch, MoveCause.SILENT)

    world.settle()

    assert (world.status.moves, world.status.worker) == (1, "s1")


def test_a_first_claim_is_no_move() -> None:
    assert living().status.moves == 0


def test_a_change_of_the_spec_is_acknowledged() -> None:
    world = live()
    world.apply(idle_timeout="20s")

    world.settle()

    assert world.status.observed_generation == 2


def test_a_field_that_this_version_does_not_know_does_not_hide_the_rest() -> None:
    world = living()
    assert world.meta is not None
    resource = SessionResource(world.meta, b"{}", b'{"phase": "Ended", "moves": 3, "mood": "good", "viewers": -1}')

    status = stored_status(resource)

    assert (status.phase, status.moves, status.viewers) == (Phase.ENDED, 3, 0)


def test_a_session_whose_record_was_lost_is_recovering() -> None:
    world = live()
    world.lose_record()

    world.settle()

    assert (world.status.phase, condition(world, ConditionType.ASSIGNED).reason) == (Phase.RECOVERING, "Recovering")


def test_a_session_that_its_worker_brought_back_did_not_move() -> None:
    world = live()
    before, record = world.status, world.record
    world.lose_record()
    world.settle()
    world.now_ms += 2_000
    world.record = record

    world.settle()

    assert (world.status.worker, world.status.epoch, world.status.moves) == (before.worker, before.epoch, 0)


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "status", "reason"),
    [
        (Phase.ASSIGNED, "False", "NoSource"),
        (Phase.LIVE, "True", "Streaming"),
        (Phase.RECOVERING, "False", "Recovering"),
    ],
)
def test_live_follows_the_phase(phase: Phase, status: str, reason: str) -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, phase=phase)
    world.settle()

    found = condition(world, ConditionType.LIVE)
    assert (found.status, found.reason) == (status, reason)


def test_a_polite_move_does_not_make_a_stream_less_live() -> None:
    world = live()
    assert world.record is not None
    world.record = replace(world.record, phase=Phase.DRAINING, reason="drain")

    world.settle()

    assert condition(world, ConditionType.LIVE).status == "True"


def test_a_polite_move_does_not_make_a_stream_live_that_never_was() -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, phase=Phase.DRAINING, reason="drain")

    world.settle()

    assert condition(world, ConditionType.LIVE).status == "False"


@pytest.mark.parametrize(("miss_share", "status"), [(0.0, "True"), (0.01, "True"), (0.011, "False")])
def test_the_service_level_is_met_within_the_miss_budget(miss_share: float, status: str) -> None:
    world = live(replace(FIGURES, miss_share_short=miss_share, miss_share_long=miss_share))

    assert condition(world, ConditionType.SLO_MET).status == status


def test_the_service_level_is_not_judged_by_the_newest_figure() -> None:
    """Nor by one window alone: it breaks where both are over the budget, and is met again where both are below it."""
    world = live(replace(FIGURES, miss_share=0.9, miss_share_short=0.9))
    assert condition(world, ConditionType.SLO_MET).status == "True"

    world.figures = replace(FIGURES, miss_share_short=0.9, miss_share_long=0.02)
    world.settle()
    assert condition(world, ConditionType.SLO_MET).status == "False"

    world.figures = replace(FIGURES, miss_share=0.0, miss_share_short=0.0, miss_share_long=0.02)
    world.settle()
    assert condition(world, ConditionType.SLO_MET).status == "False"

    world.figures = FIGURES
    world.settle()
    assert condition(world, ConditionType.SLO_MET).status == "True"


def test_a_gateway_that_knows_no_windows_changes_no_verdict() -> None:
    """One of an older release posts the newest share alone."""
    world = live()
    world.figures = replace(FIGURES, miss_share=0.9, miss_share_short=None, miss_share_long=None)
    world.settle()
    assert condition(world, ConditionType.SLO_MET).status == "True"


def test_a_service_level_that_nobody_measured_is_unknown() -> None:
    assert condition(live(figures=None), ConditionType.SLO_MET).status == "Unknown"


def test_a_service_level_stands_while_nobody_measures() -> None:
    world = live()
    world.figures = None

    world.settle()

    assert condition(world, ConditionType.SLO_MET).status == "True"


def test_a_session_that_waits_for_its_shape_is_assigned_and_says_what_it_needs() -> None:
    world = live()
    world.workers["b0"].others = 1_000
    world.apply(steps=4)
    world.settle()

    found = condition(world, ConditionType.ASSIGNED)
    assert (found.status, found.reason) == ("True", "NeedsMove")


def test_a_fit_that_was_refused_although_room_was_seen_is_told_and_tried_again_soon() -> None:
    world = live()
    world.apply(steps=2)
    world.reconcile()
    assert world.record is not None
    world.record = replace(world.record, cost=500)
    world.refusal = "worker s0 has less free than was seen"

    planned = world.plan()

    status = next(action.status for action in planned if isinstance(action, WriteSessionStatus))
    found = find(status.conditions, ConditionType.ASSIGNED)
    assert found is not None
    assert found.reason == "NeedsMove"
    assert planned[-1] == LookAgain(world.now_ms + 1_000)


def test_a_session_that_no_pool_can_serve_as_changed_says_what_it_needs() -> None:
    world = live()
    world.shapes = world.shapes[:1]
    world.apply(steps=4)
    world.settle()

    assert [condition(world, of).reason for of in (ConditionType.PLACED, ConditionType.ASSIGNED)] == [
        "NoPoolOfShape",
        "NeedsMove",
    ]


def test_a_session_whose_pool_is_gone_is_still_living() -> None:
    world = live()
    world.shapes = ()
    world.settle()

    assert [condition(world, of).reason for of in (ConditionType.PLACED, ConditionType.ASSIGNED)] == [
        "NoPool",
        "Claimed",
    ]


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.ENDED, Phase.FAILED])
def test_an_end_tells_when_and_why(phase: Phase) -> None:
    world = live()
    world.now_ms += 5_000
    world.end(phase, "the engine gave it up")
    world.now_ms += 5_000

    world.settle()

    assert (world.status.phase, world.status.finished, world.status.reason, world.status.worker) == (
        phase,
        timestamp(NOW_MS + 5_000),
        "The engine gave it up.",
        None,
    )


def test_an_ended_session_keeps_its_last_figures() -> None:
    world = live()
    world.end()
    world.settle()

    assert world.status.figures is not None


def test_a_word_of_the_record_is_a_sentence_in_the_status() -> None:
    world = live()
    world.end(reason="Idle")
    world.settle()

    assert world.status.reason == "Nobody published or watched for a while."


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("refused", "A worker went away: its process is gone."),
        ("silent", "A worker does not answer in time; it may be gone, or too busy."),
        ("", "Its worker does not serve it any more."),
    ],
)
def test_a_session_that_recovers_says_why_it_moves(reason: str, sentence: str) -> None:
    world = living()
    assert world.record is not None
    world.record = replace(world.record, phase=Phase.RECOVERING, reason=reason)
    world.settle()

    told = f"Recovering. {sentence} The stream goes on at another worker, and this connection stays."
    assert condition(world, ConditionType.LIVE).message == told
    assert world.status.reason == told


def test_a_session_whose_record_was_lost_says_so() -> None:
    world = live()
    world.lose_record()
    world.settle()

    assert condition(world, ConditionType.LIVE).message == "Recovering. Redis lost its record."


def test_the_reason_of_a_pending_session_is_that_of_its_assignment_and_later_that_of_its_stream() -> None:
    pending = waiting()
    assert pending.status.phase is Phase.PENDING
    assert pending.status.reason == condition(pending, ConditionType.ASSIGNED).message

    world = live()
    assert world.status.reason == condition(world, ConditionType.LIVE).message


def test_the_miss_budget_is_told_in_percent() -> None:
    assert condition(live(), ConditionType.SLO_MET).message == "no more than 1 % of the frames are late"


def test_figures_are_told_as_exactly_as_they_mean_something() -> None:
    """More digits would make every status another one, and write it."""
    world = live(
        replace(FIGURES, output_fps=15.4567, miss_share=0.00123456, last_recovery_gap_ms=812.345, latency_ms=400.26)
    )

    told = world.status.figures
    assert told is not None
    assert (told.output_fps, told.miss_share, told.last_recovery_gap_ms, told.latency_ms) == (
        15.5,
        0.0012,
        812.3,
        400.3,
    )


def test_an_ended_session_has_no_viewers_whatever_was_counted_last() -> None:
    world = live()
    assert world.status.viewers == FIGURES.viewers
    world.end()
    world.settle()

    assert (world.status.phase, world.status.viewers) == (Phase.ENDED, 0)
