"""What a session's status says, and when it is written."""

from dataclasses import replace
from typing import Any

import pytest

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.figure_board import SessionFigures
from genlock_core.claims.record import ControlValue
from genlock_core.spec.session import Phase
from genlock_core.spec.status import Condition, ConditionType, SessionStatus
from genlock_operator.actions import LookAgain, Tell, WriteSessionStatus
from genlock_operator.observed import PoolOutlook, SessionResource
from genlock_operator.plan.conditions import find, timestamp
from genlock_operator.plan.status import status_of, stored_status
from tests.operator.plan.session_world import BIG, NOW_MS, SMALL, World, only_looks_again, workers_of

FIGURES = SessionFigures(viewers=3, publisher=True, steps=1, output_fps=16.0, miss_share=0.001, first_frame_ms=312.04)


def waiting(**outlooks: PoolOutlook) -> World:
    world = World(workers={}, outlooks={f"studio/{name}": outlook for name, outlook in outlooks.items()})
    world.apply(steps=1)
    world.settle()
    return world


def assigned(**spec: Any) -> World:
    world = World()
    world.apply(**({"steps": 1} | spec))
    world.settle()
    return world


def live(figures: SessionFigures | None = FIGURES) -> World:
    world = assigned()
    world.go_live()
    world.figures = figures
    world.settle()
    return world


def condition(world: World, of: ConditionType) -> Condition:
    found = find(world.status.conditions, of)
    assert found is not None
    return found


def written(world: World) -> SessionStatus | None:
    return next((action.status for action in world.plan() if isinstance(action, WriteSessionStatus)), None)


# -- fields ------------------------------------------------------------------------------------------------------------


def test_an_assigned_session_tells_worker_pool_and_epoch() -> None:
    world = assigned()

    assert world.record is not None
    status = world.status
    assert (status.phase, status.worker, status.pool, status.epoch) == (
        Phase.ASSIGNED,
        "s0",
        SMALL,
        world.record.epoch,
    )


def test_the_share_of_the_gpus_is_what_the_claim_pays() -> None:
    world = assigned(steps=4)

    assert (world.status.gpus, world.status.gpu_share) == (4, 2.0)


def test_endpoints_begin_with_the_public_url() -> None:
    endpoints = assigned().status.endpoints

    assert endpoints is not None
    assert endpoints.whip == "https://live.example.com/whip/studio/demo"


def test_without_a_public_url_endpoints_are_paths() -> None:
    world = assigned()
    world.status = SessionStatus()
    seen = replace(world.seen(), public_url="")

    assert seen.resource is not None
    status = status_of(seen, seen.resource.meta, SessionStatus(), NOW_MS)
    assert status.endpoints is not None
    assert status.endpoints.watch == "/watch/studio/demo"


def test_steps_are_those_that_were_measured() -> None:
    world = live(replace(FIGURES, steps=2))

    assert world.status.steps == 2


def test_unmeasured_steps_are_those_that_were_asked_for_last() -> None:
    world = assigned()
    assert world.record is not None
    world.record = replace(world.record, control={"steps": ControlValue("3", "1-0")}, phase=Phase.LIVE)
    world.settle()

    assert world.status.steps == 3


def test_steps_of_a_stream_that_was_never_steered_are_those_of_its_spec() -> None:
    assert assigned(steps=2).status.steps == 2


def test_what_nobody_measured_for_its_placement_is_named() -> None:
    assert "chunk latency" in assigned().status.unprofiled


def test_a_move_is_counted() -> None:
    world = live()
    assert world.record is not None
    world.now_ms += 1_000
    world.move(world.record.epoch, MoveCause.SILENT)

    world.settle()

    assert (world.status.moves, world.status.worker) == (1, "s1")


def test_a_first_claim_is_no_move() -> None:
    assert assigned().status.moves == 0


def test_a_change_of_the_spec_is_acknowledged() -> None:
    world = live()
    world.apply(idle_timeout="20s")

    world.settle()

    assert world.status.observed_generation == 2


def test_a_field_that_this_version_does_not_know_does_not_hide_the_rest() -> None:
    world = assigned()
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
    world = assigned()
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
    world = assigned()
    assert world.record is not None
    world.record = replace(world.record, phase=Phase.DRAINING, reason="drain")

    world.settle()

    assert condition(world, ConditionType.LIVE).status == "False"


@pytest.mark.parametrize(("miss_share", "status"), [(0.0, "True"), (0.01, "True"), (0.011, "False")])
def test_the_service_level_is_met_within_the_miss_budget(miss_share: float, status: str) -> None:
    world = live(replace(FIGURES, miss_share=miss_share))

    assert condition(world, ConditionType.SLO_MET).status == status


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


def test_a_session_whose_pool_is_gone_is_still_assigned() -> None:
    world = live()
    world.shapes = ()
    world.settle()

    assert [condition(world, of).reason for of in (ConditionType.PLACED, ConditionType.ASSIGNED)] == [
        "NoPool",
        "Claimed",
    ]


# -- when it is written ------------------------------------------------------------------------------------------------


def test_the_first_figures_are_written_at_once() -> None:
    world = live(figures=None)
    world.figures = FIGURES

    status = written(world)

    assert status is not None
    assert status.figures is not None
    assert status.figures.first_frame_ms == 312.0


def test_figures_of_a_stream_without_a_frame_are_not_its_first() -> None:
    world = live(figures=None)
    world.figures = SessionFigures(viewers=1)

    status = written(world)

    assert status is None or status.figures is None


def test_figures_alone_wait_until_they_are_due() -> None:
    world = live()
    world.now_ms += 29_000
    world.figures = replace(FIGURES, viewers=70, output_fps=12.0, steps=2)

    assert world.plan() == [LookAgain(NOW_MS + 30_000)]


def test_figures_are_written_when_they_are_due() -> None:
    world = live()
    world.now_ms += 30_000
    world.figures = replace(FIGURES, viewers=70)

    status = written(world)

    assert status is not None
    assert status.viewers == 70


def test_figures_that_are_due_and_the_same_are_not_written() -> None:
    world = live()
    world.now_ms += 30_000

    assert world.plan() == [LookAgain(world.now_ms + 30_000)]


def test_news_do_not_wait_for_the_figures() -> None:
    world = live()
    world.now_ms += 1_000
    assert world.record is not None
    world.move(world.record.epoch, MoveCause.SILENT)

    assert written(world) is not None


def test_one_more_that_waits_is_no_news_to_the_others() -> None:
    full = PoolOutlook(SMALL, limit="AtMax", message="5 workers are wanted, the pool's max is 4")
    world = waiting(small=full, big=replace(full, name=BIG))
    world.outlooks[SMALL] = replace(full, message="6 workers are wanted, the pool's max is 4")

    world.reconcile()

    assert "5 workers" in condition(world, ConditionType.ASSIGNED).message


def test_figures_survive_a_while_without_any() -> None:
    world = live()
    world.figures = None
    world.now_ms += 60_000
    world.settle()

    assert world.status.figures is not None


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
        "the engine gave it up",
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

    assert world.status.reason == "nobody published or watched for its idleTimeout"


# -- events ------------------------------------------------------------------------------------------------------------


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
    world = assigned()
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
