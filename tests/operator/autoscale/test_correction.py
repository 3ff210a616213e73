"""By how much a pool's costs are corrected, and when."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import CAPACITY
from genlock_operator.autoscale.correction import FASTEST, LOOSENED_BY, SLOWEST, Correction, LateWindow, corrected

SLOW = LateWindow(frames=1_000, late=60, budget=0.01, speed=1 / 1.5)
CALM = LateWindow(frames=1_000, late=0, budget=0.01, speed=1 / 1.5)
WINDOWS = st.builds(
    LateWindow,
    frames=st.integers(0, 10_000),
    late=st.integers(0, 1_000),
    budget=st.sampled_from([0.0, 0.01, 0.05]),
    speed=st.none() | st.floats(0.01, 10),
)


def after(*windows: LateWindow, begins: Correction | None = None) -> Correction:
    correction = begins or Correction()
    for window in windows:
        correction = corrected(correction, window)
    return correction


def test_one_broken_window_changes_nothing() -> None:
    assert after(SLOW).speed == 1.0


def test_two_in_succession_make_sessions_pay_what_they_take() -> None:
    slow = after(SLOW, SLOW)
    assert slow.speed == pytest.approx(1 / 1.5)
    assert slow.cost(250, most=CAPACITY) == 375
    assert slow.cost(900, most=CAPACITY) == CAPACITY


def test_a_calm_window_between_two_broken_ones_begins_the_count_anew() -> None:
    assert after(SLOW, CALM, SLOW).speed == 1.0


def test_misses_of_a_worker_that_is_as_fast_as_profiled_change_no_cost() -> None:
    """More sessions to a worker or fewer would mend nothing: something else makes them late."""
    late = LateWindow(frames=1_000, late=500, budget=0.01, speed=1.0)
    assert after(late, late, late).speed == 1.0


def test_sessions_that_pay_less_than_profiled_pay_that_again_once_they_are_late() -> None:
    fast = LateWindow(frames=1_000, late=0, budget=0.01, speed=1.3)
    late = replace(fast, late=60)
    assert after(*[fast] * 30).speed == FASTEST
    assert after(*[fast] * 30, late).speed == FASTEST
    assert after(*[fast] * 30, late, late).speed == 1.0


def test_a_slow_worker_whose_sessions_are_in_time_is_left_alone() -> None:
    assert after(*[CALM] * 100).speed == 1.0


def test_once_misses_have_ended_costs_stay_as_long_as_the_worker_is_slow() -> None:
    assert after(SLOW, SLOW, *[CALM] * 100).speed == pytest.approx(1 / 1.5)


def test_a_worker_that_is_fast_again_is_believed_slowly() -> None:
    fast = LateWindow(frames=1_000, late=0, budget=0.01, speed=1.0)
    slow = after(SLOW, SLOW)
    assert after(fast, begins=slow).speed == pytest.approx(1 / 1.5 + LOOSENED_BY)
    assert after(*[fast] * 40, begins=slow).speed == 1.0


def test_without_a_word_of_the_workers_what_was_believed_fades() -> None:
    silent = LateWindow(frames=1_000, late=0, budget=0.01)
    assert after(*[silent] * 100, begins=Correction(0.6)).speed == 1.0


def test_a_window_with_hardly_a_frame_judges_nothing() -> None:
    few = LateWindow(frames=10, late=10, budget=0.01, speed=0.5)
    assert after(few, few, few) == Correction()


@given(st.lists(WINDOWS, max_size=30))
def test_the_correction_stays_between_its_bounds_and_loosens_slowly(windows: list[LateWindow]) -> None:
    correction = Correction()
    for window in windows:
        before, correction = correction, corrected(correction, window)
        assert SLOWEST <= correction.speed <= FASTEST
        assert correction.speed <= before.speed + LOOSENED_BY + 1e-6
        if correction.speed < before.speed - LOOSENED_BY - 1e-6:
            assert window.used > 1
            assert before.broken >= 1


@pytest.mark.parametrize("speed", [math.nan, -1.0, 0.0, math.inf])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="a speed is a number above 0"):
        LateWindow(frames=1, late=0, budget=0.01, speed=speed)
