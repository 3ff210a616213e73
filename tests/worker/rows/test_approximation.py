"""A session gives way quickly, comes back slowly, and ever more slowly where coming back does not last."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_worker.rows.approximation import (
    LOWER_AFTER_TROUBLES,
    LOWER_COOLDOWN_S,
    RAISE_AFTER_S,
    RAISE_BELOW_LOAD,
    TROUBLE_WINDOW_CHUNKS,
    TROUBLE_WINDOW_S,
    LevelPolicy,
    RunningLevel,
)

CHUNK_S = 4 / 16


def steps(policy: LevelPolicy, ceiling: int) -> int:
    return policy.running(ceiling).steps


def lowered(policy: LevelPolicy, ceiling: int, now: float) -> float:
    """Trouble until the steps fall by one; returns when."""
    before = steps(policy, ceiling)
    while steps(policy, ceiling) == before:
        now += 0.25
        policy.trouble(now)
        policy.decide(ceiling, now, load_above=2.0)
    return now


def raised(policy: LevelPolicy, ceiling: int, now: float) -> float:
    before = steps(policy, ceiling)
    while steps(policy, ceiling) == before:
        now += 0.25
        policy.decide(ceiling, now, load_above=0.1)
    return now


def test_one_late_chunk_changes_nothing() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    policy.trouble(5.0)
    assert policy.decide(4, 5.0, load_above=1.0).steps == 4


def test_trouble_lowers_by_one_at_a_time_and_never_below_the_minimum() -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0), 0.0
    now = lowered(policy, 4, now)
    assert steps(policy, 4) == 3
    later = lowered(policy, 4, now)
    assert later - now >= 1.0
    for _ in range(50):
        later += 0.25
        policy.trouble(later)
        assert policy.decide(4, later, load_above=2.0).steps == 2


def test_it_raises_after_a_quiet_time_and_only_if_the_load_allows() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    now = lowered(policy, 2, 0.0)
    assert policy.decide(2, now + 60, load_above=0.95).steps == 1
    assert raised(policy, 2, now) - now >= RAISE_AFTER_S


def test_a_raise_that_fails_makes_the_next_one_wait_longer() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    now = lowered(policy, 2, 0.0)
    up = raised(policy, 2, now)
    down = lowered(policy, 2, up)
    assert raised(policy, 2, down) - down >= 2 * RAISE_AFTER_S


def test_what_the_user_wants_is_taken_at_once() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    now = lowered(policy, 4, 0.0)
    policy.forget(now)
    assert policy.decide(2, now, load_above=2.0).steps == 2
    assert policy.decide(4, now, load_above=2.0).steps == 4


def test_a_request_below_the_minimum_stands() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0)
    policy.trouble(5.0)
    policy.trouble(5.1)
    assert policy.decide(1, 5.1, load_above=2.0).steps == 1


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2)), max_size=80))
def test_steps_stay_between_minimum_and_request(events: list[tuple[float, bool, float]]) -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0), 0.0
    for wait, trouble, load in events:
        now += wait
        if trouble:
            policy.trouble(now)
        assert 2 <= policy.decide(3, now, load_above=load).steps <= 3


def test_what_the_user_wants_forgets_how_patient_it_was() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    down = lowered(policy, 2, raised(policy, 2, lowered(policy, 2, 0.0)))
    policy.forget(down)
    again = lowered(policy, 2, down + 60)
    assert RAISE_AFTER_S <= raised(policy, 2, again) - again < 2 * RAISE_AFTER_S


def test_a_lower_ceiling_lowers_at_once_and_what_was_given_way_stays() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    lowered(policy, 4, 0.0)
    assert steps(policy, 4) == 3
    assert steps(policy, 3) == 2
    assert steps(policy, 1) == 1


def test_a_ceiling_that_comes_back_gives_its_steps_back() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    assert policy.decide(2, 1.0, load_above=0.1).steps == 2
    assert policy.decide(4, 1.1, load_above=2.0).steps == 4


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2), st.integers(1, 4)), max_size=80))
def test_steps_are_never_above_the_ceiling_nor_below_the_minimum_that_it_allows(
    events: list[tuple[float, bool, float, int]],
) -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0), 0.0
    for wait, trouble, load, ceiling in events:
        now += wait
        if trouble:
            policy.trouble(now)
        running = policy.decide(ceiling, now, load_above=load)
        assert min(2, ceiling) <= running.steps <= ceiling
        assert running == policy.running(ceiling)


def test_trouble_that_is_a_whole_window_old_is_forgotten() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    policy.trouble(10.0)
    policy.trouble(10.0 + TROUBLE_WINDOW_S)
    assert policy.decide(4, 10.0 + TROUBLE_WINDOW_S, load_above=2.0).steps == 4
    policy.trouble(10.1 + TROUBLE_WINDOW_S)
    assert policy.decide(4, 10.1 + TROUBLE_WINDOW_S, load_above=2.0).steps == 3


@pytest.mark.parametrize("frame_rate", [16, 8, 4, 2])
@pytest.mark.parametrize("halves", [False, True])
def test_a_session_whose_chunks_come_late_is_in_trouble_all_the_time_however_few_it_has(
    frame_rate: int, halves: bool
) -> None:
    policy = LevelPolicy(chunk_s=4 / frame_rate, minimum=1, may_halve=halves, now_s=0.0)
    now = step_down(policy, 1, 0.0) if halves else 0.0
    assert policy.running(1) == RunningLevel(1, every=2 if halves else 1)

    # Of three chunks one is late.
    chunk_s = 4 / frame_rate * (2 if halves else 1)
    for count in range(60):
        now += chunk_s / 2
        if count % 6 == 0:
            policy.trouble(now)
        assert policy.is_in_trouble(now) is (count >= 6 * (LOWER_AFTER_TROUBLES - 1))
    assert not policy.is_in_trouble(now + max(TROUBLE_WINDOW_S, TROUBLE_WINDOW_CHUNKS * chunk_s))


# -- frames after steps ------------------------------------------------------------------------------------------------


def step_down(policy: LevelPolicy, ceiling: int, now: float) -> float:
    """Trouble until the session gives way by one level; returns when."""
    before = policy.running(ceiling)
    while policy.running(ceiling) == before:
        now += 0.25
        policy.trouble(now)
        policy.decide(ceiling, now, load_above=2.0)
    return now


def climb(policy: LevelPolicy, ceiling: int, now: float) -> float:
    before = policy.running(ceiling)
    while policy.running(ceiling) == before:
        now += 0.25
        policy.decide(ceiling, now, load_above=0.1)
    return now


def test_every_second_frame_goes_once_the_steps_are_at_their_minimum_and_comes_back_first() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=2, may_halve=True, now_s=0.0)
    now = step_down(policy, 3, 0.0)
    assert policy.running(3) == RunningLevel(2)
    later = step_down(policy, 3, now)
    assert policy.running(3) == RunningLevel(2, every=2)
    assert later - now >= LOWER_COOLDOWN_S
    assert policy.below(3) is None
    assert policy.above(3) == RunningLevel(2)
    up = climb(policy, 3, later)
    assert policy.running(3) == RunningLevel(2)
    assert up - later >= RAISE_AFTER_S
    assert policy.above(3) == RunningLevel(3)
    climb(policy, 3, up)
    assert policy.running(3) == RunningLevel(3)
    assert policy.above(3) is None


def test_a_frame_rate_that_comes_back_in_vain_waits_longer_the_next_time() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    up = climb(policy, 1, step_down(policy, 1, 0.0))
    down = step_down(policy, 1, up)
    assert policy.running(1) == RunningLevel(1, every=2)
    assert climb(policy, 1, down) - down >= 2 * RAISE_AFTER_S


def test_without_leave_no_frame_goes() -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0), 0.0
    for _ in range(100):
        now += 0.25
        policy.trouble(now)
        assert policy.decide(2, now, load_above=2.0).every == 1
    assert policy.below(2) is None


def test_a_ceiling_that_rises_gives_no_step_back_while_frames_are_left_out() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    now = step_down(policy, 1, 0.0)
    assert policy.running(4) == RunningLevel(1, every=2)
    climb(policy, 4, now)
    assert policy.running(4) == RunningLevel(1)


def test_a_user_who_wants_other_steps_gets_all_frames_too() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    policy.forget(step_down(policy, 1, 0.0))
    assert policy.running(4) == RunningLevel(4)


moments = st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2), st.integers(1, 4), st.booleans())


@given(minimum=st.integers(1, 4), may_halve=st.booleans(), events=st.lists(moments, max_size=80))
def test_whatever_happens_frames_go_only_after_steps_and_it_moves_level_by_level(
    minimum: int, *, may_halve: bool, events: list[tuple[float, bool, float, int, bool]]
) -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=minimum, may_halve=may_halve, now_s=0.0), 0.0
    lowered_s, raised_s = -LOWER_COOLDOWN_S, -RAISE_AFTER_S
    for wait, trouble, load, ceiling, asks in events:
        now += wait
        if asks:
            policy.forget(now)
        if trouble:
            policy.trouble(now)
        before, below, above = policy.running(ceiling), policy.below(ceiling), policy.above(ceiling)
        after = policy.decide(ceiling, now, load_above=load)

        assert after == policy.running(ceiling)
        assert min(minimum, ceiling) <= after.steps <= ceiling
        assert after.every == 1 or (may_halve and after.steps == min(minimum, ceiling))
        if after == before:
            continue
        assert after == (below if after.is_below(before) else above), "one level at a time"
        if after.is_below(before):
            assert now - lowered_s >= LOWER_COOLDOWN_S
            lowered_s = now
        else:
            assert load < RAISE_BELOW_LOAD
            assert not trouble
            assert now - max(lowered_s, raised_s) >= RAISE_AFTER_S
            raised_s = now


@settings(max_examples=20)
@given(seed=st.integers(0, 1_000))
def test_a_rate_that_the_worker_cannot_bear_does_not_make_the_picture_breathe(seed: int) -> None:
    # Whenever all frames come there is trouble, whatever load is expected: five minutes, four looks a second.
    policy, changes, chance = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0), 0, random.Random(seed)
    for number in range(1_200):
        now = 0.25 * number
        if policy.running(1).every == 1:
            policy.trouble(now)
        before = policy.running(1)
        changes += policy.decide(1, now, load_above=chance.uniform(0.0, 1.0)) != before
    assert changes <= 14, "after 5, 10, 20, 40, 80 and 80 s"
