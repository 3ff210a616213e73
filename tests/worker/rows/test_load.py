"""How busy the engine is, and who gives way."""

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import StreamSettings
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.approximation import RAISE_AFTER_S, RAISE_BELOW_LOAD
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.load import BUSY_WINDOW_S, EngineLoad
from genlock_worker.rows.session_rows import LOSS_GAIN, SessionPlan, SessionRows

CHUNK_S = 4 / 16


def load(cost: StepTime) -> EngineLoad:
    return EngineLoad(cost=CostModel(cost), metrics=WorkerMetrics(CollectorRegistry()), now_s=10.0)


def session(
    name: str, *, steps: int = 2, min_steps: int | None = 1, may_halve: bool = False, frame_rate: int = 16
) -> SessionRows:
    """One chunk is under way and one waits; the newest is there since 1 s."""
    settings = StreamSettings("oil", steps, 64, 64, frame_rate, seed=1, noise_scale=0.7)
    rows = SessionRows(SessionPlan(name, "m", settings, 0.5, min_steps, may_halve=may_halve), now_s=10.0)
    for count in (5, 4):
        rows.offer(InputChunk(tuple(SourceFrame(SourcePosition(1, n), None, 0.0) for n in range(count)), 1.0))
        if count == 5:
            rows.begin()
    return rows


def test_the_share_is_measured_once_a_whole_window_has_passed() -> None:
    measured = load(StepTime(0.01, 0.01))
    measured.measure(0.4, 10.0 + BUSY_WINDOW_S / 2)
    assert measured.share == 0.0
    measured.measure(0.4 * BUSY_WINDOW_S, 10.0 + BUSY_WINDOW_S)
    assert measured.share == 0.4
    measured.measure(0.4 * BUSY_WINDOW_S + 5.0, 10.0 + 2 * BUSY_WINDOW_S)
    assert measured.share == 1.0


def heard(now_s: float, *sessions: SessionRows) -> None:
    """A chunk of each comes, and takes the place of the one that waited; nothing is made of it."""
    for rows in sessions:
        rows.waiting = None
        rows.offer(InputChunk(tuple(SourceFrame(SourcePosition(1, n), None, now_s) for n in range(4)), now_s))


def given_way(rows: SessionRows) -> float:
    """The session gives way by one step; returns when."""
    policy = rows.policy
    assert policy is not None
    for at_s in (12.0, 12.1):
        policy.trouble(at_s)
    assert policy.decide(rows.ceiling, 12.1, load_above=2.0).steps == rows.ceiling.steps - 1
    return 12.1


def test_a_session_gets_a_step_back_only_if_the_worker_can_bear_one_more() -> None:
    # Two sessions; the second runs 2 of its 3 steps: four rows now, five with the step.
    for fits in (True, False):
        share = RAISE_BELOW_LOAD * (0.99 if fits else 1.01)
        cost = StepTime(0.0, share * CHUNK_S / 5)
        one, other = session("a", min_steps=None), session("b", steps=3)
        now_s = given_way(other) + RAISE_AFTER_S + 0.1
        heard(now_s, one, other)
        load(cost).decide_levels([one, other], now_s)
        assert other.next_steps == (3 if fits else 2)
        assert one.next_steps == 2


def strained(rows: SessionRows, now_s: float) -> None:
    """Two chunks of it came late."""
    assert rows.policy is not None
    rows.policy.trouble(now_s - 0.1)
    rows.policy.trouble(now_s)


def exhausted(now_s: float, *sessions: SessionRows) -> bool:
    measured = load(StepTime(0.1, 0.1))
    measured.decide_levels(sessions, now_s)
    return measured.exhausted


def test_the_engine_is_exhausted_once_all_sessions_are_at_their_lowest_and_one_comes_late_all_the_same() -> None:
    one, other = session("a", steps=1), session("b", steps=2)
    strained(one, 20.0)
    heard(20.0, one, other)
    assert not exhausted(20.0, one, other), "the other one can give way"
    assert exhausted(20.0, one)
    heard(30.0, one)
    assert not exhausted(30.0, one), "it has come in time since"
    assert not exhausted(20.0), "without a session nothing is too much"


