from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.mock import ring


@given(st.integers(0, 10_000))
def test_the_first_frames_fill_the_ring_and_the_rest_cycle_behind_the_sinks(frame: int) -> None:
    expected = frame if frame < 6 else 3 + (frame - 6) % 3
    assert ring.slot(frame) == expected


@given(st.integers(1, 200))
def test_a_ring_holds_the_sinks_and_the_newest_frames(count: int) -> None:
    held: dict[int, int] = {}
    for frame in range(count):
        held = ring.written(held, {frame: frame})
    assert tuple(sorted(held.values())) == ring.held(count)
    assert set(range(min(3, count))) <= set(held.values())
    assert set(range(max(0, count - 3), count)) <= set(held.values())


@given(st.integers(0, 50))
def test_writing_leaves_the_old_ring_as_it_was(count: int) -> None:
    before = dict.fromkeys(range(6), -1)
    after = ring.written(before, {count: count})
    assert before == dict.fromkeys(range(6), -1)
    assert sum(before[slot] != after[slot] for slot in range(6)) == 1
