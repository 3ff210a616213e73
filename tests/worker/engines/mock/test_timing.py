from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.mock.timing import StepTiming

H100_480P = {1: 20.47, 2: 17.97, 3: 15.68, 4: 13.95}


def test_the_published_points_are_met_within_two_percent() -> None:
    timing = StepTiming.from_fps(H100_480P, width=832, height=480)
    for steps, fps in H100_480P.items():
        assert timing.seconds(rows=steps, width=832, height=480, frames=4) == pytest.approx(4 / fps, rel=0.02)


def test_a_larger_picture_and_a_longer_chunk_take_longer() -> None:
    timing = StepTiming.from_fps(H100_480P, width=832, height=480)
    one = timing.seconds(rows=1, width=832, height=480, frames=4)
    assert timing.seconds(rows=1, width=1664, height=480, frames=4) == pytest.approx(2 * one)
    assert timing.seconds(rows=1, width=832, height=480, frames=5) == pytest.approx(1.25 * one)


@given(st.dictionaries(st.integers(1, 4), st.floats(0.5, 500), min_size=1))
def test_time_is_never_negative_and_grows_with_rows(fps: dict[int, float]) -> None:
    timing = StepTiming.from_fps(fps)
    times = [timing.seconds(rows=rows, width=64, height=64, frames=4) for rows in range(9)]
    assert times[0] == 0.0
    assert all(a <= b for a, b in pairwise(times))


def test_one_figure_counts_as_the_rows_alone() -> None:
    timing = StepTiming.from_fps({2: 8.0})
    assert (timing.base_s, timing.row_s) == (0.0, 0.25)


def test_the_instant_engine_takes_no_time() -> None:
    assert StepTiming.instant().seconds(rows=4, width=832, height=480, frames=5) == 0.0


@pytest.mark.parametrize("fps", [{}, {1: 0.0}, {1: -3.0}, {0: 10.0}])
def test_impossible_figures_are_refused(fps: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="frames per second"):
        StepTiming.from_fps(fps)
