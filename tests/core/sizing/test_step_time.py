"""The one fit of seconds to rows."""

import math
import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.sizing.step_time import KNEE_SHARE, StepTime, Timed

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


# -- with the products' part ------------------------------------------------------------------------------------------

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def batches(truth: StepTime, sizes: Iterable[int] = SIZES) -> list[Timed]:
    return [Timed(rows, truth.seconds(rows)) for rows in sizes]


def test_a_batch_takes_the_longer_of_its_memory_and_its_products() -> None:
    cost = StepTime(base_s=0.02, row_s=0.001, compute_s=0.006)
    assert cost.seconds(2) == pytest.approx(0.022)
    assert cost.seconds(10) == pytest.approx(0.060)


def test_beyond_the_knee_a_row_costs_what_each_costs_and_before_it_less() -> None:
    cost = StepTime(base_s=0.02, row_s=0.001, compute_s=0.006)
    knee = cost.knee
    assert knee == 4
    assert cost.seconds(knee + 1) - cost.seconds(knee) == pytest.approx(cost.seconds(knee) / knee)
    assert cost.seconds(3) - cost.seconds(2) < 0.2 * cost.seconds(2) / 2


@given(base=st.floats(0, 3_600), row=st.floats(0, 3_600), compute=st.floats(0, 3_600))
def test_a_knee_is_a_number_of_rows_whatever_the_parts_are(base: float, row: float, compute: float) -> None:
    knee = StepTime(base, row, compute).knee
    assert knee is None or knee >= 1


def test_a_row_that_takes_next_to_nothing_has_no_knee() -> None:
    assert StepTime(1.0, 1e-320).knee is None


def test_a_line_has_its_knee_where_its_base_is_shared_by_so_many_that_it_hardly_counts() -> None:
    cost = StepTime(base_s=0.001, row_s=0.0124)
    assert cost.knee == 2, "the true size: the weights are read in a tenth of what a row takes"
    assert StepTime(base_s=0.1, row_s=0.0).knee is None
    assert StepTime(base_s=0.0, row_s=0.1).knee == 1


@given(base=st.floats(0, 1), row=st.floats(0, 1), compute=st.floats(0, 1))
def test_from_the_knee_on_no_larger_batch_gives_many_more_rows_a_second(
    base: float, row: float, compute: float
) -> None:
    cost = StepTime(base, row, compute)
    if cost.knee is None or cost.knee > 1e6:
        return
    each_s = cost.seconds(cost.knee) / cost.knee
    for rows in (cost.knee, 2 * cost.knee, 50 * cost.knee):
        assert cost.seconds(rows) / rows <= each_s * (1 + 1e-9) + 1e-12
        assert cost.seconds(rows) / rows >= each_s * (1 - KNEE_SHARE) - 1e-9


@given(
    row=st.floats(0.0005, 0.02),
    knee=st.floats(2.2, 11.0),
    compute=st.floats(1.5, 8.0),
    noise=st.floats(0, 0.01),
    seed=st.integers(0, 999),
)
def test_the_parts_are_found_behind_noise(row: float, knee: float, compute: float, noise: float, seed: int) -> None:
    truth = StepTime(base_s=knee * row * (compute - 1), row_s=row, compute_s=compute * row)
    chance = random.Random(seed)
    seen = [Timed(one.rows, one.seconds * (1 + noise * chance.uniform(-1, 1))) for one in batches(truth)]
    found = StepTime.fitted(seen)
    for rows in SIZES:
        assert found.seconds(rows) == pytest.approx(truth.seconds(rows), rel=0.08)


def test_the_knee_is_found_where_it_is() -> None:
    truth = StepTime(base_s=0.030, row_s=0.002, compute_s=0.008)
    assert truth.knee == 5
    found = StepTime.fitted(batches(truth))
    assert found.knee == 5
    assert found.compute_s == pytest.approx(0.008, rel=0.01)
    assert (found.base_s, found.row_s) == pytest.approx((0.030, 0.002), rel=0.01)


@given(base=st.floats(0.001, 1), row=st.floats(0, 1), noise=st.floats(0, 0.009), seed=st.integers(0, 999))
def test_no_knee_is_read_into_the_noise_of_a_line(base: float, row: float, noise: float, seed: int) -> None:
    chance = random.Random(seed)
    line = StepTime(base, row)
    seen = [Timed(one.rows, one.seconds * (1 + noise * chance.uniform(-1, 1))) for one in batches(line)]
    assert StepTime.fitted(seen).compute_s == 0


def test_three_sizes_are_too_few_for_three_parts() -> None:
    truth = StepTime(base_s=0.030, row_s=0.002, compute_s=0.008)
    assert StepTime.fitted(batches(truth, (1, 8, 16))).compute_s == 0
    assert StepTime.fitted(batches(truth, (1, 2, 3, 16))).compute_s == 0, "one size beyond the knee shows no knee"
    assert StepTime.fitted(batches(truth, (1, 2, 8, 16))).compute_s > 0


@given(
    st.lists(
        st.builds(Timed, st.integers(1, 64), st.floats(0, 100), st.floats(1e-3, 100)),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_was_seen_time_is_never_negative_and_grows_with_rows(seen: list[Timed]) -> None:
    cost = StepTime.fitted(seen)
    assert min(cost.base_s, cost.row_s, cost.compute_s) >= 0
    times = [cost.seconds(rows) for rows in range(65)]
    assert all(a <= b for a, b in pairwise(times))
    assert max(times) <= 64 * 101


@given(base=st.floats(0, 1), row=st.floats(0, 1), compute=st.floats(0, 1), rows=st.floats(1, 64))
def test_the_line_at_some_rows_is_right_there(base: float, row: float, compute: float, rows: float) -> None:
    cost = StepTime(base, row, compute)
    line = cost.line_at(rows)
    assert line.compute_s == 0
    assert line.base_s + line.row_s * rows == pytest.approx(max(base + row * rows, compute * rows))


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [Timed(0, 1.0)],
        [Timed(1, -1.0)],
        [Timed(1, math.inf)],
        [Timed(1, math.nan)],
        [Timed(1, 1.0, 0.0)],
        [Timed(1, 1.0, math.nan)],
    ],
)
def test_impossible_batches_are_refused(seen: list[Timed]) -> None:
    with pytest.raises(ValueError, match="batch"):
        StepTime.fitted(seen)
