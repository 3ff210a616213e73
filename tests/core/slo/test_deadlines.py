import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.slo.deadlines import (
    FpsMeter,
    Freeze,
    FreezeMeter,
    MissMeter,
    Quantiles,
    due_times,
    freeze_s,
    is_miss,
    time_to_first_frame_s,
)

PERIOD_S = 1 / 16


def test_a_chunks_frames_are_due_a_period_apart() -> None:
    due = due_times(1.25, spans=(1,) * 4, frame_deadline_s=0.5, frame_rate=16)
    assert due == (1.75, 1.8125, 1.875, 1.9375)


@given(st.floats(0, 1e6), st.integers(1, 60), st.floats(0.05, 60), st.integers(1, 5))
def test_a_frame_sent_when_it_is_due_waited_the_deadline_and_the_rest_of_its_chunk(
    start_s: float, frame_rate: int, deadline_s: float, frames: int
) -> None:
    arrivals = [start_s + index / frame_rate for index in range(frames)]
    due = due_times(max(arrivals), spans=(1,) * frames, frame_deadline_s=deadline_s, frame_rate=frame_rate)
    for arrived_s, due_s in zip(arrivals, due, strict=True):
        assert due_s - arrived_s == pytest.approx((frames - 1) / frame_rate + deadline_s, abs=1e-6)


def test_a_frame_is_late_only_after_its_due_time() -> None:
    assert not is_miss(2.0, 2.0)
    assert is_miss(2.001, 2.0)


def test_a_freeze_is_more_than_three_periods_beyond_the_pace() -> None:
    assert freeze_s(PERIOD_S, 16) == 0
    assert freeze_s(4 * PERIOD_S, 16) == 0
    assert freeze_s(5 * PERIOD_S, 16) == pytest.approx(4 * PERIOD_S)


def test_time_to_first_frame_is_out_minus_in() -> None:
    assert time_to_first_frame_s(10.0, 10.4) == pytest.approx(0.4)


def test_the_meter_counts_freezes_and_their_length() -> None:
    meter = FreezeMeter(16)
    assert [meter.frame(time_s) for time_s in (0.0, 0.0625, 0.125)] == [None] * 3
    assert meter.frozen_s(1.1875) == pytest.approx(1.0)
    assert meter.frame(1.1875) == Freeze(1.0, by_fault=False)
    assert (meter.count, meter.total_s, meter.last_recovery_gap_s) == (1, 1.0, None)


def test_the_gap_that_a_fault_caused_is_the_recovery_gap_once() -> None:
    meter = FreezeMeter(16)
    meter.frame(0.0)
    meter.fault()
    assert meter.frame(0.5625) == Freeze(0.5, by_fault=True)
    assert meter.last_recovery_gap_s == pytest.approx(0.5)
    assert meter.frame(2.0) == Freeze(1.375, by_fault=False)
    assert meter.last_recovery_gap_s == pytest.approx(0.5)


def test_a_fault_that_nobody_saw_has_a_recovery_gap_of_zero() -> None:
    meter = FreezeMeter(16)
    meter.frame(0.0)
    meter.fault()
    assert meter.frame(0.0625) is None
    assert meter.last_recovery_gap_s == 0.0


def test_a_rest_is_no_freeze() -> None:
    meter = FreezeMeter(16)
    meter.fault()
    meter.frame(0.0)
    meter.rest()
    assert meter.frozen_s(60.0) == 0.0
    assert meter.frame(60.0) is None
    assert meter.last_recovery_gap_s is None


def test_the_miss_share_is_that_of_the_window() -> None:
    meter = MissMeter(window_s=10.0)
    assert meter.share(0.0) == 0.0
    for index in range(10):
        meter.frame(0.1 * index, miss=index < 5)
    assert meter.share(1.0) == 0.5
    for index in range(10):
        meter.frame(5.0 + 0.1 * index, miss=False)
    assert meter.share(6.0) == 0.25
    assert meter.share(12.0) == 0.0
    assert (meter.frames, meter.misses) == (20, 5)


def test_frames_per_second_are_those_of_the_window() -> None:
    meter = FpsMeter(window_s=2.0)
    assert meter.fps(0.0) == 0.0
    for index in range(17):
        meter.frame(index * PERIOD_S)
    assert meter.fps(1.0) == pytest.approx(16.0)
    for index in range(17, 161):
        meter.frame(index * PERIOD_S)
    assert meter.fps(10.0) == pytest.approx(16.0)
    assert meter.fps(11.0) == pytest.approx(8.0, abs=0.5)
    assert meter.fps(20.0) == 0.0


def test_meters_keep_bounded_memory() -> None:
    misses, frames, quantiles = MissMeter(), FpsMeter(window_s=1.0), Quantiles(100)
    for index in range(5_000):
        misses.frame(index * 0.5, miss=False)
        frames.frame(index * 0.001)
        quantiles.add(float(index))
    assert len(misses._slices) <= 10
    assert len(frames._times_s) <= 240
    assert len(quantiles) == 100
    assert quantiles.quantile(0) == 4_900


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=100), st.floats(0, 1))
def test_a_quantile_is_a_value_that_was_added_and_bounds_its_share(values: list[float], share: float) -> None:
    quantiles = Quantiles()
    assert quantiles.quantile(share) is None
    for value in values:
        quantiles.add(value)
    found = quantiles.quantile(share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
