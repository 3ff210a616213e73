import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.levels import Ladder, Level, Rung, at_level, levels_of, top_level
from genlock_core.spec.session import (
    Approximation,
    ApproximationPolicy,
    ResolvedSession,
    SessionKey,
    StreamSessionSpec,
    resolve,
)

FULL, THREE, HALF, LEAST = (Level(steps) for steps in (4, 3, 2, 1))


def session(**changes: Any) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4)).model_copy(update=changes)


def adaptive(min_steps: int) -> Approximation:
    return Approximation(policy=ApproximationPolicy.ADAPTIVE, min_steps=min_steps)


def test_the_levels_go_down_to_the_steps_that_the_session_allows() -> None:
    assert levels_of(session(approximation=adaptive(2))) == (FULL, THREE, HALF)
    assert levels_of(session(approximation=adaptive(4))) == (FULL,)


def test_a_session_that_may_never_be_lowered_has_one_level() -> None:
    never = Approximation(policy=ApproximationPolicy.NEVER, min_steps=1)
    assert levels_of(session(approximation=never)) == (FULL,)


def test_a_session_that_was_steered_below_its_least_steps_has_nothing_left_to_lower() -> None:
    assert levels_of(session(approximation=adaptive(3), steps=2)) == (HALF,)


@pytest.mark.parametrize(("rate", "least", "halves"), [(16, 8, True), (16, 9, False), (15, 7, True), (16, None, False)])
def test_every_second_frame_comes_after_the_steps_where_the_session_allows_it(
    rate: int, least: int | None, *, halves: bool
) -> None:
    may = Approximation(min_steps=3, min_frame_rate=least)
    found = levels_of(session(approximation=may, frame_rate=rate))
    assert found == (FULL, THREE, *([Level(3, every=2)] if halves else []))


levels = st.builds(Level, st.integers(1, 4), every=st.integers(1, 3))


@given(level=levels, bound=levels)
def test_a_ceiling_takes_away_and_never_adds(level: Level, bound: Level) -> None:
    left = level.at_most(bound)
    assert left.steps == min(level.steps, bound.steps)
    assert left.every == max(level.every, bound.every)
    assert left == bound.at_most(level)
    assert not level.is_below(left)


@given(level=levels, other=levels)
def test_of_two_levels_one_is_below_the_other_and_frames_count_before_steps(level: Level, other: Level) -> None:
    assert level.is_below(other) + other.is_below(level) == (level != other)
    if level.every > other.every:
        assert level.is_below(other)


def test_a_session_at_a_level_differs_in_nothing_else() -> None:
    lowered = at_level(session(), HALF)
    assert top_level(lowered) == HALF
    assert at_level(lowered, FULL) == session()


@pytest.mark.parametrize(("rate", "asked_for"), [(16, 8), (15, 8)])
def test_every_second_frame_is_half_the_frame_rate_and_of_half_a_frame_a_whole_one(rate: int, asked_for: int) -> None:
    halved = at_level(session(frame_rate=rate), Level(2, every=2))
    assert (halved.steps, halved.frame_rate) == (2, asked_for)


def test_a_level_is_told_in_words() -> None:
    assert [str(level) for level in (HALF, LEAST)] == ["2 steps", "1 step"]
    assert str(Level(2, every=2)) == "2 steps, 1 of 2 frames"


@pytest.mark.parametrize("quality", [math.nan, math.inf, -math.inf, -0.01, 1.01])
def test_a_quality_that_is_none_is_refused(quality: float) -> None:
    with pytest.raises(ValueError, match="cannot have the quality"):
        Rung(FULL, 500, quality)


def test_a_level_that_costs_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot cost 0"):
        Rung(FULL, 0, 1.0)


@pytest.mark.parametrize(
    ("rungs", "fault"),
    [
        ((), "has a rung at least"),
        ((Rung(FULL, 500, 1.0), Rung(HALF, 500, 0.5)), "no less than"),
        ((Rung(FULL, 500, 0.5), Rung(HALF, 250, 0.6)), "looks better"),
    ],
)
def test_rungs_that_make_no_ladder_are_refused(rungs: tuple[Rung, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Ladder(rungs)


def test_a_level_between_two_rungs_is_paid_as_the_one_that_holds_it() -> None:
    ladder = Ladder((Rung(THREE, 500, 0.75), Rung(LEAST, 250, 0.25)))
    assert [ladder.cost_of(level) for level in (FULL, THREE, HALF, LEAST)] == [None, 500, 500, 250]
    assert ladder.cost_of(Level(1, every=2)) == 250
    assert (ladder.top.level, ladder.lowest.level) == (THREE, LEAST)
