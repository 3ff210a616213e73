"""Output is even, as early as a smooth pace allows, and late only when it is past its due time."""

from itertools import pairwise
from typing import cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.output.pacing import MIN_SPACING, OutputFrame, PacedFrame, Pacer
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionChunk

PERIOD = 1 / 16


def run(needed: list[float], *, deadline_s: float = 0.5) -> tuple[list[PacedFrame], Pacer]:
    """Chunks of 4, one every 4 periods, generated `needed` seconds after they were complete."""
    pacer, frames = Pacer(frame_rate=16, deadline_s=deadline_s), []
    for index, seconds in enumerate(needed):
        complete = 10.0 + index * 4 * PERIOD
        frames += pacer.schedule(complete_s=complete, ready_s=complete + seconds, spans=(1,) * 4)
    return frames, pacer


def gaps(frames: list[PacedFrame]) -> list[float]:
    return [b.send_s - a.send_s for a, b in pairwise(frames)]


def test_the_first_frame_goes_out_when_it_is_there() -> None:
    frames, _ = run([0.2])
    assert frames[0].send_s == pytest.approx(10.2)


def test_a_steady_engine_gives_frames_one_period_apart() -> None:
    frames, _ = run([0.2] * 20)
    assert gaps(frames) == pytest.approx([PERIOD] * 79)


def test_due_times_follow_the_chunk_and_not_the_pace() -> None:
    frames, _ = run([0.1])
    assert [f.due_s for f in frames] == pytest.approx([10.5 + k * PERIOD for k in range(4)])


def test_a_late_chunk_moves_the_pace_at_once_and_jitter_below_it_is_hidden() -> None:
    frames, pacer = run([0.1, 0.3, 0.1, 0.25, 0.12, 0.3])
    assert pacer.offset_s == pytest.approx(0.3)
    assert gaps(frames)[7:] == pytest.approx([PERIOD] * len(gaps(frames)[7:]))


def test_the_offset_shrinks_slowly_once_the_engine_is_quick_again() -> None:
    frames, pacer = run([0.3] + [0.1] * 120)
    assert pacer.offset_s == pytest.approx(0.1, abs=0.02)
    assert min(gaps(frames)) > 0.9 * PERIOD


def test_a_cold_start_does_not_make_the_stream_late_for_long() -> None:
    frames, _ = run([1.8] + [0.15] * 60)
    late = [f for f in frames if f.send_s > f.due_s]
    assert late
    assert all(f.send_s <= f.due_s for f in frames[40 * 4 :])


def test_sending_after_the_due_time_is_late() -> None:
    frames, _ = run([0.7], deadline_s=0.5)
    assert all(f.send_s > f.due_s for f in frames)


@given(needed=st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_frames_keep_their_order_and_never_burst(needed: list[float]) -> None:
    ready, chunks = 0.0, []
    for index, seconds in enumerate(needed):  # an engine answers in order
        ready = max(ready, index * 4 * PERIOD + seconds)
        chunks.append(ready - index * 4 * PERIOD)
    frames, _ = run(chunks)
    assert all(gap >= MIN_SPACING * PERIOD - 1e-9 for gap in gaps(frames))
    for index, wait in enumerate(chunks):
        assert frames[4 * index].send_s >= 10.0 + index * 4 * PERIOD + wait - 1e-9


# -- frames that were left out -----------------------------------------------------------------------------------------


def halved(*, chunks: int, spans: tuple[int, ...] = (2, 2, 2, 2)) -> list[PacedFrame]:
    """Chunks that take twice as long, as every second frame of their source was left out."""
    pacer, frames = Pacer(frame_rate=16, deadline_s=0.5), []
    for index in range(chunks):
        complete = 10.0 + index * 8 * PERIOD
        frames += pacer.schedule(complete_s=complete, ready_s=complete + 0.2, spans=spans)
    return frames


def test_half_as_many_frames_are_as_even_and_due_at_their_own_pace() -> None:
    frames = halved(chunks=10)
    assert gaps(frames) == pytest.approx([2 * PERIOD] * 39)
    assert [frame.due_s for frame in frames[:4]] == pytest.approx([10.5 + 2 * k * PERIOD for k in range(4)])
    assert all(frame.send_s <= frame.due_s for frame in frames)


def test_a_frame_comes_as_much_later_as_it_stands_for() -> None:
    frames = halved(chunks=1, spans=(2, 1, 2, 1))
    assert gaps(frames) == pytest.approx([PERIOD, 2 * PERIOD, PERIOD])


@example(spans=[[2, 2, 2, 2], [1, 1, 1, 1]])
@given(spans=st.lists(st.lists(st.sampled_from([1, 2]), min_size=4, max_size=4), min_size=1, max_size=30))
def test_an_engine_that_is_quick_enough_is_late_at_no_change_of_the_frame_rate(spans: list[list[int]]) -> None:
    """Chunks of any mixture: each is complete when its last frame was there."""
    pacer, complete, waiting, before = Pacer(frame_rate=16, deadline_s=0.25), 10.0, list[OutputFrame](), 1
    sent: list[OutputFrame] = []
    for number, one in enumerate(spans):
        complete += sum(one) * PERIOD
        ready = complete + 0.1
        sent += [frame for frame in waiting if frame.pace.send_s <= ready]
        waiting = [frame for frame in waiting if frame.pace.send_s > ready]
        if max(one) < before:
            waiting = pacer.sooner(waiting, now_s=ready)
        before = max(one)
        waiting += pacer.frames(generated(number, complete, ready, one))
    sent += waiting
    assert all(frame.pace.send_s <= frame.pace.due_s for frame in sent)
    assert all(gap >= MIN_SPACING * PERIOD - 1e-9 for gap in gaps([frame.pace for frame in sent]))


def generated(index: int, complete_s: float, ready_s: float, spans: list[int]) -> GeneratedChunk:
    picture = np.zeros((2, 2, 3), np.uint8)
    frames = tuple(
        SourceFrame(SourcePosition(1, 10 * index + place), picture, complete_s, spans=span, every=span)
        for place, span in enumerate(spans)
    )
    chunk = SessionChunk(
        index=index,
        rows=1,
        steps=1,
        complete_s=complete_s,
        positions=tuple(frame.position for frame in frames),
        source=InputChunk(frames, complete_s),
    )
    return GeneratedChunk(np.stack([picture] * len(spans)), chunk, ready_s, cast("Checkpoint", None))


def test_a_frame_says_at_which_level_it_was_made_also_within_a_chunk_in_which_that_changed() -> None:
    frames = Pacer(frame_rate=16, deadline_s=0.5).frames(generated(3, 10.0, 10.2, [1, 2, 2, 2]))
    steps = frames[0].level.steps
    assert [frame.level for frame in frames] == [Level(steps), *[Level(steps, every=2)] * 3]
