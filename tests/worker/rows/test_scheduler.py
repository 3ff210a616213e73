"""Which rows run: pure decisions, and what they add up to in simulated time."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.approximation.levels import Level
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import BatchShape, DeviceSeconds, Row
from genlock_worker.ownership.overload import ENTER_S
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.scheduler import (
    LEAD_S,
    ROWS_BEYOND_KNEE,
    Arrival,
    Batch,
    Candidate,
    Order,
    Wait,
    _finish,
    by_deadline,
    by_slack,
    next_batch,
)
from tests.worker.simulation import SimSession, Simulation, jain

SHAPE = BatchShape("m", 832, 480, 4)
H100 = StepTime.from_fps({1: 44.38, 2: 43.41, 3: 43.08, 4: 42.26}, chunk_frames=4)
LINEAR = StepTime(0.05, 0.05)


def candidate(
    session: str,
    *,
    deadline: float = 1.0,
    plays_until: float | None = None,
    step: int = 0,
    left: int = 1,
    loss: float = 0.0,
    shape: BatchShape = SHAPE,
) -> Candidate:
    """Nothing of the session was shown yet, unless `plays_until` says so."""
    until_s = deadline if plays_until is None else plays_until
    return Candidate(Row(session, step, 0), shape, deadline, until_s, left, loss)


def batch(*candidates: Candidate, cost: StepTime = H100, now: float = 0.0) -> list[str]:
    decision = next_batch(candidates, CostModel(cost), now)
    assert isinstance(decision, Batch)
    return [row.session for row in decision.rows]


def test_without_rows_it_waits_for_something_new() -> None:
    assert next_batch([], CostModel(H100), 0.0) == Wait(None)


def test_rows_of_all_sessions_and_steps_share_a_forward() -> None:
    rows = [candidate("a", step=1), candidate("b"), candidate("a")]
    assert sorted(batch(*rows)) == ["a", "a", "b"]


def test_rows_of_another_shape_do_not() -> None:
    other = BatchShape("m", 512, 512, 4)
    assert batch(candidate("a", deadline=2.0), candidate("b", deadline=1.0, shape=other)) == ["b"]


def test_the_earliest_deadline_goes_first() -> None:
    assert batch(candidate("a", deadline=2.0), candidate("b", deadline=1.0))[0] == "b"


def test_whose_viewers_run_out_of_pictures_first_goes_first() -> None:
    deep = candidate("a", deadline=0.6, plays_until=0.5)
    shallow = candidate("b", deadline=0.8, plays_until=0.2)
    assert batch(deep, shallow)[0] == "b"
    later = next_batch([deep, shallow], CostModel(H100), 0.0, order=by_deadline)
    assert isinstance(later, Batch)
    assert later.rows[0].session == "a", "the earliest deadline is another order"


def test_who_plays_far_behind_its_source_comes_before_its_deadline_all_the_same() -> None:
    far_behind = candidate("a", deadline=0.3, plays_until=0.9)
    assert batch(far_behind, candidate("b", deadline=0.9, plays_until=0.25))[0] == "a"
    assert batch(far_behind, candidate("b", deadline=0.9, plays_until=0.15))[0] == "b"


def test_a_stream_that_has_just_begun_is_not_made_late_by_those_that_run() -> None:
    # Two rows of 0.1 s each are left of it, and other shapes do not share its forward.
    other = BatchShape("m", 832, 480, 5)
    new = candidate("new", deadline=0.55, left=2, shape=other)
    running = [candidate(f"s{i}", deadline=2.0, plays_until=0.0) for i in range(3)]
    assert batch(new, *running, cost=LINEAR)[0] == "s0", "it can wait for a forward of three"
    assert batch(new, *running, cost=LINEAR, now=0.15) == ["new"]
    assert batch(new, *running, cost=LINEAR, now=0.40)[0] == "s0", "it is late whoever goes first"
    lost = [replace(one, loss=0.5) for one in running]
    assert batch(new, *lost, cost=LINEAR, now=0.15)[0] == "s0", "who lost most goes first"


def test_of_two_that_run_out_together_the_one_that_needs_more_goes_first() -> None:
    short, long = candidate("a", plays_until=0.5), candidate("b", plays_until=0.5, left=4)
    assert batch(short, long)[0] == "b"


def test_a_chunk_that_was_not_taken_in_needs_that_too() -> None:
    cost = CostModel(H100)
    for _ in range(80):
        cost.observe(SHAPE, 1, DeviceSeconds(rows=H100.seconds(1), encode=0.1), begun=1)
    taken_in = candidate("a", plays_until=0.5)
    decision = next_batch([taken_in, replace(candidate("b", plays_until=0.55), encoded=False)], cost, 0.0)
    assert isinstance(decision, Batch)
    assert decision.rows[0].session == "b"


KNEE = StepTime(base_s=0.02, row_s=0.001, compute_s=0.006)


def test_a_batch_grows_to_the_knee_and_one_row_beyond() -> None:
    rows = [candidate(f"s{i}", deadline=9.0) for i in range(12)]
    assert KNEE.knee == 4
    assert len(batch(*rows, cost=KNEE)) == 4 + ROWS_BEYOND_KNEE
    assert len(batch(*rows, cost=StepTime(0.02, 0.001))) == 12, "a line has its knee far away"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("believed", "truth"),
    [
        (StepTime.from_fps({1: 40.0}, chunk_frames=4), StepTime(0.02, 0.001)),  # one figure tells nothing of the base
        (StepTime(0.001, 0.009), StepTime(0.02, 0.001)),  # of a card with less arithmetic
        (StepTime(0.01, 0.001, 0.005), StepTime(0.01, 0.001)),
        (StepTime(0.03, 0.002, 0.008), StepTime(0.03, 0.002, 0.008)),
        (StepTime(0.0003, 0.0082), StepTime(0.0003, 0.0082)),
    ],
)
def test_a_worker_that_always_has_more_rows_than_the_knee_finds_the_size_that_pays(
    believed: StepTime, truth: StepTime, seed: int
) -> None:
    chance, cost = random.Random(seed), CostModel(believed)
    there = [candidate(f"s{number}", deadline=9.0) for number in range(16)]
    rows, took_s = 0, 0.0
    sizes: list[int] = []
    for _ in range(300):
        decision = next_batch(there, cost, 0.0)
        assert isinstance(decision, Batch)
        sizes.append(len(decision.rows))
        seconds = truth.seconds(sizes[-1]) * chance.gauss(1, 0.03)
        cost.observe(SHAPE, sizes[-1], DeviceSeconds(rows=seconds))
        rows, took_s = rows + sizes[-1], took_s + seconds

    most_in_a_second = max(size / truth.seconds(size) for size in range(1, 17))
    assert rows / took_s > 0.9 * most_in_a_second
    if truth.knee is not None and truth.knee < 16:
        assert sum(sizes) / len(sizes) < truth.knee + 2, "and none makes all wait for nothing"


def test_no_row_waits_for_company_that_the_knee_leaves_no_room_for() -> None:
    rows = [candidate(f"s{i}", deadline=9.0) for i in range(5)]
    coming = [Arrival("z", SHAPE, 0.004)]
    assert next_batch(rows[:3], CostModel(KNEE), 0.0, expected=coming, load=0.9) == Wait(0.004)
    assert isinstance(next_batch(rows, CostModel(KNEE), 0.0, expected=coming, load=0.9), Batch)


def test_company_is_worth_waiting_for_only_as_long_as_sharing_saves() -> None:
    # Before the knee sharing saves the base; beyond it nothing.
    row = [candidate("a", deadline=9.0)]
    flat, steep = CostModel(StepTime(0.05, 0.01)), CostModel(StepTime(0.05, 0.01, 0.06))
    coming = [Arrival("z", SHAPE, 0.045)]
    assert next_batch(row, flat, 0.0, expected=coming, load=0.9) == Wait(0.045)
    assert isinstance(next_batch(row, steep, 0.0, expected=coming, load=0.9), Batch)


def test_who_lost_most_goes_before_any_deadline() -> None:
    assert batch(candidate("a", deadline=0.1), candidate("b", deadline=1.0, loss=0.3), cost=LINEAR)[0] == "b"


def test_nobody_is_made_late_for_anothers_company() -> None:
    urgent = candidate("a", deadline=0.12)
    assert batch(urgent, candidate("b", deadline=9.0), cost=LINEAR) == ["a"]


def test_a_chunk_that_would_be_late_is_not_begun_for_company() -> None:
    head = candidate("a", deadline=0.5, plays_until=0.1)
    assert batch(head, candidate("b", deadline=0.58, left=4), cost=LINEAR) == ["a"]
    assert batch(head, candidate("b", deadline=0.65, left=4), cost=LINEAR) == ["a", "b"]


def test_no_company_makes_a_micro_step_so_long_that_the_worker_looks_stuck() -> None:
    late = [candidate(name, deadline=0.0, step=1) for name in "abcdef"]
    assert len(batch(*late, cost=StepTime(0.1, 0.1), now=5.0)) == 4
    assert len(batch(*late, cost=StepTime(0.9, 0.1), now=5.0)) == 1


def test_a_row_waits_for_company_only_where_that_pays_and_harms_nobody() -> None:
    cost = CostModel(StepTime(0.1, 0.001))
    coming = [Arrival("b", SHAPE, 0.05)]
    held = next_batch([candidate("a")], cost, 0.0, expected=coming, load=0.9)
    assert held == Wait(0.05)
    assert isinstance(next_batch([candidate("a")], cost, 0.0, expected=coming, load=0.2), Batch)
    assert isinstance(next_batch([candidate("a", deadline=0.12)], cost, 0.0, expected=coming, load=0.9), Batch)
    assert isinstance(next_batch([candidate("a")], cost, 0.0, expected=[Arrival("b", SHAPE, 0.2)], load=0.9), Batch)
    assert isinstance(next_batch([candidate("a")], cost, 0.0, expected=[Arrival("a", SHAPE, 0.05)], load=0.9), Batch)
    assert isinstance(next_batch([candidate("a")], cost, 0.06, expected=coming, load=0.9), Batch)


def test_a_batch_is_submitted_only_as_early_as_the_device_needs_it() -> None:
    rows = [candidate("a")]
    assert next_batch(rows, CostModel(H100), 1.0, free_s=1.05) == Wait(1.05 - LEAD_S)
    assert isinstance(next_batch(rows, CostModel(H100), 1.05 - LEAD_S, free_s=1.05), Batch)
    assert isinstance(next_batch(rows, CostModel(H100), 2.0, free_s=1.05), Batch)


def test_who_is_in_a_batch_is_judged_by_when_it_begins() -> None:
    urgent, patient = candidate("a", deadline=1.104), candidate("b", deadline=9.0)
    at_once = next_batch([urgent, patient], CostModel(StepTime(0.05, 0.03)), 0.99)
    later = next_batch([urgent, patient], CostModel(StepTime(0.05, 0.03)), 0.999, free_s=1.003)
    assert isinstance(at_once, Batch)
    assert isinstance(later, Batch)
    assert [row.session for row in at_once.rows] == ["a", "b"]
    assert [row.session for row in later.rows] == ["a"], "beside the other it would end after its deadline"


@given(
    rows=st.lists(
        st.builds(
            candidate,
            st.sampled_from("abcdef"),
            deadline=st.floats(0, 3),
            step=st.integers(0, 3),
            left=st.integers(1, 4),
            loss=st.floats(0, 1),
            shape=st.sampled_from([SHAPE, BatchShape("m", 512, 512, 4)]),
        ),
        min_size=1,
        max_size=12,
    ),
    now=st.floats(0, 3),
    load=st.floats(0, 1),
)
def test_a_batch_is_of_one_shape_made_of_candidates_and_holds_end(
    rows: list[Candidate], now: float, load: float
) -> None:
    coming = [Arrival("z", SHAPE, now + 0.01)]
    decision = next_batch(rows, CostModel(H100), now, expected=coming, load=load)
    if isinstance(decision, Wait):
        assert decision.until_s is not None
        assert now < decision.until_s
        decision = next_batch(rows, CostModel(H100), decision.until_s, expected=coming, load=load)
    assert isinstance(decision, Batch)
    assert decision.rows
    assert {c.shape for c in rows if c.row in decision.rows} >= {decision.shape}
    assert len(decision.rows) <= len(rows)


some_rows = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcdef"),
        deadline=st.floats(0, 3),
        plays_until=st.floats(-1, 3),
        step=st.integers(0, 3),
        left=st.integers(1, 4),
        loss=st.floats(0, 1),
    ),
    min_size=1,
    max_size=12,
)


def place(one: Candidate, others: list[Candidate], order: Order) -> int:
    """How many of the others go before it."""
    cost = CostModel(H100)
    return sum(order(other, cost) < order(one, cost) for other in others)


@given(
    one=st.builds(
        candidate, st.just("z"), deadline=st.floats(0, 3), plays_until=st.floats(-1, 3), left=st.integers(1, 4)
    ),
    others=some_rows,
    more=st.floats(0, 3),
    order=st.sampled_from([by_slack, by_deadline]),
)
def test_who_is_worse_off_never_goes_later(one: Candidate, others: list[Candidate], more: float, order: Order) -> None:
    before = place(one, others, order)
    assert place(replace(one, deadline_s=one.deadline_s - more), others, order) <= before
    assert place(replace(one, plays_until_s=one.plays_until_s - more), others, order) <= before
    assert place(replace(one, rows_left=one.rows_left + round(more)), others, order) <= before
    assert place(replace(one, loss=min(1.0, one.loss + more)), others, order) <= before


@given(rows=some_rows, knee=st.integers(1, 20), most=st.integers(1, 64))
def test_no_batch_goes_far_beyond_the_knee_and_its_head_is_the_first_in_order(
    rows: list[Candidate], knee: int, most: int
) -> None:
    cost = CostModel(StepTime(base_s=0.01 * knee, row_s=0.002, compute_s=0.012))
    patient = [replace(one, deadline_s=one.deadline_s + 100) for one in rows]
    decision = next_batch(patient, cost, 0.0, max_rows=most)
    assert isinstance(decision, Batch)
    learned = cost.knee(SHAPE)
    assert learned == knee
    assert 1 <= len(decision.rows) <= min(most, knee + ROWS_BEYOND_KNEE)
    head = min(patient, key=lambda one: by_slack(one, cost))
    assert decision.rows[0] == head.row


# -- in simulated time ------------------------------------------------------------------------------------------------


def test_ten_sessions_with_jitter_run_in_time_where_batching_carries_them() -> None:
    sessions = [SimSession(f"s{i}", phase_s=i * 0.07, source_rate=30, jitter_s=0.01) for i in range(10)]
    simulation = Simulation(sessions, truth=H100, noise=0.05)
    simulation.run(20)
    assert all(s.late_share < 0.02 for s in sessions)
    assert all(s.served_share > 0.97 for s in sessions)
    assert all(s.chunks == list(range(len(s.chunks))) for s in sessions), "output is in order and without holes"


DEPTHS = (1, 2, 3)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_same_promises_hold_with_several_batches_under_way(depth: int) -> None:
    sessions = [SimSession(f"s{i}", phase_s=i * 0.07, source_rate=30, jitter_s=0.01) for i in range(10)]
    simulation = Simulation(sessions, truth=H100, noise=0.05, depth=depth)
    simulation.run(20)
    assert all(s.late_share < 0.02 for s in sessions)
    assert all(s.served_share > 0.97 for s in sessions)
    assert all(s.chunks == list(range(len(s.chunks))) for s in sessions)


def misses(depth: int, *, eager: bool = False) -> tuple[float, float]:
    """(deadline misses, rows of a batch) of a worker that batching just carries."""
    sessions = [SimSession(f"s{i}", phase_s=i * 0.083, jitter_s=0.02, deadline_s=0.35) for i in range(6)]
    simulation = Simulation(sessions, truth=StepTime(0.055, 0.006), noise=0.05, seed=3, depth=depth, eager=eager)
    simulation.run(60)
    sizes = [len(rows) for _, rows in simulation.batches]
    return sum(s.late_share for s in sessions) / len(sessions), sum(sizes) / len(sizes)


def test_a_second_batch_costs_no_deadline_and_no_company() -> None:
    (one_misses, one_rows), (two_misses, two_rows), (_, eager_rows) = misses(1), misses(2), misses(2, eager=True)
    assert two_misses <= one_misses + 0.005
    assert two_rows > 0.9 * one_rows
    assert eager_rows < two_rows, "a batch that is fixed a whole batch ahead has less company"


def test_an_overload_is_shared_fairly() -> None:
    sessions = [SimSession(f"s{i}", phase_s=i * 0.031, steps=1 + i % 4) for i in range(6)]
    simulation = Simulation(sessions, truth=LINEAR, noise=0.05)
    simulation.run(40)
    assert all(s.dropped for s in sessions)
    assert jain([s.served_share for s in sessions]) > 0.95


def test_one_slow_session_does_not_slow_the_others() -> None:
    quick = [SimSession(f"s{i}", phase_s=i * 0.05) for i in range(3)]
    slow = SimSession("slow", source_rate=3, jitter_s=0.2)
    simulation = Simulation([*quick, slow], truth=H100, noise=0.05)
    simulation.run(20)
    assert all(s.late_share < 0.01 and s.served_share > 0.97 for s in quick)
    assert slow.chunks


def test_steps_give_way_under_load_and_come_back() -> None:
    sessions = [SimSession(f"s{i}", steps=4, phase_s=i * 0.1, adaptive=True) for i in range(2)]
    simulation = Simulation(sessions, truth=StepTime(0.02, 0.04), noise=0.02)
    simulation.run(20)
    assert all(s.steps_run[-1][1] < 4 for s in sessions)
    assert all(s.served_share > 0.9 for s in sessions)
    simulation.truth = StepTime(0.005, 0.005)
    simulation.run(60)
    assert all(s.steps_run[-1][1] == 4 for s in sessions)


def test_frames_give_way_after_the_steps_and_come_back_before_them() -> None:
    session = SimSession("s", steps=3, adaptive=True, may_halve=True, jitter_s=0.01)
    # One step takes 0.32 s: too much for each 0.25 s, and little for each 0.5 s.
    simulation = Simulation([session], truth=StepTime(0.28, 0.04), noise=0.02)
    simulation.run(60)
    assert [running for _, running in session.ran_with] == [
        Level(3),
        Level(2),
        Level(1),
        Level(1, every=2),
    ]

    # Half as many pictures from then on, in time and evenly: what is left out is no gap, no miss and no loss.
    dropped = session.dropped
    settled = [frame for frame in session.frames if frame.send_s > 15.0]
    assert len(settled) == pytest.approx(8 * 45, abs=8)
    assert all(frame.send_s <= frame.due_s for frame in settled)
    assert max(late.send_s - early.send_s for early, late in pairwise(settled)) < 3 / 16

    simulation.truth = StepTime(0.005, 0.005)
    simulation.run(60)
    assert [running for _, running in session.ran_with][4:] == [Level(1), Level(2), Level(3)]
    assert session.dropped == dropped
    back = [frame for frame in session.frames if frame.send_s > 61.0]
    assert all(frame.send_s <= frame.due_s for frame in back)


def test_load_is_shed_in_order_steps_then_frames_then_new_sessions() -> None:
    sessions = [
        SimSession(f"s{i}", steps=3, phase_s=i * 0.1, adaptive=True, may_halve=True, jitter_s=0.01) for i in range(2)
    ]
    # Not even one step of each, of every second frame, is done in the 0.5 s that it has.
    simulation = Simulation(sessions, truth=StepTime(0.4, 0.2), noise=0.02)
    simulation.run(40)
    lowest = [session.ran_with[-1] for session in sessions]
    assert {running for _, running in lowest} == {Level(1, every=2)}
    assert simulation.overloaded_from_s is not None
    assert simulation.overloaded_from_s >= max(at_s for at_s, _ in lowest) + ENTER_S
    for session in sessions:
        at_all_frames = [running.steps for _, running in session.ran_with if running.every == 1]
        assert at_all_frames == [3, 2, 1]

    simulation.truth = StepTime(0.01, 0.01)
    simulation.run(60)
    assert not simulation.overload.is_overloaded


def test_a_worker_that_can_do_what_it_has_at_its_lowest_takes_new_sessions() -> None:
    session = SimSession("s", steps=3, adaptive=True, may_halve=True)
    simulation = Simulation([session], truth=StepTime(0.28, 0.04), noise=0.02)
    simulation.run(60)
    assert session.ran_with[-1][1] == Level(1, every=2)
    assert simulation.overloaded_from_s is None


def test_the_cost_model_learns_an_engine_that_is_slower_than_its_profile() -> None:
    sessions = [SimSession(f"s{i}", phase_s=i * 0.07) for i in range(3)]
    simulation = Simulation(sessions, truth=StepTime(0.12, 0.02), prior=H100, noise=0.05)
    simulation.run(20)
    assert simulation.cost.seconds(SHAPE_TINY, 3) == pytest.approx(0.18, rel=0.2)


SHAPE_TINY = BatchShape("tiny", 832, 480, 4)


@settings(max_examples=30, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([(832, 480), (512, 512)]), st.floats(0.1, 1.0), st.floats(0, 0.3)),
        min_size=1,
        max_size=6,
    ),
    base=st.floats(0.001, 0.15),
    row=st.floats(0.0005, 0.1),
    seed=st.integers(0, 99),
)
def test_nobody_starves_and_output_stays_in_order(
    shapes: list[tuple[int, tuple[int, int], float, float]], base: float, row: float, seed: int
) -> None:
    sessions = [
        SimSession(f"s{i}", steps=steps, shape=shape, deadline_s=deadline, phase_s=phase, jitter_s=0.02)
        for i, (steps, shape, deadline, phase) in enumerate(shapes)
    ]
    simulation = Simulation(sessions, truth=StepTime(base, row), noise=0.1, seed=seed)
    simulation.run(30)
    for session in sessions:
        assert session.chunks == list(range(len(session.chunks)))
        assert session.chunks, "a session was never served"
        assert all(rows.waiting is None or not rows.candidates() for rows in simulation.rows.values())
    shares = [s.served_share for s in sessions]
    assert min(shares) > 0.2 * max(shares), shares


def test_a_chunk_that_begins_has_its_encoding_before_it() -> None:
    cost = CostModel(StepTime(0.05, 0.0))
    for _ in range(80):
        cost.observe(SHAPE, 1, DeviceSeconds(rows=0.05, encode=0.1), begun=1)
    begun = candidate("b", deadline=0.12)
    late = replace(begun, encoded=False)
    first = replace(candidate("a", deadline=0.01), encoded=False)
    company = next_batch([first, begun], cost, 0.0)
    assert isinstance(company, Batch)
    assert [row.session for row in company.rows] == ["a", "b"]
    assert not _in_time(late, cost), "with 0.1 s of encoding it ends after 0.15 s"
    assert _in_time(begun, cost), "its chunk was encoded before"


def _in_time(one: Candidate, cost: CostModel) -> bool:
    return _finish(one, cost, 0.0, 1) <= one.deadline_s
