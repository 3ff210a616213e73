import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.ring import V2V_RING, RingLayout

layouts = st.integers(1, 24).flatmap(lambda slots: st.builds(RingLayout, st.just(slots), st.integers(0, slots - 1)))


@given(st.integers(0, 10_000))
def test_the_first_frames_fill_the_ring_and_the_rest_cycle_behind_the_sinks(frame: int) -> None:
    expected = frame if frame < 6 else 3 + (frame - 6) % 3
    assert V2V_RING.slot(frame) == expected


@given(layouts, st.integers(1, 200))
def test_a_ring_holds_the_sinks_and_the_newest_frames(layout: RingLayout, count: int) -> None:
    held: dict[int, int] = {}
    for frame in range(count):
        held = layout.written(held, {frame: frame})
    assert tuple(sorted(held.values())) == layout.held(count)
    assert tuple(held[slot] for slot in sorted(held)) == layout.by_slot(count)
    assert set(range(min(layout.sinks, count))) <= set(held.values())
    assert set(range(max(0, count - layout.window), count)) <= set(held.values())


@given(st.integers(0, 50))
def test_writing_leaves_the_old_ring_as_it_was(count: int) -> None:
    before = dict.fromkeys(range(6), -1)
    after = V2V_RING.written(before, {count: count})
    assert before == dict.fromkeys(range(6), -1)
    assert sum(before[slot] != after[slot] for slot in range(6)) == 1


@pytest.mark.parametrize(("slots", "sinks"), [(0, 0), (3, 3), (6, -1)])
def test_a_ring_needs_a_slot_that_rolls(slots: int, sinks: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        RingLayout(slots, sinks)
