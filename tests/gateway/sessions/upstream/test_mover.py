"""The rules by which a session opens, moves, follows and waits."""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genlock_core.claims.facts import Claim, MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.silence import Silence
from genlock_gateway.sessions.upstream import mover
from genlock_gateway.sessions.upstream.mover import Action, MoveStage, Situation, decide


def claim(epoch: int, worker: str = "w0") -> Claim:
    return Claim("default/demo", epoch, WorkerIdentity(worker, f"{worker}-1"), "127.0.0.1:1", "local", 500)


def tick(quiet_s: float, patience_s: float = 1.0) -> mover.Tick:
    return mover.Tick(Silence(quiet_s, patience_s))


def play(*events: mover.Event | float, situation: Situation | None = None) -> tuple[Situation, list[Action]]:
    """Feed events one after the other; a number lets that many seconds pass first."""
    situation, now_s, actions = situation or Situation(), 100.0, []
    for event in events:
        if isinstance(event, float):
            now_s += event
            continue
        situation, action = decide(situation, event, now_s)
        actions += [] if action is None else [action]
    return situation, actions


SERVING: list[mover.Event] = [mover.SessionWanted(claim(7)), mover.WorkerAccepted(7)]


def test_the_first_viewer_claims_opens_and_serves() -> None:
    situation, actions = play(mover.SessionWanted(), mover.Claimed(claim(7)), mover.WorkerAccepted(7))
    assert actions == [Action.CLAIM, Action.OPEN]
    assert situation.stage is MoveStage.SERVING
    assert situation.opened


def test_a_refused_link_moves_the_session_at_once() -> None:
    situation, actions = play(*SERVING, mover.LinkLost(7, gone=False), mover.LinkLost(7, gone=True))
    assert actions == [Action.OPEN, Action.OPEN, Action.MOVE]
    assert situation.cause is MoveCause.REFUSED


def test_a_broken_link_is_tried_again_before_anything_moves() -> None:
    situation, actions = play(*SERVING, mover.LinkLost(7, gone=False), mover.WorkerAccepted(7))
    assert Action.MOVE not in actions
    assert situation.stage is MoveStage.SERVING


def test_silence_is_examined_and_moves_only_with_a_cause() -> None:
    silent, actions = play(*SERVING, tick(0.9), tick(1.0))
    assert actions[-1] is Action.EXAMINE
    assert silent.opened, "the channel stays, as long as nothing is decided"
    stays, _ = play(mover.Examined(7, None), situation=silent)
    assert stays.stage is MoveStage.EXAMINING
    moves, actions = play(mover.Examined(7, MoveCause.SILENT), situation=silent)
    assert (actions, moves.cause) == ([Action.MOVE], MoveCause.SILENT)


def test_what_is_normal_for_a_worker_is_no_silence() -> None:
    _, actions = play(*SERVING, tick(3.9, 4.0))
    assert actions == [Action.OPEN]
    _, actions = play(*SERVING, tick(3.9, 4.0), tick(4.0, 4.0))
    assert actions == [Action.OPEN, Action.EXAMINE]


def silent_move(epoch: int) -> list[mover.Event | float]:
    """The worker of `epoch` falls silent, and the next one opens."""
    return [
        tick(1.2),
        mover.Examined(epoch, MoveCause.SILENT),
        mover.Claimed(claim(epoch + 1, f"w{epoch}")),
        mover.WorkerAccepted(epoch + 1),
    ]


def test_silence_after_a_move_by_silence_is_waited_out_for_longer_each_time() -> None:
    moved, _ = play(*SERVING, *silent_move(7))
    soon, actions = play(1.9, tick(1.2), mover.Examined(8, MoveCause.SILENT), situation=moved)
    assert (actions, soon.stage) == ([Action.EXAMINE], MoveStage.EXAMINING)
    later, actions = play(2.0, *silent_move(8), situation=moved)
    assert actions == [Action.EXAMINE, Action.MOVE, Action.OPEN]
    assert later.backoff.level == 2


def test_a_dead_process_is_left_at_once_however_often_it_was_moved_by_silence() -> None:
    moved, _ = play(*SERVING, *silent_move(7))
    _, actions = play(0.1, mover.LinkLost(8, gone=True), situation=moved)
    assert actions == [Action.MOVE]
    assert play(0.1, mover.LinkLost(8, gone=True), mover.Claimed(claim(9)), situation=moved)[0].backoff.level == 1


def test_a_move_by_silence_that_another_gateway_made_counts_as_well() -> None:
    adopted, _ = play(*SERVING, tick(1.2), mover.Claimed(claim(8, "w1")))
    assert adopted.backoff.level == 1
    asked_for, _ = play(*SERVING, mover.Claimed(claim(8, "w1")))
    assert asked_for.backoff.level == 0


def test_a_silent_worker_that_cannot_be_left_yet_is_looked_at_anew_and_may_come_back() -> None:
    held, actions = play(*SERVING, tick(1.2), mover.Examined(7, MoveCause.SILENT), mover.Unclaimed(0.5))
    assert actions[-1] is Action.MOVE
    assert held.opened
    back, actions = play(0.1, tick(0.0), situation=held)
    assert (back.stage, actions) == (MoveStage.SERVING, [])
    still, actions = play(0.6, tick(2.0), mover.Examined(7, MoveCause.SILENT), situation=held)
    assert (still.stage, actions) == (MoveStage.MOVING, [Action.EXAMINE, Action.MOVE])


