"""The cost of a micro-step is learned: quickly, and not from a single odd one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_worker.engines.contract import BatchShape
from genlock_worker.rows.cost_model import CostModel, LinearCost

SHAPE = BatchShape("wan2.1-1.3b", 832, 480, 4)
PRIOR = LinearCost(0.02, 0.004)


def test_the_published_frame_rates_give_a_base_and_a_small_cost_per_row() -> None:
    cost = LinearCost.from_fps({1: 44.38, 2: 43.41, 3: 43.08, 4: 42.26})
    assert cost.seconds(1) == pytest.approx(4 / 44.38, rel=0.01)
    assert cost.seconds(4) == pytest.approx(4 / 42.26, rel=0.01)


def test_a_profile_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        LinearCost.from_fps({})


def test_it_starts_from_the_prior_for_every_shape() -> None:
    assert CostModel(PRIOR).seconds(SHAPE, 3) == pytest.approx(PRIOR.seconds(3))


@settings(max_examples=30)
@given(base=st.floats(0.001, 0.2), row=st.floats(0.0, 0.1), seed=st.integers(0, 999))
def test_it_finds_the_truth_behind_mixed_batches(base: float, row: float, seed: int) -> None:
    truth, model = LinearCost(base, row), CostModel(PRIOR)
    sizes = [1, 2, 4, 8] * 25
    random.Random(seed).shuffle(sizes)
    for rows in sizes:
        model.observe(SHAPE, rows, truth.seconds(rows))
    for rows in set(sizes):
        assert model.seconds(SHAPE, rows) == pytest.approx(truth.seconds(rows), rel=0.15)


def test_batches_of_one_size_move_the_level_and_keep_the_slope_sensible() -> None:
    model = CostModel(PRIOR)
    for _ in range(60):
        model.observe(SHAPE, 2, 2 * PRIOR.seconds(2))
    assert model.seconds(SHAPE, 2) == pytest.approx(2 * PRIOR.seconds(2), rel=0.05)
    assert model.seconds(SHAPE, 4) == pytest.approx(2 * PRIOR.seconds(4), rel=0.15)


def test_one_outlier_hardly_counts() -> None:
    model = CostModel(PRIOR)
    for _ in range(60):
        model.observe(SHAPE, 2, PRIOR.seconds(2))
    model.observe(SHAPE, 2, 100 * PRIOR.seconds(2))
    assert model.seconds(SHAPE, 2) == pytest.approx(PRIOR.seconds(2), rel=0.05)


def test_a_lasting_change_is_followed_within_some_steps() -> None:
    model = CostModel(PRIOR)
    for _ in range(60):
        model.observe(SHAPE, 2, PRIOR.seconds(2))
    for _ in range(60):
        model.observe(SHAPE, 2, 3 * PRIOR.seconds(2))
    assert model.seconds(SHAPE, 2) == pytest.approx(3 * PRIOR.seconds(2), rel=0.2)


@given(
    observations=st.lists(st.tuples(st.integers(1, 32), st.floats(0.0, 10.0)), max_size=60),
    rows=st.integers(1, 32),
)
def test_a_cost_is_never_negative_and_grows_with_the_rows(observations: list[tuple[int, float]], rows: int) -> None:
    model = CostModel(PRIOR)
    for size, seconds in observations:
        model.observe(SHAPE, size, seconds)
    assert 0 <= model.seconds(SHAPE, rows) <= model.seconds(SHAPE, rows + 1)


def test_shapes_are_learned_apart() -> None:
    model = CostModel(PRIOR)
    for _ in range(30):
        model.observe(SHAPE, 1, 0.5)
    assert model.seconds(BatchShape("wan2.1-1.3b", 512, 512, 4), 1) == pytest.approx(PRIOR.seconds(1))
