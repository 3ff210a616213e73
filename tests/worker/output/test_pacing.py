"""Output is even, as early as a smooth pace allows, and late only when it is past its due time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.output.pacing import MIN_SPACING, PacedFrame, Pacer

PERIOD = 1 / 16


def run(needed: list[float], *, deadline_s: float = 0.5) -> tuple[list[PacedFrame], Pacer]:
    """Chunks of 4, one every 4 periods, generated `needed` seconds after they were complete."""
    pacer, frames = Pacer(frame_rate=16, deadline_s=deadline_s), []
    for index, seconds in enumerate(needed):
        complete = 10.0 + index * 4 * PERIOD
        frames += pacer.schedule(complete_s=complete, ready_s=complete + seconds, frames=4)
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