def test_a_worker_that_progresses_again_is_served_on_without_opening_anew() -> None:
    situation, actions = play(*SERVING, tick(1.2), tick(0.0))
    assert situation.stage is MoveStage.SERVING
    assert actions == [Action.OPEN, Action.EXAMINE]


def test_a_worker_that_restores_for_long_is_waited_for() -> None:
    waiting: list[mover.Event | float] = [3.0, tick(0.1)]
    situation, actions = play(mover.SessionWanted(claim(7)), *waiting * 3, mover.WorkerAccepted(7))
    assert actions == [Action.OPEN]
    assert situation.stage is MoveStage.SERVING


def test_a_link_that_cannot_be_opened_is_examined_and_tried_again() -> None:
    _, actions = play(mover.SessionWanted(claim(7)), 1.0, tick(math.inf), mover.Examined(7, None), 0.3, tick(math.inf))
    assert actions == [Action.OPEN, Action.EXAMINE, Action.OPEN]


def test_a_worker_that_has_not_read_its_assignment_is_asked_again_for_a_while() -> None:
    refused = mover.WorkerRefused(7, "not-owner")
    asked, actions = play(mover.SessionWanted(claim(7)), refused, 0.06, tick(math.inf), mover.WorkerAccepted(7))
    assert actions == [Action.OPEN, Action.OPEN]
    assert asked.stage is MoveStage.SERVING
    again: list[mover.Event | float] = [refused, 0.06, tick(math.inf)]
    _, actions = play(mover.SessionWanted(claim(7)), *again * 40)
    assert actions.index(Action.MOVE) > 20


@pytest.mark.parametrize(("reason", "cause"), [("draining", MoveCause.DRAIN), ("no-slot", MoveCause.REFUSED)])
def test_a_worker_that_will_not_serve_is_left_at_once(reason: str, cause: MoveCause) -> None:
    situation, actions = play(mover.SessionWanted(claim(7)), mover.WorkerRefused(7, reason))
    assert (actions[-1], situation.cause) == (Action.MOVE, cause)


def test_without_capacity_it_waits_longer_and_longer_and_asks_the_old_worker_between() -> None:
    situation, actions = play(mover.SessionWanted(claim(7)), mover.WorkerRefused(7, "engine"), mover.Unclaimed())
    waits = []
    for _ in range(6):
        waits.append(situation.due_s - situation.since_s)
        situation, action = decide(situation, tick(math.inf), situation.due_s)
        assert action is not None
        actions.append(action)
        answer = mover.Unclaimed() if action is Action.MOVE else mover.WorkerRefused(7, "engine")
        situation, _ = decide(situation, answer, situation.since_s)
    assert waits == sorted(waits)
    assert waits[-1] <= mover.LONGEST_RETRY_S
    assert actions[2:] == [Action.OPEN, Action.MOVE] * 3 or actions[2:] == [Action.MOVE, Action.OPEN] * 3


FULL = mover.Unclaimed(for_want_of_room=True)


@pytest.mark.parametrize(
    ("before", "action"),
    [
        ([mover.SessionWanted(), FULL], Action.CLAIM),
        ([*SERVING, mover.LinkLost(7, gone=True), FULL], Action.MOVE),
    ],
    ids=["claim", "move"],
)
def test_who_waits_for_room_asks_as_soon_as_some_is_made(before: list[mover.Event], action: Action) -> None:
    # So often that the next try would be two seconds away.
    waiting, _ = play(*before)
    waiting = replace(waiting, failures=8, due_s=102.0)
    assert play(0.1, tick(math.inf), situation=waiting)[1] == []

    told, at_once = play(0.1, mover.RoomMade(0.05), situation=waiting)
    assert at_once == [], "not all that wait ask in the same moment"
    if action is Action.MOVE:
        told = replace(told, failures=9)  # with an even number it is the turn of the worker that was left
    assert play(0.2, tick(math.inf), situation=told)[1] == [action]


def test_a_silent_worker_is_looked_at_anew_as_soon_as_another_one_may_have_room() -> None:
    waiting, _ = play(*SERVING, tick(1.2), mover.Examined(7, MoveCause.SILENT), FULL)
    waiting = replace(waiting, due_s=110.0)
    _, actions = play(0.1, mover.RoomMade(), tick(2.0), mover.Examined(7, MoveCause.SILENT), situation=waiting)
    assert actions == [Action.EXAMINE, Action.MOVE]


@pytest.mark.parametrize(
    "waiting",
    [
        play(mover.SessionWanted(), mover.Unclaimed())[0],
        play(mover.SessionWanted(claim(7)), mover.WorkerRefused(7, "engine"), FULL, mover.Claimed(claim(8)))[0],
        play(*SERVING, tick(1.2))[0],
    ],
    ids=["for Redis", "for a worker that opens", "for a silent worker"],
)
def test_room_changes_nothing_for_who_does_not_wait_for_it(waiting: Situation) -> None:
    assert play(0.1, mover.RoomMade(), situation=waiting) == (waiting, [])


