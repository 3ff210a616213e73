"""One opening of a session: its name, what it goes on from, and when it is given up."""

from concurrent.futures import Future
from typing import cast

import numpy as np
import pytest

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import Change, ChunkState, EngineFailure, EngineState, Frames, StreamSettings
from genlock_worker.engines.readiness import Needs
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.generation import MAX_FAILURES, MAX_RESTORES, FinishingChunk, OpenSession
from genlock_worker.rows.listener import EngineListener
from genlock_worker.rows.session_rows import SessionChunk, SessionPlan

POSITION = SourcePosition(3, 99)
STATE = EngineState(
    chunk=8,
    in_flight=(ChunkState(8, 2, 3, 1, first_frame=9, latents=1, pictures=4, attributes={}),),
    attributes={},
    head={},
)
CHECKPOINT = Checkpoint(STATE, {8: (POSITION,)}, SourcePosition(3, 120))


def session() -> OpenSession:
    settings = StreamSettings("oil", 2, 64, 64, 16, seed=1, noise_scale=0.7)
    plan = SessionPlan("a@4", "m", settings, 0.5, None)
    return OpenSession.of(plan, cast("EngineListener", None), needs=Needs(), now_s=0.0)


def nothing(_: str | None) -> None:
    pass


def test_each_generation_has_a_name_of_its_own() -> None:
    one = session()
    names = []
    for _ in range(3):
        one.begin_generation(None, 1.0, nothing)
        names.append(one.name)
    assert names == ["a@4#1", "a@4#2", "a@4#3"]


def test_a_checkpoint_says_what_is_in_flight() -> None:
    one = session()
    one.begin_generation(CHECKPOINT, 7.0, nothing)
    (chunk,) = one.rows.in_flight
    assert (chunk.index, chunk.steps, chunk.rows, chunk.submitted, chunk.collected) == (8, 2, 3, 1, 1)
    assert (chunk.complete_s, chunk.last, chunk.source) == (7.0, POSITION, None)
    assert (one.rows.next_chunk, one.rows.last_fed) == (9, SourcePosition(3, 120))
    assert one.is_restoring
    one.begin_generation(None, 8.0, nothing)
    assert (one.rows.in_flight, one.rows.next_chunk, one.is_restoring, one.checkpoint) == ([], 0, False, None)


def test_what_users_changed_is_what_it_is_opened_with() -> None:
    one = session()
    assert one.settings == one.plan.settings
    one.note(Change(prompt="neon", steps=4), 1.0)
    one.note(Change(noise_scale=0.3, reset="7-0"), 2.0)
    assert (one.settings.prompt, one.settings.steps, one.settings.noise_scale) == ("neon", 4, 0.3)
    assert one.requested == Change(prompt="neon", noise_scale=0.3), "what a restored state is told"
    one.rows.grant(Level(2), 3.0)
    assert one.settings.steps == 2


def test_it_goes_back_to_its_checkpoint_then_to_the_start_then_nowhere() -> None:
    one = session()
    one.checkpoint = CHECKPOINT
    tried: list[Checkpoint | None] = []
    while not one.is_given_up:
        one.failures += 1
        tried.append(one.after_failure())
    assert tried[:MAX_RESTORES] == [CHECKPOINT] * MAX_RESTORES
    assert set(tried[MAX_RESTORES:]) == {None}
    assert len(tried) == MAX_FAILURES + 1


def finishing() -> FinishingChunk:
    one = session()
    chunk = SessionChunk(index=7, steps=1, rows=1, complete_s=1.0, positions=(POSITION,))
    other = SessionChunk(
        index=8, steps=2, rows=2, complete_s=1.0, positions=(SourcePosition(3, 110), SourcePosition(3, 120))
    )
    one.rows.go_back(next_chunk=9, in_flight=[chunk, other], last_fed=other.last)
    return one.finish(chunk, Future())


def test_a_chunk_is_ready_when_verdict_pictures_and_state_are_in() -> None:
    one = finishing()
    assert one.positions == {8: (SourcePosition(3, 110), SourcePosition(3, 120))}, "of the others: it has left by then"
    one.state.set_result(STATE)
    assert not one.is_ready
    with pytest.raises(ValueError, match="chunk 7 is not complete"):
        one.frames()
    pictures: Future[Frames] = Future()
    one.pictures = pictures
    assert one.is_ready is False
    pictures.set_result(np.zeros((4, 8, 8, 3), np.uint8))
    assert (one.is_ready, one.failure) == (True, None)
    assert one.checkpoint() == Checkpoint(
        STATE, {8: (SourcePosition(3, 110), SourcePosition(3, 120))}, SourcePosition(3, 120)
    )


@pytest.mark.parametrize(
    ("error", "reason"), [(EngineFailure("a", "NaN"), "NaN"), (RuntimeError("lost"), "RuntimeError: lost")]
)
@pytest.mark.parametrize("of_the_state", [True, False])
def test_either_may_fail(error: Exception, reason: str, of_the_state: bool) -> None:
    one = finishing()
    one.pictures = Future()
    if of_the_state:
        one.state.set_exception(error)
        one.pictures.set_result(np.zeros((4, 8, 8, 3), np.uint8))
    else:
        one.pictures.set_exception(error)
        one.state.set_result(STATE)
    assert one.is_ready
    assert one.failure == reason


def test_what_a_user_asks_for_while_steps_may_be_lowered_is_tried_at_once() -> None:
    plan = SessionPlan("a@4", "m", StreamSettings("oil", 4, 64, 64, 16, seed=1, noise_scale=0.7), 0.5, 1)
    one = OpenSession.of(plan, cast("EngineListener", None), needs=Needs(), now_s=0.0)
    assert one.rows.policy is not None
    one.note(Change(steps=3), 5.0)
    for at_s in (5.1, 5.2):
        one.rows.policy.trouble(at_s)
    assert one.rows.policy.decide(one.rows.ceiling, 5.3, load_above=2.0).steps == 3, "a second is given to it"
    assert one.rows.policy.decide(one.rows.ceiling, 6.1, load_above=2.0).steps == 2


def test_its_steps_may_be_lowered_some_time_after_it_was_opened() -> None:
    settings = StreamSettings("oil", 4, 64, 64, 16, seed=1, noise_scale=0.7)
    plan = SessionPlan("a@4", "m", settings, 0.5, 1)
    opened = OpenSession.of(plan, cast("EngineListener", None), needs=Needs(), now_s=100.0)
    policy = opened.rows.policy
    assert policy is not None
    for at_s in (100.1, 100.2):
        policy.trouble(at_s)
    assert policy.decide(Level(4), 100.2, load_above=2.0).steps == 4
    for at_s in (101.1, 101.2):
        policy.trouble(at_s)
    assert policy.decide(Level(4), 101.2, load_above=2.0).steps == 3
