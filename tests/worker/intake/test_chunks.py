"""Chunks are 5 frames then 4, the newest frames win, and a source that stands still leaves nothing behind."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.media import SourcePosition
from genlock_worker.intake.chunks import ChunkFormer, InputChunk, SourceFrame, join

MOST_AHEAD = 24
"""How many frames more than its rate a session is given at most when late pictures come all at once."""


def frame(capture_us: int, run: int = 1, received_s: float = 0.0) -> SourceFrame:
    return SourceFrame(SourcePosition(run, capture_us), np.zeros((2, 2, 3), np.uint8), received_s)


def test_chunks_have_five_frames_and_then_four() -> None:
    former = ChunkFormer(frame_rate=16)
    sizes = [len(c.frames) for i in range(21) for c in former.add(frame(round(i * 62_500)))]
    assert sizes == [5, 4, 4, 4, 4]


def test_a_restored_stream_goes_on_with_four() -> None:
    former = ChunkFormer(frame_rate=16)
    former.go_on()
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


# -- a source that stands still ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Played:
    """A source of numbered pictures that was played to a former in real time, and what became of it."""

    rate: int
    opens_early: bool = False
    former: ChunkFormer = field(init=False)
    sent: list[tuple[float, SourcePosition]] = field(default_factory=list)
    """When each picture was there, and where it stands."""
    chunks: list[tuple[float, InputChunk]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.former = ChunkFormer(frame_rate=self.rate, opens_early=self.opens_early)

    def bring(self, at_s: float, capture_us: int) -> None:
        """The next picture comes."""
        self.pass_time(at_s)
        number = np.full((1, 1, 3), len(self.sent) % 256, np.uint8)
        position = SourcePosition(1, capture_us)
        self.sent.append((at_s, position))
        self.chunks += [(at_s, chunk) for chunk in self.former.add(SourceFrame(position, number, at_s))]

    def pass_time(self, until_s: float) -> None:
        opens_at_s = self.former.opens_at_s
        if opens_at_s is not None and opens_at_s < until_s:
            self.chunks += [(opens_at_s, chunk) for chunk in self.former.open(opens_at_s)]
        while (rests_at_s := self.former.rests_at_s) is not None and rests_at_s < until_s:
            self.chunks += [(rests_at_s, chunk) for chunk in self.former.rest(rests_at_s)]

    @property
    def frames(self) -> list[SourceFrame]:
        return [frame for _, chunk in self.chunks for frame in chunk.frames]

    @property
    def numbers(self) -> list[int]:
        return [number_of(frame) for frame in self.frames]


def number_of(frame: SourceFrame) -> int:
    assert frame.picture is not None
    return int(frame.picture[0, 0, 0])


def test_the_last_picture_completes_the_open_chunk_once_the_source_is_silent() -> None:
    played = Played(16)
    for index in range(7):
        played.bring(10 + index / 16, index * 62_500)
    assert played.former.rests_at_s == pytest.approx(10 + 6 / 16 + 2 / 16)
    played.pass_time(20.0)
    assert played.numbers == [0, 1, 2, 3, 4, 5, 6, 6, 6]
    (at_s, last) = played.chunks[-1]
    assert last.complete_s == at_s == pytest.approx(10 + 8 / 16)
    assert [frame.repeated for frame in last.frames] == [False, False, True, True]
    assert [frame.position.capture_us for frame in last.frames] == [312_500, 375_000, 375_001, 375_002]


def test_a_source_at_rest_makes_nothing_more_until_it_moves() -> None:
    played = Played(16)
    for index in range(7):
        played.bring(10 + index / 16, index * 62_500)
    played.pass_time(1_000.0)
    assert played.former.rests_at_s is None
    assert played.former.rest(1_000.0) == []
    played.bring(2_000.0, 1_990_000_000)
    played.pass_time(3_000.0)
    assert played.numbers[-4:] == [7] * 4, "it begins with the new picture, not with the old one"


def test_a_picture_for_which_there_was_no_tick_is_shown_all_the_same() -> None:
    played = Played(16)
    for index in range(9):
        played.bring(10 + index / 32, index * 31_250)
    assert played.numbers == [0, 1, 3, 5, 7]
    played.pass_time(20.0)
    assert played.numbers[5:] == [8] * 4


def test_a_picture_that_was_late_is_neither_old_nor_out_of_order() -> None:
    played = Played(16)
    for index in range(6):
        played.bring(10 + index / 16, index * 62_500)
    played.bring(10.9, 6 * 62_500)
    played.pass_time(20.0)
    assert played.numbers == [0, 1, 2, 3, 4, 5, 5, 5, 5, 6, 6, 6, 6]
    assert played.frames[9].position == SourcePosition(1, 6 * 62_500)


def test_a_source_that_is_slow_at_a_steady_pace_is_not_silent_between_its_pictures() -> None:
    played = Played(16)
    for index in range(40):
        played.bring(10 + index / 8 + (index % 3) * 0.01, index * 125_000)
    after_the_first = played.frames[5:]
    assert len(after_the_first) >= 70
    assert not any(frame.repeated for frame in after_the_first), "its pace is known from the second picture on"


@pytest.mark.parametrize("fps", [1, 2, 3, 4])
def test_each_picture_of_a_screen_share_is_in_a_chunk_two_periods_after_it_came(fps: int) -> None:
    played = Played(16)
    for index in range(10 * fps):
        played.bring(10 + index / fps, round(index * 1e6 / fps))
    played.pass_time(100.0)
    chunks = {number_of(chunk.frames[0]): at_s for at_s, chunk in played.chunks}
    assert [chunks[index] - at_s for index, (at_s, _) in enumerate(played.sent)] == pytest.approx([0.125] * 10 * fps)


def test_five_pictures_a_second_are_all_seen_within_six_periods() -> None:
    played = Played(16)
    for index in range(100):
        played.bring(10 + index / 5, index * 200_000)
    played.pass_time(100.0)
    seen: dict[int, float] = {}
    for at_s, chunk in played.chunks:
        for place, frame in enumerate(chunk.frames):
            seen.setdefault(number_of(frame), at_s + place / 16)
    assert max(seen[index] - at_s for index, (at_s, _) in enumerate(played.sent)) < 6 / 16


@pytest.mark.parametrize("fps", [17, 20, 24, 30, 60])
@pytest.mark.parametrize("hiccup", range(4))
def test_a_fast_source_that_was_silent_for_a_moment_is_thinned_out_as_before(fps: int, hiccup: int) -> None:
    """What comes late comes at once after the silence, as from a busy machine."""
    played = Played(16)
    for index in range(60 * fps):
        at_s = index / fps
        silent_from_s = 5 + hiccup / 16
        late = silent_from_s < at_s < silent_from_s + 0.4
        played.bring(10 + (silent_from_s + 0.4 if late else at_s), round(index * 1e6 / fps))
    shown = [frame for frame in played.frames if not frame.repeated]
    assert len(shown) == pytest.approx(60 * 16, abs=8)


def test_what_was_open_when_the_pause_began_is_not_shown() -> None:
    played = Played(16)
    for index in range(7):
        played.bring(10 + index / 16, index * 62_500)
    played.former.pause()
    played.pass_time(20.0)
    assert played.numbers == [0, 1, 2, 3, 4]
    played.bring(20.0, 10_000_000)
    played.pass_time(30.0)
    assert played.numbers[5:] == [7] * 4


@given(
    rate=st.sampled_from([8, 16, 24, 30, 60]),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.2, 0.5, 1.0, 1.6, 2.1, 3.2, 5.0, 9.0, 100.0]), st.floats(0, 6), st.floats(-0.1, 0.1)
        ),
        min_size=1,
        max_size=120,
    ),
)
def test_whatever_comes_the_last_picture_is_shown_and_ticks_do_not_run_away(
    rate: int, steps: list[tuple[float, float, float]]
) -> None:
    """Each step: how many periods later the next picture is captured, how many later than that it comes, and jitter."""
    played = Played(rate)
    captured_s, there_s = 100.0, 0.0
    for gap, delay, jitter in steps:
        captured_s += gap * (1 + jitter) / rate
        there_s = max(there_s, captured_s + delay / rate)
        played.bring(there_s, round(captured_s * 1e6))
    played.pass_time(there_s + 1_000.0)

    # The newest picture is the last one that is shown, soon after it came.
    assert played.numbers[-1] == number_of_last(played)
    at_s, _ = played.chunks[-1]
    assert at_s <= there_s + 10 / rate
    assert played.former.rests_at_s is None

    # Places in the source grow, and a repeat stands before whatever came after it.
    positions = [frame.position for frame in played.frames]
    assert positions == sorted(set(positions))
    real = {position for _, position in played.sent}
    for frame, following in pairwise(played.frames):
        if following.repeated:
            assert following.position.capture_us - frame.position.capture_us == 1
            assert not any(frame.position < position <= following.position for position in real)

    # In any stretch of time no more is made than the session's rate, and what a burst of pictures fills up.
    for index, (since_s, _) in enumerate(played.chunks):
        stretch = played.chunks[index:]
        made = sum(len(chunk.frames) for _, chunk in stretch)
        assert made <= (stretch[-1][0] - since_s) * rate + MOST_AHEAD


def number_of_last(played: Played) -> int:
    return (len(played.sent) - 1) % 256


# -- the first chunk of a stream that nobody has seen -----------------------------------------------------------------


def test_the_first_chunk_comes_two_periods_after_the_first_picture_and_the_others_as_ever() -> None:
    early, patient = Played(16, opens_early=True), Played(16)
    for played in (early, patient):
        for index in range(17):
            played.bring(10 + index / 16, index * 62_500)
    first_s, first = early.chunks[0]
    assert first_s == first.complete_s == pytest.approx(10 + 2 / 16)
    assert [number_of(frame) for frame in first.frames] == [0, 1, 2, 2, 2]
    assert [frame.repeated for frame in first.frames] == [False, False, False, True, True]
    assert [frame.position.capture_us for frame in first.frames] == [0, 62_500, 125_000, 125_001, 125_002]

    # Nobody needs the pictures whose ticks were served ahead of time; from then on nothing is other than without.
    later, as_ever = (
        [(at_s, number_of(frame), frame.position) for at_s, chunk in played.chunks[1:] for frame in chunk.frames]
        for played in (early, patient)
    )
    assert later == as_ever


def test_a_faster_source_opens_with_its_newest_picture() -> None:
    played = Played(16, opens_early=True)
    for index in range(30):
        played.bring(10 + index / 30, round(index * 1e6 / 30))
    _, first = played.chunks[0]
    # Its pictures 0 and 1 have ticks; 3 is the newest one after two periods, and stands in the place of the third.
    assert [number_of(frame) for frame in first.frames] == [0, 1, 3, 3, 3]
    assert [frame.repeated for frame in first.frames] == [False, False, False, True, True]
    assert all(a.position < b.position for a, b in pairwise(played.frames))
    assert [len(chunk.frames) for _, chunk in played.chunks] == [5, 4, 4]


def test_one_picture_is_enough_and_then_the_source_is_at_rest() -> None:
    played = Played(16, opens_early=True)
    played.bring(10.0, 0)
    played.pass_time(20.0)
    assert played.numbers == [0, 0, 0, 0, 0]
    assert played.former.opens_at_s is None
    assert played.former.rests_at_s is None


def test_nothing_opens_before_a_picture_or_after_the_first_chunk() -> None:
    former = ChunkFormer(frame_rate=16, opens_early=True)
    assert (former.opens_at_s, former.open(100.0)) == (None, [])
    for index in range(6):
        former.add(SourceFrame(SourcePosition(1, index * 62_500), None, 10.0 + index / 16))
    assert (former.opens_at_s, former.open(100.0)) == (None, [])


def test_a_pause_before_the_first_chunk_opens_nothing() -> None:
    former = ChunkFormer(frame_rate=16, opens_early=True)
    former.add(SourceFrame(SourcePosition(1, 0), None, 10.0))
    former.pause()
    assert former.opens_at_s is None


@given(st.lists(st.integers(1_000, 300_000), min_size=1, max_size=60), st.sampled_from([8, 16, 25]))
def test_whatever_comes_the_first_chunk_is_not_late_and_nothing_goes_back(gaps_us: list[int], rate: int) -> None:
    played, at_us = Played(rate, opens_early=True), 0
    for gap_us in gaps_us:
        played.bring(10 + at_us / 1e6, at_us)
        at_us += gap_us
    played.pass_time(10 + at_us / 1e6 + 60)
    first_s, first = played.chunks[0]
    assert first_s <= 10 + 2 / rate + 1e-6
    assert len(first.frames) == 5
    assert all(len(chunk.frames) == 4 for _, chunk in played.chunks[1:])
    assert all(a.position < b.position for a, b in pairwise(played.frames))
    assert all(number_of(a) <= number_of(b) for a, b in pairwise(played.frames))
    assert played.numbers[-1] == len(gaps_us) - 1


# -- frames that are left out on purpose -------------------------------------------------------------------------------


def test_where_every_second_frame_is_left_out_a_chunk_takes_twice_as_long() -> None:
    played = Played(16)
    for index in range(5):
        played.bring(10 + index / 16, index * 62_500)
    played.former.every = 2
    for index in range(5, 21):
        played.bring(10 + index / 16, index * 62_500)
    assert played.numbers == [0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert [frame.spans for frame in played.frames] == [1] * 5 + [2] * 8
    assert [frame.every for frame in played.frames] == [1] * 5 + [2] * 8
    assert [chunk.complete_s for _, chunk in played.chunks] == pytest.approx([10 + i / 16 for i in (4, 12, 20)])


def test_the_last_picture_of_a_source_is_shown_though_it_was_to_be_left_out() -> None:
    played = Played(16)
    played.former.every = 2
    for index in range(7):
        played.bring(10 + index / 16, index * 62_500)
    played.pass_time(20.0)
    assert played.numbers[-1] == 6 or played.numbers[-4:] == [6] * 4
    before = len(played.frames)
    played.bring(30.0, 20_000_000)
    played.pass_time(40.0)
    assert played.numbers[-1] == 7, "a single picture is shown, too"
    assert {frame.every for frame in played.frames} == {2}, "also of those that stand for one period alone"
    assert len(played.frames) > before


def test_a_publication_begins_with_its_first_picture() -> None:
    former = ChunkFormer(frame_rate=16)
    former.every = 2
    former.go_on()
    for index in range(3):
        former.add(frame(index * 62_500))
    chunks = [chunk for index in range(8) for chunk in former.add(frame(index * 62_500, run=2))]
    assert [one.position.capture_us for one in chunks[0].frames] == [0, 125_000, 250_000, 375_000]


@given(
    moves=st.lists(st.tuples(st.floats(0.0, 0.2), st.sampled_from([1, 1, 1, 2])), min_size=1, max_size=80),
    rate=st.sampled_from([8, 16, 25]),
)
def test_the_spans_of_what_is_used_add_up_to_the_ticks_of_the_source(moves: list[tuple[float, int]], rate: int) -> None:
    # Beside one that uses every frame: the same places, fewer of them, in the same order.
    thinned, whole, at_s = ChunkFormer(frame_rate=rate), ChunkFormer(frame_rate=rate), 0.0
    some: list[SourceFrame] = []
    every: list[SourceFrame] = []
    for wait_s, factor in moves:
        thinned.every = factor
        at_s += wait_s + 0.001
        picture = frame(round(1e6 * at_s), received_s=at_s)
        some += [one for chunk in thinned.add(picture) for one in chunk.frames]
        every += [one for chunk in whole.add(picture) for one in chunk.frames]
    some += thinned._frames
    every += whole._frames
    places = [one.position for one in every]
    assert [one.position for one in some] == [place for place in places if place in {one.position for one in some}]
    assert len(every) - sum(one.spans for one in some) == thinned._left_out
    assert len(every) - len(some) == thinned.left_out, "each of them is counted"
    assert all(one.spans <= 2 for one in some)
