"""Frame rates are matched evenly by capture time, chunks are 5 then 4, and the newest frames win."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import SourcePosition
from genlock_worker.intake.chunks import ChunkFormer, FrameRateConverter, InputChunk, SourceFrame, join


def frame(capture_us: int, run: int = 1, received_s: float = 0.0) -> SourceFrame:
    return SourceFrame(SourcePosition(run, capture_us), np.zeros((2, 2, 3), np.uint8), received_s)


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
    converter = FrameRateConverter(rate)
    assert ticks(converter, captures) == captures
    assert converter.thinned == 0


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


def test_chunks_have_five_frames_and_then_four() -> None:
    former = ChunkFormer(frame_rate=16)
    sizes = [len(c.frames) for i in range(21) for c in former.add(frame(round(i * 62_500)))]
    assert sizes == [5, 4, 4, 4, 4]


def test_a_restored_stream_goes_on_with_four() -> None:
    former = ChunkFormer(frame_rate=16, index=9)
    sizes = [len(c.frames) for i in range(8) for c in former.add(frame(round(i * 62_500)))]
    assert sizes == [4, 4]


def test_a_new_publication_does_not_share_a_chunk_with_the_old_one() -> None:
    former = ChunkFormer(frame_rate=16)
    assert not [c for i in range(4) for c in former.add(frame(i * 62_500, run=1))]
    chunks = [c for i in range(5) for c in former.add(frame(i * 62_500, run=2))]
    assert [f.position.run for f in chunks[0].frames] == [2] * 5


def test_a_chunk_is_complete_when_its_last_frame_is_in() -> None:
    former = ChunkFormer(frame_rate=16)
    chunks = [c for i in range(5) for c in former.add(frame(i * 62_500, received_s=100 + i))]
    assert chunks[0].complete_s == 104
    pixels = chunks[0].pixels()
    assert pixels is not None
    assert pixels.shape == (5, 2, 2, 3)


@given(older=st.integers(1, 5), newer=st.integers(1, 5), size=st.sampled_from([4, 5]))
def test_joining_keeps_the_newest_frames_and_counts_the_rest(older: int, newer: int, size: int) -> None:
    frames = [frame(i) for i in range(older + newer)]
    kept, lost = join(InputChunk(tuple(frames[:older]), 1.0), InputChunk(tuple(frames[older:]), 2.0), size=size)
    assert kept.frames == tuple(frames[-size:])
    assert lost == len(frames) - len(kept.frames)
    assert kept.complete_s == 2.0


def test_a_prompt_only_chunk_has_no_pixels() -> None:
    chunk = InputChunk((SourceFrame(SourcePosition(0, 1), None, 0.0),), 0.0)
    assert chunk.pixels() is None


def test_a_gap_is_filled_with_the_picture_before_it() -> None:
    former = ChunkFormer(frame_rate=10)
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (10, 20)]
    chunks = []
    for at_us, picture in ((0, pictures[0]), (400_000, pictures[1])):
        chunks += former.add(SourceFrame(SourcePosition(1, at_us), picture, received_s=0.0))
    (chunk,) = chunks
    pixels = chunk.pixels()
    assert pixels is not None
    assert [int(picture[0, 0, 0]) for picture in pixels] == [10, 10, 10, 10, 20]
    assert [one.position.capture_us for one in chunk.frames] == [0, 100_000, 200_000, 300_000, 400_000]