def test_a_session_that_never_gives_way_exhausts_the_engine_by_what_it_loses() -> None:
    one = session("a", min_steps=None)
    heard(20.0, one)
    assert not exhausted(20.0, one)
    one.loss = 0.3
    assert exhausted(20.0, one)


@pytest.mark.parametrize(("frame_rate", "recent_s"), [(16, 2.0), (2, 4.0)])
def test_what_a_session_lost_before_its_source_stopped_exhausts_nothing(frame_rate: int, recent_s: float) -> None:
    one = session("a", min_steps=None, frame_rate=frame_rate)
    chunk_s = 4 / frame_rate
    for count in range(1, 5):  # one chunk is under way, and the engine takes none of these
        now_s = 1.0 + count * chunk_s
        one.offer(InputChunk(tuple(SourceFrame(SourcePosition(1, n), None, now_s) for n in range(4)), now_s))
    assert one.loss > LOSS_GAIN
    assert exhausted(now_s + recent_s, one)
    assert not exhausted(now_s + recent_s + 0.1, one)
    assert not exhausted(now_s + 3_600.0, one)


def test_a_session_whose_source_rests_hides_no_overload_although_it_could_give_way() -> None:
    one, resting = session("a", steps=1), session("b", steps=2)
    strained(one, 20.0)
    heard(20.0, one)
    assert not resting.is_lowest
    assert exhausted(20.0, one, resting)
    heard(20.0, resting)
    assert not exhausted(20.0, one, resting)


def test_a_session_whose_source_rests_weighs_nothing_for_its_neighbour() -> None:
    # A step more is two rows; with the neighbour's it would be four.
    for rests in (True, False):
        one, other = session("a", min_steps=None), session("b", steps=2)
        now_s = given_way(other) + RAISE_AFTER_S + 0.1
        heard(now_s, *([other] if rests else [one, other]))
        load(StepTime(0.0, 0.9 * RAISE_BELOW_LOAD * CHUNK_S / 2)).decide_levels([one, other], now_s)
        assert other.next_steps == (2 if rests else 1)


def test_a_session_gets_its_frames_back_only_if_the_worker_can_bear_twice_its_chunks() -> None:
    # Beside one with all its frames: in the time of a chunk of it two rows now one and a half, or two.
    for fits in (True, False):
        one = session("a", steps=1, min_steps=None)
        other = session("b", steps=1, may_halve=True)
        assert other.policy is not None
        strained(other, 12.0)
        other.policy.decide(Level(1), 12.0, load_above=2.0)
        assert other.next_running.every == 2
        assert other.chunk_s == 2 * CHUNK_S
        share = RAISE_BELOW_LOAD * (0.99 if fits else 1.01)
        now_s = 12.0 + RAISE_AFTER_S + 0.1
        heard(now_s, one, other)
        load(StepTime(0.0, share * CHUNK_S / 2)).decide_levels([one, other], now_s)
        assert other.next_running.every == (1 if fits else 2)


def test_a_session_at_half_its_frames_weighs_half_for_its_neighbour() -> None:
    # One more step of a session beside a halved one: 2 rows of its own and half of one, for which 3 are booked.
    one, other = session("a", steps=2), session("b", steps=1, may_halve=True)
    assert one.policy is not None
    assert other.policy is not None
    for rows in (one, other):
        assert rows.policy is not None
        strained(rows, 12.0)
        rows.policy.decide(rows.ceiling, 12.0, load_above=2.0)
    assert (one.next_running, other.next_running) == (Level(1), Level(1, every=2))
    cost = StepTime(0.0, 0.9 * RAISE_BELOW_LOAD * CHUNK_S / 3)
    now_s = 12.0 + RAISE_AFTER_S + 0.1
    heard(now_s, one, other)
    load(cost).decide_levels([one, other], now_s)
    assert one.next_steps == 2