def test_a_newer_claim_is_followed_and_an_older_one_never() -> None:
    followed, actions = play(*SERVING, mover.Claimed(claim(9, "w1")))
    assert (followed.claim, actions[-1]) == (claim(9, "w1"), Action.OPEN)
    ignored, actions = play(mover.Claimed(claim(8, "w2")), situation=followed)
    assert (ignored, actions) == (followed, [])


def test_losing_the_race_to_move_adopts_the_winners_claim() -> None:
    situation, actions = play(
        *SERVING, mover.LinkLost(7, gone=True), mover.Claimed(claim(8, "w1")), mover.WorkerAccepted(8)
    )
    assert actions[-2:] == [Action.MOVE, Action.OPEN]
    assert (situation.stage, situation.claim) == (MoveStage.SERVING, claim(8, "w1"))


def test_a_claim_that_lapsed_is_claimed_anew() -> None:
    _, actions = play(*SERVING, mover.LinkLost(7, gone=True), mover.Lapsed())
    assert actions[-2:] == [Action.MOVE, Action.CLAIM]


def test_what_was_said_of_an_older_epoch_changes_nothing() -> None:
    followed, _ = play(*SERVING, mover.Claimed(claim(9, "w1")), mover.WorkerAccepted(9))
    late: list[mover.Event] = [
        mover.LinkLost(7, gone=True),
        mover.WorkerRefused(7, "engine"),
        mover.WorkerAccepted(7),
        mover.Examined(7, MoveCause.SILENT),
    ]
    assert play(*late, situation=followed) == (followed, [])


def test_nobody_left_closes_and_forgets() -> None:
    situation, actions = play(*SERVING, mover.SessionUnwanted())
    assert actions[-1] is Action.CLOSE
    assert (situation.stage, situation.claim) == (MoveStage.IDLE, None)
    assert play(mover.Claimed(claim(9)), tick(math.inf), situation=situation)[1] == []


EVENTS = st.one_of(
    st.builds(mover.SessionWanted, st.none() | st.builds(claim, st.integers(1, 6))),
    st.just(mover.SessionUnwanted()),
    st.builds(lambda epoch: mover.Claimed(claim(epoch)), st.integers(1, 6)),
    st.builds(mover.Unclaimed, st.floats(0, 3), st.booleans()),
    st.builds(mover.RoomMade, st.floats(0, 1)),
    st.just(mover.Lapsed()),
    st.builds(mover.WorkerAccepted, st.integers(1, 6)),
    st.builds(mover.WorkerRefused, st.integers(1, 6), st.sampled_from(["not-owner", "draining", "no-slot", "engine"])),
    st.builds(mover.LinkLost, st.integers(1, 6), st.booleans()),
    st.builds(mover.Examined, st.integers(1, 6), st.sampled_from([None, *MoveCause])),
    st.builds(tick, st.sampled_from([0.0, 0.5, 1.5, math.inf])),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 2)), max_size=60))
@example(
    [(mover.SessionWanted(claim(1)), 0.0), (mover.WorkerAccepted(1), 0.0), (tick(1.5), 0.0), (tick(math.inf), 1.0)]
)
@settings(max_examples=100)
def test_whatever_happens_epochs_grow_and_nothing_is_forgotten(steps: list[tuple[mover.Event, float]]) -> None:
    """The epoch never falls, MOVE has a claim and a cause, OPEN a claim, and time alone leads out of waiting."""
    situation, now_s = Situation(), 0.0
    for event, elapsed_s in steps:
        now_s += elapsed_s
        before = situation
        situation, action = decide(situation, event, now_s)
        if before.claim is not None and situation.claim is not None:
            assert situation.claim.epoch >= before.claim.epoch
        if action is Action.MOVE:
            assert situation.claim is not None
            assert situation.cause is not None
        if action in (Action.OPEN, Action.EXAMINE):
            assert situation.claim is not None
        if situation.opened:
            assert situation.stage in (MoveStage.SERVING, MoveStage.EXAMINING, MoveStage.MOVING)
        if situation.stage in (MoveStage.OPENING, MoveStage.REFUSED, MoveStage.EXAMINING, MoveStage.WAITING):
            later = max(situation.due_s, now_s) + 0.001
            assert decide(situation, tick(math.inf), later)[1] is not None
        if situation.stage in (MoveStage.CLAIMING, MoveStage.MOVING):
            assert action is not None or before.stage is situation.stage


@given(st.integers(0, 50))
def test_the_backoff_grows_and_is_bounded(failures: int) -> None:
    assert mover.FIRST_RETRY_S <= mover.backoff_s(failures) <= mover.backoff_s(failures + 1) <= mover.LONGEST_RETRY_S


def test_a_settled_worker_clears_the_failures() -> None:
    shaky = replace(play(*SERVING)[0], failures=3)
    assert play(4.0, tick(0.0), situation=shaky)[0].failures == 3
    assert play(6.0, tick(0.0), situation=shaky)[0].failures == 0
