from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions
from genlock_worker.engines.diffusion.streaming.positions import REFRESH_AT, frame_index, slot_indices

FRAMES = 100_000
LAYOUTS = st.integers(2, 24).flatmap(lambda slots: st.builds(RingLayout, st.just(slots), st.integers(0, slots - 1)))
NEWEST = st.integers(0, FRAMES)


def window(layout: RingLayout, newest: int, indices: tuple[int, ...]) -> list[int]:
    """Indices of the frames that are no sinks, in temporal order."""
    frames = layout.by_slot(newest + 1)
    return [index for frame, index in sorted(zip(frames, indices, strict=True)) if frame >= layout.sinks]


@given(LAYOUTS, NEWEST)
def test_relative_never_leaves_the_ring_and_never_gives_two_frames_one_index(layout: RingLayout, newest: int) -> None:
    indices = slot_indices(Positions.RELATIVE, layout, layout.by_slot(newest + 1), newest)
    assert sorted(indices) == list(range(min(newest + 1, layout.slots)))


@given(LAYOUTS, NEWEST)
def test_distances_within_the_window_are_the_true_ones(layout: RingLayout, newest: int) -> None:
    frames = layout.by_slot(newest + 1)
    relative, absolute = (
        window(layout, newest, slot_indices(mode, layout, frames, newest))
        for mode in (Positions.RELATIVE, Positions.ABSOLUTE)
    )
    assert [b - a for a, b in pairwise(relative)] == [b - a for a, b in pairwise(absolute)]


@given(LAYOUTS, NEWEST, st.sampled_from(Positions))
def test_a_new_frame_has_as_a_query_the_index_that_it_has_as_a_key(
    layout: RingLayout, newest: int, mode: Positions
) -> None:
    frames = layout.by_slot(newest + 1)
    indices = slot_indices(mode, layout, frames, newest)
    assert indices[layout.slot(newest)] == frame_index(mode, layout, newest, newest)


@given(LAYOUTS, NEWEST)
def test_absolute_is_the_number_of_the_frame(layout: RingLayout, newest: int) -> None:
    frames = layout.by_slot(newest + 1)
    assert slot_indices(Positions.ABSOLUTE, layout, frames, newest) == frames


def test_a_sink_that_was_replaced_keeps_the_place_of_its_slot_in_relative() -> None:
    layout = RingLayout(6, 3)
    assert slot_indices(Positions.RELATIVE, layout, (0, 40, 2, 51, 52, 50), 52) == (0, 1, 2, 4, 5, 3)


@pytest.mark.parametrize("layout", [RingLayout(6, 3), RingLayout(5, 2), RingLayout(21, 0)])
def test_refreshed_counts_as_the_reference_does_before_each_chunk(layout: RingLayout) -> None:
    index = 0
    for frame in range(1000):
        if index >= REFRESH_AT:
            index = layout.slots - 1
        assert frame_index(Positions.REFRESHED, layout, frame, frame) == index
        index += 1


def test_refreshed_leaves_what_is_stored_alone() -> None:
    layout = RingLayout(6, 3)
    before = slot_indices(Positions.REFRESHED, layout, layout.by_slot(50), 49)
    after = slot_indices(Positions.REFRESHED, layout, layout.by_slot(51), 50)
    assert (before, after) == ((0, 1, 2, 48, 49, 47), (0, 1, 2, 48, 49, 5))


def test_a_hundred_thousand_frames_in_a_row_never_overrun_nor_drift() -> None:
    layout, full = RingLayout(6, 3), set()
    for newest in range(FRAMES):
        frames = layout.by_slot(newest + 1)
        full.add(slot_indices(Positions.RELATIVE, layout, frames, newest))
        assert max(slot_indices(Positions.REFRESHED, layout, frames, newest)) < REFRESH_AT
        assert max(slot_indices(Positions.ABSOLUTE, layout, frames, newest)) == newest
    # While the ring fills, one per frame; then the window's three slots take turns.
    assert full == {tuple(range(n)) for n in range(1, 7)} | {(0, 1, 2, 5, 3, 4), (0, 1, 2, 4, 5, 3)}
