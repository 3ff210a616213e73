"""Continuity of numbers, whoever makes the pictures."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_gateway.rtc.egress.packetise import MAX_STEP_S, Timeline

UNITS = st.lists(
    st.tuples(st.integers(-(2**40), 2**40), st.integers(1, 50), st.floats(0, 20)),
    min_size=2,
    max_size=30,
)


@given(UNITS, st.integers(0, 2**32 - 1), st.integers(0, 2**15 - 1))
def test_numbers_go_on_and_timestamps_never_go_back(
    units: list[tuple[int, int, float]], first_timestamp: int, first_picture_id: int
) -> None:
    timeline, now = Timeline(first_timestamp=first_timestamp, first_picture_id=first_picture_id), 0.0
    index, before = 0, first_timestamp - 1
    for number, (capture_us, packets, elapsed) in enumerate(units):
        now += elapsed
        stamp = timeline.stamp(capture_us=capture_us, packets=packets, now_s=now)
        assert stamp.first_index == index
        assert stamp.picture_id == (first_picture_id + number) & 0x7FFF
        step = (stamp.timestamp - before) & 0xFFFFFFFF
        assert 0 < step <= max(elapsed, MAX_STEP_S) * 90_000 + 1
        index, before = index + packets, stamp.timestamp


def test_within_one_source_timestamps_follow_the_capture_times_not_the_arrivals() -> None:
    timeline = Timeline(first_timestamp=1000, first_picture_id=0)
    arrivals = [0.0, 0.5, 0.51]
    stamps = [timeline.stamp(capture_us=i * 62_500, packets=1, now_s=now).timestamp for i, now in enumerate(arrivals)]
    assert stamps == [1000, 1000 + 5625, 1000 + 11250]


def test_after_a_jump_of_the_capture_time_the_time_that_passed_counts() -> None:
    timeline = Timeline(first_timestamp=0, first_picture_id=0)
    timeline.stamp(capture_us=5_000_000, packets=1, now_s=10.0)
    assert timeline.stamp(capture_us=50_000_000, packets=1, now_s=10.7).timestamp == 63_000
    assert timeline.timestamp_at(11.7) == 153_000


def test_a_capture_time_that_runs_back_does_not_take_the_timestamp_with_it() -> None:
    clock = ManualClock()
    timeline = Timeline(first_timestamp=0, first_picture_id=0)
    timeline.stamp(capture_us=5_000_000, packets=1, now_s=clock.monotonic())
    clock.advance(0.1)
    assert timeline.stamp(capture_us=1, packets=1, now_s=clock.monotonic()).timestamp == 9000


def test_a_picture_that_is_shown_again_takes_the_time_that_passed_and_the_next_one_takes_it_back() -> None:
    timeline = Timeline(first_timestamp=0, first_picture_id=0)
    shown = [(0, 0.0), (1, 0.1), (2, 0.2), (1_000_000, 1.0), (1_100_000, 1.1)]
    stamps = [timeline.stamp(capture_us=us, packets=1, now_s=now).timestamp for us, now in shown]
    assert stamps == [0, 9_000, 18_000, 90_000, 99_000]


def test_a_new_picture_that_was_captured_before_its_predecessor_was_shown_for_the_last_time_comes_after_it() -> None:
    timeline = Timeline(first_timestamp=0, first_picture_id=0)
    shown = [(0, 0.0), (1, 0.1), (2, 0.2), (150_000, 0.3)]
    stamps = [timeline.stamp(capture_us=us, packets=1, now_s=now).timestamp for us, now in shown]
    assert stamps == [0, 9_000, 18_000, 27_000]


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0.3, 2.0)), min_size=2, max_size=40))
def test_the_clock_of_viewers_runs_as_time_does_however_often_pictures_are_repeated(
    pictures: list[tuple[int, float]],
) -> None:
    """Each picture: how often it is repeated, a sixteenth apart, and how long after it the next one is captured."""
    timeline = Timeline(first_timestamp=0, first_picture_id=0)
    captured_s, ticks = 0.0, []
    for repeats, gap_s in pictures:
        for again in range(1 + min(repeats, int(gap_s * 16))):
            now_s = captured_s + again / 16
            stamp = timeline.stamp(capture_us=round(captured_s * 1e6) + again, packets=1, now_s=now_s)
            ticks.append((now_s, stamp.timestamp))
        captured_s += gap_s
    assert all(abs(timestamp - 90_000 * now_s) <= len(ticks) for now_s, timestamp in ticks)
