from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.levels import Level, guessed_quality, levels_of
from genlock_core.claims.record import ControlValue, HalfRate, PoolChoice, SessionRecord
from genlock_core.levelling.ladders import ladder_of
from genlock_core.spec.session import Approximation, ApproximationPolicy, SessionKey, StreamSessionSpec, resolve

PRICED = PoolChoice("p", 500, levels=(125, 250, 333, 500), qualities=(0.5, 0.8, 0.9, 1.0))
LEAST = HalfRate(steps=1, cost=63, quality=0.3)


def record(*, asks_for: int | None = None, steps: int = 4, **approximation: Any) -> SessionRecord:
    """`asks_for`: what its users steered it to, beside the steps of the spec."""
    spec = StreamSessionSpec(steps=steps, approximation=Approximation(**approximation))
    control = {} if asks_for is None else {"steps": ControlValue(str(asks_for), "1-0")}
    return SessionRecord(session=resolve(SessionKey(name="demo"), spec), pools=(), control=control)


def told(one: SessionRecord, choice: PoolChoice) -> list[tuple[str, int, float]]:
    return [(str(rung.level), rung.cost, rung.quality) for rung in ladder_of(one, choice).rungs]


def test_the_ladder_is_the_price_list_from_what_is_requested_down_to_the_least_steps() -> None:
    assert told(record(min_steps=2), PRICED) == [
        ("4 steps", 500, 1.0),
        ("3 steps", 333, 0.9),
        ("2 steps", 250, 0.8),
    ]


@pytest.mark.parametrize(("asks_for", "top", "cost"), [(2, 2, 250), (4, 4, 500)])
def test_the_top_is_what_its_users_ask_for_and_not_the_spec(asks_for: int, top: int, cost: int) -> None:
    found = ladder_of(record(asks_for=asks_for, steps=3), PRICED)
    assert (found.top.level.steps, found.top.cost) == (top, cost)


def test_a_session_that_is_never_lowered_has_one_rung() -> None:
    assert told(record(policy=ApproximationPolicy.NEVER), PRICED) == [("4 steps", 500, 1.0)]


def test_every_second_frame_is_the_last_rung_where_the_session_allows_it() -> None:
    choice = replace(PRICED, half=LEAST)
    assert told(record(min_frame_rate=8), choice)[-1] == ("1 step, 1 of 2 frames", 63, 0.3)
    assert told(record(), choice)[-1] == ("1 step", 125, 0.5)


def test_a_half_rate_of_which_nobody_says_how_it_looks_shows_half_of_its_steps_picture() -> None:
    choice = replace(PRICED, half=HalfRate(steps=1, cost=63))
    assert told(record(min_frame_rate=8), choice)[-1] == ("1 step, 1 of 2 frames", 63, 0.25)
    assert told(record(min_frame_rate=8), replace(choice, qualities=()))[-1] == ("1 step, 1 of 2 frames", 63, 0.125)


def test_half_the_frames_are_left_out_where_the_pool_has_no_price_for_them() -> None:
    may_halve = record(min_frame_rate=8, min_steps=2)
    for choice in (PRICED, replace(PRICED, half=LEAST)):  # the price of one step is not that of two
        found = ladder_of(may_halve, choice)
        assert found.lowest.level == Level(2)
        assert found.left_out == ("2 steps, 1 of 2 frames is left out: no measurement in pool p is in time",)


def test_a_rung_that_costs_no_less_than_the_one_above_is_left_out_and_told() -> None:
    found = ladder_of(record(), replace(PRICED, levels=(125, 500, 500, 500)))
    assert [rung.level.steps for rung in found.rungs] == [4, 1]
    assert "2 steps is left out: it costs 500 thousandths, 4 steps costs 500" in found.left_out


def test_steps_that_the_pool_has_no_price_for_are_not_its_top() -> None:
    found = ladder_of(record(), PoolChoice("p", 250, levels=(125, 250), qualities=(0.5, 0.8)))
    assert [rung.level.steps for rung in found.rungs] == [2, 1]
    assert found.left_out == ("4 steps is left out: no measurement in pool p is in time",)


def test_a_choice_without_qualities_is_guessed_by_its_steps_and_says_so() -> None:
    found = ladder_of(record(), PoolChoice("p", 500, levels=(125, 250, 333, 500)))
    assert [rung.quality for rung in found.rungs] == [1.0, 0.75, 0.5, 0.25]
    assert found.unprofiled == ("quality: each level is guessed by its steps",)
    assert ladder_of(record(), PRICED).unprofiled == ()


def test_a_choice_of_a_release_without_levels_has_one_rung_at_its_one_price() -> None:
    old = PoolChoice("p", 400)
    assert told(record(), old) == [("4 steps", 400, 1.0)]
    assert told(record(asks_for=2), old) == [("2 steps", 400, 0.5)]


def test_a_level_that_is_told_to_look_better_than_the_one_above_is_taken_to_look_the_same() -> None:
    found = ladder_of(record(), replace(PRICED, qualities=(0.5, 0.95, 0.9, 1.0)))
    assert [rung.quality for rung in found.rungs] == [1.0, 0.9, 0.9, 0.5]
    assert found.doubtful == ("2 steps is told to look better than 3 steps (0.95)",)


@st.composite
def choices(draw: st.DrawFn) -> PoolChoice:
    """Whatever a record may hold, in any order of prices."""
    levels = draw(st.lists(st.integers(1, 1_000), max_size=4))
    qualities = draw(st.just([]) | st.lists(st.floats(0, 1), min_size=len(levels), max_size=len(levels)))
    half = draw(st.none() | st.builds(HalfRate, st.integers(1, 4), st.integers(1, 1_000), st.none() | st.floats(0, 1)))
    return PoolChoice("p", draw(st.integers(1, 1_000)), tuple(levels), tuple(qualities), half)


@given(
    choice=choices(),
    steps=st.integers(1, 4),
    asks_for=st.none() | st.integers(1, 4),
    least=st.integers(1, 4),
    never=st.booleans(),
    least_rate=st.none() | st.integers(1, 16),
)
def test_a_ladder_stays_within_what_the_session_allows_and_each_rung_is_worth_going_down_to(
    choice: PoolChoice, steps: int, asks_for: int | None, least: int, never: bool, least_rate: int | None
) -> None:
    policy = ApproximationPolicy.NEVER if never else ApproximationPolicy.ADAPTIVE
    one = record(asks_for=asks_for, steps=steps, policy=policy, min_steps=min(least, steps), min_frame_rate=least_rate)
    requested = min(one.requested_steps, len(choice.levels) or 4)
    allowed = levels_of(one.session.model_copy(update={"steps": requested}))

    # That its rungs fall in cost, and never rise in quality, the ladder itself insists on.
    found = ladder_of(one, choice)
    assert found.top.level == allowed[0]
    assert {rung.level for rung in found.rungs} <= set(allowed)
    assert not never or len(found.rungs) == 1
    assert len(found.rungs) + len(found.left_out) == len(allowed) + (requested < one.requested_steps)
    for rung in found.rungs:
        whole = rung.level.every == 1
        assert rung.cost == (choice.cost_at(rung.level.steps) if whole else choice.half and choice.half.cost)

    # A level that is not there would have cost no less than the rung that holds it.
    for level in allowed:
        dearer = found.cost_of(level)
        assert dearer is not None
        if level.every == 1:
            assert choice.cost_at(level.steps) >= dearer


@given(st.integers(1, 4), st.integers(1, 4))
def test_more_steps_are_guessed_to_look_better(steps: int, others: int) -> None:
    assert (steps < others) == (guessed_quality(steps) < guessed_quality(others))
