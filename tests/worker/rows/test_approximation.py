"""A session gives way quickly, comes back slowly, and ever more slowly where coming back does not last."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.approximation.levels import Level
from genlock_worker.rows.approximation import (
    LOWER_AFTER_TROUBLES,
    LOWER_COOLDOWN_S,
    RAISE_AFTER_S,
    RAISE_BELOW_LOAD,
    TROUBLE_WINDOW_CHUNKS,
    TROUBLE_WINDOW_S,
    LevelPolicy,
)

CHUNK_S = 4 / 16


def steps(policy: LevelPolicy, ceiling: int) -> int:
    return policy.running(Level(ceiling)).steps


def lowered(policy: LevelPolicy, ceiling: int, now: float) -> float:
    """Trouble until the steps fall by one; returns when."""
    before = steps(policy, ceiling)
    while steps(policy, ceiling) == before:
        now += 0.25
        policy.trouble(now)
        policy.decide(Level(ceiling), now, load_above=2.0)
    return now


def raised(policy: LevelPolicy, ceiling: int, now: float) -> float:
    before = steps(policy, ceiling)
    while steps(policy, ceiling) == before:
        now += 0.25
        policy.decide(Level(ceiling), now, load_above=0.1)
    return now


def test_one_late_chunk_changes_nothing() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    policy.trouble(5.0)
    assert policy.decide(Level(4), 5.0, load_above=1.0).steps == 4


def test_trouble_lowers_by_one_at_a_time_and_never_below_the_minimum() -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0), 0.0
    now = lowered(policy, 4, now)
    assert steps(policy, 4) == 3
    later = lowered(policy, 4, now)
    assert later - now >= 1.0
    for _ in range(50):
        later += 0.25
        policy.trouble(later)
        assert policy.decide(Level(4), later, load_above=2.0).steps == 2


def test_it_raises_after_a_quiet_time_and_only_if_the_load_allows() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    now = lowered(policy, 2, 0.0)
    assert policy.decide(Level(2), now + 60, load_above=0.95).steps == 1
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
    assert policy.decide(Level(2), now, load_above=2.0).steps == 2
    assert policy.decide(Level(4), now, load_above=2.0).steps == 4


def test_a_request_below_the_minimum_stands() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0)
    policy.trouble(5.0)
    policy.trouble(5.1)
    assert policy.decide(Level(1), 5.1, load_above=2.0).steps == 1


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2)), max_size=80))
def test_steps_stay_between_minimum_and_request(events: list[tuple[float, bool, float]]) -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0), 0.0
    for wait, trouble, load in events:
        now += wait
        if trouble:
            policy.trouble(now)
        assert 2 <= policy.decide(Level(3), now, load_above=load).steps <= 3


def test_what_the_user_wants_forgets_how_patient_it_was() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    down = lowered(policy, 2, raised(policy, 2, lowered(policy, 2, 0.0)))
    policy.forget(down)
    again = lowered(policy, 2, down + 60)
    assert RAISE_AFTER_S <= raised(policy, 2, again) - again < 2 * RAISE_AFTER_S


def test_a_lower_ceiling_lowers_at_once_and_what_overload_leaves_is_not_lowered_twice() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    lowered(policy, 4, 0.0)
    assert steps(policy, 4) == 3
    assert steps(policy, 3) == 3
    assert steps(policy, 2) == 2
    assert steps(policy, 1) == 1


def test_a_ceiling_that_comes_back_gives_its_steps_back() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    assert policy.decide(Level(2), 1.0, load_above=0.1).steps == 2
    assert policy.decide(Level(4), 1.1, load_above=2.0).steps == 4


@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2), st.integers(1, 4)), max_size=80))
def test_steps_are_never_above_the_ceiling_nor_below_the_minimum_that_it_allows(
    events: list[tuple[float, bool, float, int]],
) -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=2, now_s=0.0), 0.0
    for wait, trouble, load, ceiling in events:
        now += wait
        if trouble:
            policy.trouble(now)
        running = policy.decide(Level(ceiling), now, load_above=load)
        assert min(2, ceiling) <= running.steps <= ceiling
        assert running == policy.running(Level(ceiling))


def test_trouble_that_is_a_whole_window_old_is_forgotten() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    policy.trouble(10.0)
    policy.trouble(10.0 + TROUBLE_WINDOW_S)
    assert policy.decide(Level(4), 10.0 + TROUBLE_WINDOW_S, load_above=2.0).steps == 4
    policy.trouble(10.1 + TROUBLE_WINDOW_S)
    assert policy.decide(Level(4), 10.1 + TROUBLE_WINDOW_S, load_above=2.0).steps == 3


@pytest.mark.parametrize("frame_rate", [16, 8, 4, 2])
@pytest.mark.parametrize("halves", [False, True])
def test_a_session_whose_chunks_come_late_is_in_trouble_all_the_time_however_few_it_has(
    frame_rate: int, halves: bool
) -> None:
    policy = LevelPolicy(chunk_s=4 / frame_rate, minimum=1, may_halve=halves, now_s=0.0)
    now = step_down(policy, 1, 0.0) if halves else 0.0
    assert policy.running(Level(1)) == Level(1, every=2 if halves else 1)

    # Of three chunks one is late.
    chunk_s = 4 / frame_rate * (2 if halves else 1)
    for count in range(60):
        now += chunk_s / 2
        if count % 6 == 0:
            policy.trouble(now)
        assert policy.is_in_trouble(Level(1), now) is (count >= 6 * (LOWER_AFTER_TROUBLES - 1))
    assert not policy.is_in_trouble(Level(1), now + max(TROUBLE_WINDOW_S, TROUBLE_WINDOW_CHUNKS * chunk_s))


# -- frames after steps ------------------------------------------------------------------------------------------------


def step_down(policy: LevelPolicy, ceiling: int, now: float) -> float:
    """Trouble until the session gives way by one level; returns when."""
    before = policy.running(Level(ceiling))
    while policy.running(Level(ceiling)) == before:
        now += 0.25
        policy.trouble(now)
        policy.decide(Level(ceiling), now, load_above=2.0)
    return now


def climb(policy: LevelPolicy, ceiling: int, now: float) -> float:
    before = policy.running(Level(ceiling))
    while policy.running(Level(ceiling)) == before:
        now += 0.25
        policy.decide(Level(ceiling), now, load_above=0.1)
    return now


def test_every_second_frame_goes_once_the_steps_are_at_their_minimum_and_comes_back_first() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=2, may_halve=True, now_s=0.0)
    now = step_down(policy, 3, 0.0)
    assert policy.running(Level(3)) == Level(2)
    later = step_down(policy, 3, now)
    assert policy.running(Level(3)) == Level(2, every=2)
    assert later - now >= LOWER_COOLDOWN_S
    assert policy.below(Level(3)) is None
    assert policy.above(Level(3)) == Level(2)
    up = climb(policy, 3, later)
    assert policy.running(Level(3)) == Level(2)
    assert up - later >= RAISE_AFTER_S
    assert policy.above(Level(3)) == Level(3)
    climb(policy, 3, up)
    assert policy.running(Level(3)) == Level(3)
    assert policy.above(Level(3)) is None


def test_a_frame_rate_that_comes_back_in_vain_waits_longer_the_next_time() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    up = climb(policy, 1, step_down(policy, 1, 0.0))
    down = step_down(policy, 1, up)
    assert policy.running(Level(1)) == Level(1, every=2)
    assert climb(policy, 1, down) - down >= 2 * RAISE_AFTER_S


def test_without_leave_no_frame_goes() -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0), 0.0
    for _ in range(100):
        now += 0.25
        policy.trouble(now)
        assert policy.decide(Level(2), now, load_above=2.0).every == 1
    assert policy.below(Level(2)) is None


def test_a_ceiling_that_rises_gives_no_step_back_while_frames_are_left_out() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    now = step_down(policy, 1, 0.0)
    assert policy.running(Level(4)) == Level(1, every=2)
    climb(policy, 4, now)
    assert policy.running(Level(4)) == Level(1)


def test_a_user_who_wants_other_steps_gets_all_frames_too() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    policy.forget(step_down(policy, 1, 0.0))
    assert policy.running(Level(4)) == Level(4)


# -- a ceiling that moves ----------------------------------------------------------------------------------------------

HALF = Level(1, every=2)


def test_what_it_runs_is_the_lower_of_its_own_level_and_the_ceiling() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    lowered(policy, 4, 0.0)
    assert [policy.running(Level(ceiling)).steps for ceiling in (4, 3, 2, 1)] == [3, 3, 2, 1]
    assert policy.running(HALF) == HALF


def test_frames_that_the_ceiling_leaves_out_come_back_with_it_and_steps_that_overload_took_do_not() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    ceiling = Level(3, every=2)
    now = 0.0
    while policy.running(ceiling) == ceiling:
        now += 0.5
        policy.trouble(now)
        policy.decide(ceiling, now, load_above=2.0)
    assert policy.running(ceiling) == Level(2, every=2)
    assert policy.running(Level(4)) == Level(2)


def test_below_a_ceiling_without_every_frame_no_more_frames_go() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, may_halve=True, now_s=0.0)
    assert policy.below(HALF) is None
    assert policy.above(HALF) is None


def test_a_reflex_that_the_ceiling_has_overtaken_is_forgotten_once_it_is_quiet() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    now = lowered(policy, 4, lowered(policy, 4, 0.0))
    policy.decide(Level(1), now + RAISE_AFTER_S - 0.1, load_above=0.1)
    assert policy.running(Level(4)) == Level(2), "not yet"
    policy.decide(Level(1), now + RAISE_AFTER_S, load_above=0.1)
    assert policy.running(Level(4)) == Level(4)


def test_troubles_of_a_level_that_is_no_more_lower_nobody() -> None:
    policy = LevelPolicy(chunk_s=CHUNK_S, minimum=1, now_s=0.0)
    policy.trouble(5.0)
    policy.trouble(5.1)
    policy.ceiling_changed(5.2)
    assert policy.decide(Level(3), 6.3, load_above=2.0) == Level(3)


@given(
    st.integers(1, 4),
    st.booleans(),
    st.lists(
        st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 2), st.integers(1, 4), st.integers(1, 2)), max_size=80
    ),
)
def test_no_ceiling_is_ever_exceeded_and_none_is_undercut_by_more_than_overload_took(
    minimum: int, may_halve: bool, events: list[tuple[float, bool, float, int, int]]
) -> None:
    policy, now = LevelPolicy(chunk_s=CHUNK_S, minimum=minimum, may_halve=may_halve, now_s=0.0), 0.0
    is_troubled = False
    for wait, trouble, load, steps, every in events:
        now += wait
        ceiling = Level(steps, every=every)
        if trouble:
            policy.trouble(now)
            is_troubled = True
        after = policy.decide(ceiling, now, load_above=load)
        assert after.at_most(ceiling) == after
        assert after.steps >= min(minimum, ceiling.steps)
        if not is_troubled:
            assert after == ceiling
        if after.every > ceiling.every:
            assert may_halve
            assert after.steps == min(minimum, ceiling.steps)
        for other in (policy.below(ceiling), policy.above(ceiling)):
            assert other is None or other.at_most(ceiling) == other


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
        before, below, above = (
            policy.running(Level(ceiling)),
            policy.below(Level(ceiling)),
            policy.above(Level(ceiling)),
        )
        after = policy.decide(Level(ceiling), now, load_above=load)

        assert after == policy.running(Level(ceiling))
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
        if policy.running(Level(1)).every == 1:
            policy.trouble(now)
        before = policy.running(Level(1))
        changes += policy.decide(Level(1), now, load_above=chance.uniform(0.0, 1.0)) != before
    assert changes <= 14, "after 5, 10, 20, 40, 80 and 80 s"
