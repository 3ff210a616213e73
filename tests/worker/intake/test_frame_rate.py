"""Frame rates are matched evenly, by capture time alone."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import SourcePosition
from genlock_worker.intake.frame_rate import FrameRateConverter


def ticks(converter: FrameRateConverter, captures_us: list[int], run: int = 1) -> list[int]:
    return [p.capture_us for us in captures_us for p in converter.ticks(SourcePosition(run, us))]


def test_thirty_frames_per_second_become_sixteen_evenly() -> None:
    captures = [round(i * 1e6 / 30) for i in range(300)]
    used = ticks(FrameRateConverter(16), captures)
    assert abs(len(used) - 160) <= 1
    steps = {captures.index(b) - captures.index(a) for a, b in pairwise(used)}
    assert steps <= {1, 2}


def test_a_slow_source_is_repeated_with_positions_of_its_own() -> None:
    used = ticks(FrameRateConverter(16), [i * 125_000 for i in range(9)])
    assert len(used) == 17
    assert used == sorted(set(used))
    assert set(range(0, 1_000_001, 125_000)) <= set(used)


@given(
    rate=st.integers(1, 60),
    jitter=st.lists(st.floats(-0.4, 0.4), min_size=30, max_size=90),
)
def test_a_source_of_the_same_rate_passes_whole_under_jitter(rate: int, jitter: list[float]) -> None:
    captures = [round((i + (shift if i else 0)) * 1e6 / rate) for i, shift in enumerate(jitter)]
    assert ticks(FrameRateConverter(rate), captures) == captures


@given(
    rate=st.integers(5, 60),
    gaps=st.lists(st.integers(-50_000, 3_000_000), min_size=1, max_size=60),
)
def test_whatever_comes_positions_grow_and_no_gap_is_filled_with_a_burst(rate: int, gaps: list[int]) -> None:
    converter, now = FrameRateConverter(rate), 10_000_000
    last = -1
    for gap in gaps:
        now = max(0, now + gap)
        served = [p.capture_us for p in converter.ticks(SourcePosition(1, now))]
        assert len(served) <= 10
        assert served == sorted(served)
        assert all(us > last and us <= now for us in served)
        last = max([last, *served])


def test_a_later_publication_starts_anew_and_an_older_one_is_ignored() -> None:
    converter = FrameRateConverter(16)
    assert ticks(converter, [5_000_000], run=7) == [5_000_000]
    assert ticks(converter, [0], run=8) == [0]
    assert ticks(converter, [6_000_000], run=7) == []


def test_a_frame_that_comes_while_the_source_rests_begins_a_new_row_of_ticks() -> None:
    converter = FrameRateConverter(10)
    assert ticks(converter, [1_000_000]) == [1_000_000]
    assert [converter.rest(SourcePosition(1, 1_000_000)).capture_us for _ in range(2)] == [1_000_001, 1_000_002]
    assert ticks(converter, [1_200_000]) == [], "its tick is served"
    assert ticks(converter, [1_530_000]) == [1_530_000], "what is missing before it is not made up for"
    assert ticks(converter, [1_630_000]) == [1_630_000]
