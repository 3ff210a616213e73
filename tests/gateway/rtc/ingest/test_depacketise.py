"""Capture times on the gateway's clock."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.rtc.ingest.depacketise import CaptureClock


def test_media_distances_are_kept_whatever_the_network_does() -> None:
    clock = CaptureClock()
    delays = [0.0, 0.0, 0.03, 0.01, 0.0]
    times = [
        clock.capture_us(4_294_967_000 + n * 3000 & 0xFFFFFFFF, 100 + n / 30 + late) for n, late in enumerate(delays)
    ]
    steps = [after - before for before, after in pairwise(times)]
    assert all(abs(step - 33_333) < 300 for step in steps)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 5)), min_size=1, max_size=50))
def test_no_frame_is_captured_after_it_arrived_nor_further_back_than_pictures_are_reordered(
    frames: list[tuple[int, float]],
) -> None:
    clock, now, latest = CaptureClock(), 100.0, 0
    for timestamp, elapsed in frames:
        now += elapsed + 0.001
        capture = clock.capture_us(timestamp, now)
        assert capture <= now * 1e6
        assert capture != latest
        latest = max(latest, capture)


@given(st.lists(st.tuples(st.integers(0, 180_000), st.floats(0, 5)), min_size=1, max_size=50))
def test_frames_that_come_in_the_order_of_their_timestamps_are_captured_in_that_order(
    frames: list[tuple[int, float]],
) -> None:
    clock, now, timestamp, before = CaptureClock(), 100.0, 0, 0
    for step, elapsed in frames:
        now += elapsed + 0.001
        timestamp += step
        capture = clock.capture_us(timestamp & 0xFFFFFFFF, now)
        assert before < capture <= now * 1e6
        before = capture


def test_reordered_frames_are_captured_when_they_are_shown() -> None:
    clock = CaptureClock()
    shown = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    captures = [clock.capture_us(number * 3000 - 6000 & 0xFFFFFFFF, 100 + n / 30) for n, number in enumerate(shown)]
    # The second frame tells how far ahead of the pictures the timestamps run; the first could not know.
    in_order = [capture for _, capture in sorted(zip(shown, captures, strict=True))][1:]
    steps = [after - before for before, after in pairwise(in_order)]
    assert all(abs(step - 33_333) < 300 for step in steps)


def test_a_step_back_that_is_no_reordering_begins_a_new_line() -> None:
    clock = CaptureClock()
    before = [clock.capture_us(90_000 + 3000 * n, 100 + n / 30) for n in range(3)]
    assert abs(clock.capture_us(0, 100.1) - 100_100_000) < 1000
    assert max(before) < 100_100_000


def test_a_publishers_clock_that_drifts_is_followed() -> None:
    clock = CaptureClock()
    for number in range(30_000):
        arrival = 100 + number / 30
        capture = clock.capture_us(round(number * 3000 * 0.9998) & 0xFFFFFFFF, arrival)
    assert arrival - capture / 1e6 < 0.01


def test_a_jump_of_the_timestamps_begins_a_new_line() -> None:
    clock = CaptureClock()
    clock.capture_us(0, 100.0)
    assert abs(clock.capture_us(2_000_000_000, 100.1) - 100_100_000) < 1000


def test_a_publisher_that_stood_still_is_not_late_for_ever() -> None:
    clock = CaptureClock()
    for number in range(200):
        stall_s = 5.0 if number >= 60 else 0.0  # its timestamps know nothing of it
        arrival = 100 + number / 30 + stall_s
        capture = clock.capture_us(number * 3000, arrival)
    assert arrival - capture / 1e6 < 0.01
