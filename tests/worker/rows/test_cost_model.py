"""The cost of a micro-step is learned: quickly, and not from a single odd one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import BatchShape, DeviceSeconds
from genlock_worker.rows.cost_model import FORGETTING, CostModel

SHAPE = BatchShape("wan2.1-1.3b", 832, 480, 4)
PRIOR = StepTime(0.02, 0.004)


def test_it_starts_from_the_prior_for_every_shape() -> None:
    assert CostModel(PRIOR).seconds(SHAPE, 3) == pytest.approx(PRIOR.seconds(3))


@settings(max_examples=30)
@given(base=st.floats(0.001, 0.2), row=st.floats(0.0, 0.1), seed=st.integers(0, 999))
def test_it_finds_the_truth_behind_mixed_batches(base: float, row: float, seed: int) -> None:
    truth, model = StepTime(base, row), CostModel(PRIOR)
    sizes = [1, 2, 4, 8] * 25
    random.Random(seed).shuffle(sizes)
    for rows in sizes:
        model.observe(SHAPE, rows, DeviceSeconds(rows=truth.seconds(rows)))
    for rows in set(sizes):
        assert model.seconds(SHAPE, rows) == pytest.approx(truth.seconds(rows), rel=0.15)


def test_batches_of_one_size_move_the_level_and_keep_the_slope_sensible() -> None:
    model = CostModel(PRIOR)
    for _ in range(60):
        model.observe(SHAPE, 2, DeviceSeconds(rows=2 * PRIOR.seconds(2)))
    assert model.seconds(SHAPE, 2) == pytest.approx(2 * PRIOR.seconds(2), rel=0.05)
    assert model.seconds(SHAPE, 4) == pytest.approx(2 * PRIOR.seconds(4), rel=0.15)


def test_one_outlier_hardly_counts() -> None:
    model = CostModel(PRIOR)
    for _ in range(60):
        model.observe(SHAPE, 2, DeviceSeconds(rows=PRIOR.seconds(2)))
    model.observe(SHAPE, 2, DeviceSeconds(rows=100 * PRIOR.seconds(2)))
    assert model.seconds(SHAPE, 2) == pytest.approx(PRIOR.seconds(2), rel=0.05)


def test_a_lasting_change_is_followed_within_some_steps() -> None:
    model = CostModel(PRIOR)
    for _ in range(60):
        model.observe(SHAPE, 2, DeviceSeconds(rows=PRIOR.seconds(2)))
    for _ in range(60):
        model.observe(SHAPE, 2, DeviceSeconds(rows=3 * PRIOR.seconds(2)))
    assert model.seconds(SHAPE, 2) == pytest.approx(3 * PRIOR.seconds(2), rel=0.2)


@given(
    observations=st.lists(st.tuples(st.integers(1, 32), st.floats(0.0, 10.0)), max_size=60),
    rows=st.integers(1, 32),
)
def test_a_cost_is_never_negative_and_grows_with_the_rows(observations: list[tuple[int, float]], rows: int) -> None:
    model = CostModel(PRIOR)
    for size, seconds in observations:
        model.observe(SHAPE, size, DeviceSeconds(rows=seconds))
    assert 0 <= model.seconds(SHAPE, rows) <= model.seconds(SHAPE, rows + 1)


def test_shapes_are_learned_apart() -> None:
    model = CostModel(PRIOR)
    for _ in range(30):
        model.observe(SHAPE, 1, DeviceSeconds(rows=0.5))
    assert model.seconds(BatchShape("wan2.1-1.3b", 512, 512, 4), 1) == pytest.approx(PRIOR.seconds(1))


def test_a_batch_with_new_chunks_costs_their_encoding_beside() -> None:
    model = CostModel(PRIOR)
    for _ in range(30):
        seconds = DeviceSeconds(rows=PRIOR.seconds(2), encode=0.06, decode=0.02)
        model.observe(SHAPE, 2, seconds, begun=2, ended=1)
    assert model.encode_s(SHAPE) == pytest.approx(0.03)
    assert model.decode_s(SHAPE) == pytest.approx(0.02)
    assert model.beside_rows_s(SHAPE) == pytest.approx(0.05)
    assert model.seconds(SHAPE, 2) == pytest.approx(PRIOR.seconds(2))
    assert model.seconds(SHAPE, 2, begun=3) == pytest.approx(PRIOR.seconds(2) + 3 * 0.03)


def test_what_was_not_seen_costs_nothing_beside_the_rows() -> None:
    model = CostModel(PRIOR)
    model.observe(SHAPE, 2, DeviceSeconds(rows=PRIOR.seconds(2)))
    assert model.beside_rows_s(SHAPE) == 0.0
    assert model.seconds(SHAPE, 2, begun=1) == model.seconds(SHAPE, 2)


def test_encoding_follows_a_lasting_change_and_hardly_a_single_odd_one() -> None:
    model = CostModel(PRIOR)
    for _ in range(30):
        model.observe(SHAPE, 1, DeviceSeconds(rows=0.02, encode=0.1), begun=1)
    model.observe(SHAPE, 1, DeviceSeconds(rows=0.02, encode=100.0), begun=1)
    assert model.encode_s(SHAPE) < 0.14
    for _ in range(60):
        model.observe(SHAPE, 1, DeviceSeconds(rows=0.02, encode=0.3), begun=1)
    assert model.encode_s(SHAPE) == pytest.approx(0.3, rel=0.05)


def test_encoding_and_decoding_are_learned_apart_by_shape() -> None:
    model = CostModel(PRIOR)
    model.observe(SHAPE, 1, DeviceSeconds(rows=0.02, encode=0.1, decode=0.2), begun=1, ended=1)
    assert model.beside_rows_s(BatchShape("wan2.1-1.3b", 512, 512, 4)) == 0.0


def test_what_was_learned_is_told_by_shape_with_its_weight_and_what_batches_hold() -> None:
    model = CostModel(PRIOR)
    assert model.learned() == []
    model.encode_s(SHAPE)
    assert model.learned() == [], "to ask is not to learn"

    truth = StepTime(0.03, 0.006)
    for number in range(200):
        rows = 2 + 2 * (number % 2)
        seconds = DeviceSeconds(rows=truth.seconds(rows), encode=0.003 * (number % 2), decode=0.007)
        model.observe(SHAPE, rows, seconds, begun=number % 2, ended=1)
    (told,) = model.learned()

    assert told.shape == SHAPE
    assert told.cost.seconds(3) == pytest.approx(truth.seconds(3), rel=0.02)
    assert told.chunk_s == pytest.approx(0.01)
    assert told.weight == pytest.approx(1 / (1 - FORGETTING), rel=0.01)
    assert told.rows == pytest.approx(3, rel=0.02)
    assert told.chunks == pytest.approx(0.5, rel=0.02), "each begins once, whoever decodes it"


KNEE = StepTime(base_s=0.030, row_s=0.002, compute_s=0.008)


def test_it_finds_the_knee_behind_mixed_batches() -> None:
    model = CostModel(PRIOR)
    assert (model.knee(SHAPE) or 0) > 64, "the prior is a line of which a row is the small part"
    chance = random.Random(7)
    for number in range(120):
        rows = (1, 2, 4, 8, 12, 16)[number % 6]
        model.observe(SHAPE, rows, DeviceSeconds(rows=KNEE.seconds(rows) * chance.uniform(0.98, 1.02)))
    assert KNEE.knee == 5
    assert (model.knee(SHAPE) or 0) in range(4, 8)
    for rows in (1, 2, 4, 8, 16):
        assert model.seconds(SHAPE, rows) == pytest.approx(KNEE.seconds(rows), rel=0.1)
    assert (model.knee(BatchShape("wan2.1-1.3b", 512, 512, 4)) or 0) > 64, "each shape has its own"


def test_a_knee_of_the_profile_stays_while_all_batches_are_of_one_size() -> None:
    model = CostModel(KNEE)
    for _ in range(100):
        model.observe(SHAPE, 3, DeviceSeconds(rows=1.5 * KNEE.seconds(3)))
    assert model.knee(SHAPE) in (4, 5, 6)
    assert model.seconds(SHAPE, 3) == pytest.approx(1.5 * KNEE.seconds(3), rel=0.05)
    assert model.seconds(SHAPE, 12) == pytest.approx(1.5 * KNEE.seconds(12), rel=0.15)


def test_a_knee_that_moves_is_followed() -> None:
    model = CostModel(KNEE)
    later = StepTime(base_s=0.030, row_s=0.002, compute_s=0.004)
    for number in range(300):
        rows = (2, 4, 8, 16, 24)[number % 5]
        model.observe(SHAPE, rows, DeviceSeconds(rows=later.seconds(rows)))
    assert later.knee == 15
    assert (model.knee(SHAPE) or 0) in range(13, 19)


def test_one_odd_batch_makes_no_knee() -> None:
    model = CostModel(PRIOR)
    for number in range(100):
        rows = (1, 2, 4, 8)[number % 4]
        model.observe(SHAPE, rows, DeviceSeconds(rows=PRIOR.seconds(rows)))
    before = model.knee(SHAPE)
    model.observe(SHAPE, 8, DeviceSeconds(rows=50 * PRIOR.seconds(8)))
    assert model.cost(SHAPE).compute_s == 0
    assert (model.knee(SHAPE) or 0) > 0.5 * (before or 0)


def test_sizes_that_were_not_seen_for_long_are_forgotten() -> None:
    model = CostModel(PRIOR)
    for rows in range(1, 65):
        model.observe(SHAPE, rows, DeviceSeconds(rows=0.9))
    for _ in range(400):
        model.observe(SHAPE, 2, DeviceSeconds(rows=PRIOR.seconds(2)))
    (told,) = model.learned()
    assert told.rows == pytest.approx(2, rel=0.001)
    assert model.seconds(SHAPE, 4) == pytest.approx(PRIOR.seconds(4), rel=0.05)


@settings(max_examples=40, deadline=None)
@given(
    base=st.floats(0.001, 0.1),
    row=st.floats(0.0002, 0.02),
    sizes=st.lists(st.integers(1, 24), min_size=4, max_size=12, unique=True),
    seed=st.integers(0, 999),
)
def test_noise_makes_no_knee(base: float, row: float, sizes: list[int], seed: int) -> None:
    truth, model, chance = StepTime(base, row), CostModel(PRIOR), random.Random(seed)
    knees = 0
    for _ in range(150):
        rows = chance.choice(sizes)
        model.observe(SHAPE, rows, DeviceSeconds(rows=truth.seconds(rows) * chance.gauss(1, 0.05)))
        knees += model.cost(SHAPE).compute_s > 0
    assert knees <= 15
