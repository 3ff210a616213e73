"""The one fit of seconds to rows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.sizing.step_time import StepTime

H100_480P = {1: 20.47, 2: 17.97, 3: 15.68, 4: 13.95}
H200_FOUR = {1: 44.38, 2: 43.41, 3: 43.08, 4: 42.26}


@pytest.mark.parametrize("fps", [H100_480P, H200_FOUR])
def test_the_published_points_are_met_within_two_percent(fps: dict[int, float]) -> None:
    cost = StepTime.from_fps(fps, chunk_frames=4)
    for steps, rate in fps.items():
        assert cost.seconds(steps) == pytest.approx(4 / rate, rel=0.02)


@given(st.dictionaries(st.integers(1, 4), st.floats(0.5, 500), min_size=1))
def test_time_is_never_negative_and_grows_with_rows(fps: dict[int, float]) -> None:
    cost = StepTime.from_fps(fps, chunk_frames=4)
    times = [cost.seconds(rows) for rows in range(9)]
    assert times[0] >= 0.0
    assert all(a <= b for a, b in pairwise(times))


@given(base=st.floats(0, 1), row=st.floats(0.01, 1), frames=st.integers(1, 16))
def test_a_line_is_found_again(base: float, row: float, frames: int) -> None:
    fps = {steps: frames / (base + row * steps) for steps in range(1, 5)}
    found = StepTime.from_fps(fps, chunk_frames=frames)
    assert found.base_s == pytest.approx(base, abs=1e-9)
    assert found.row_s == pytest.approx(row, abs=1e-9)


def test_one_figure_counts_as_the_rows_alone() -> None:
    assert StepTime.from_fps({2: 8.0}, chunk_frames=4) == StepTime(base_s=0.0, row_s=0.25)


def test_rows_that_seem_to_cost_less_than_nothing_cost_nothing() -> None:
    assert StepTime.from_fps({1: 4.0, 2: 8.0}, chunk_frames=4) == StepTime(base_s=0.75, row_s=0.0)


def test_a_base_that_seems_less_than_nothing_is_nothing() -> None:
    # 0.1 s at one row and 0.4 s at two: of the lines through the origin, 0.18 s a row fits best.
    cost = StepTime.from_fps({1: 40.0, 2: 10.0}, chunk_frames=4)
    assert cost.base_s == 0.0
    assert cost.row_s == pytest.approx((0.1 + 2 * 0.4) / 5)


@pytest.mark.parametrize("fps", [{}, {1: 0.0}, {1: -3.0}, {0: 10.0}])
def test_impossible_figures_are_refused(fps: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="frames per second"):
        StepTime.from_fps(fps, chunk_frames=4)
