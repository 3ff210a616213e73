from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions
from genlock_worker.engines.diffusion.streaming.positions import REFRESH_AT, frame_index, index_to_sinks, sink_index

FRAMES = 100_000
LAYOUTS = st.integers(2, 24).flatmap(lambda slots: st.builds(RingLayout, st.just(slots), st.integers(0, slots - 1)))
NEWEST = st.integers(0, 10 * FRAMES)


def distances(mode: Positions, layout: RingLayout, newest: int) -> tuple[list[int], list[int]]:
    """From the newest frame's query to each sink that is there, and to each frame of the window in temporal order."""
    to_sinks = index_to_sinks(mode, layout, newest, newest)
    sinks = [to_sinks - sink_index(mode, layout, sink, sink) for sink in range(min(layout.sinks, newest + 1))]
    here = frame_index(mode, layout, newest)
    window = [here - frame_index(mode, layout, frame) for frame in layout.held(newest + 1) if frame >= layout.sinks]
    return sinks, window


@given(LAYOUTS, NEWEST)
def test_relative_distances_are_those_of_places_in_the_ring(layout: RingLayout, newest: int) -> None:
    sinks, window = distances(Positions.RELATIVE, layout, newest)
    last = min(newest, layout.slots - 1)
    assert sinks + window == [last - place for place in range(last + 1)]


@given(LAYOUTS, NEWEST)
def test_absolute_distances_are_those_of_frames(layout: RingLayout, newest: int) -> None:
    sinks, window = distances(Positions.ABSOLUTE, layout, newest)
    assert sinks + window == [newest - frame for frame in layout.held(newest + 1)]


@given(LAYOUTS, NEWEST)
def test_relative_is_absolute_until_the_ring_is_full_and_no_longer(layout: RingLayout, newest: int) -> None:
    relative, absolute = (distances(mode, layout, newest) for mode in (Positions.RELATIVE, Positions.ABSOLUTE))
    assert relative[1] == absolute[1]
    assert (relative[0] == absolute[0]) == (newest < layout.slots or layout.sinks == 0)


@given(LAYOUTS, NEWEST, st.sampled_from(Positions))
def test_while_the_ring_fills_one_query_serves_both(layout: RingLayout, newest: int, mode: Positions) -> None:
    differs = index_to_sinks(mode, layout, newest, newest) != frame_index(mode, layout, newest)
    assert differs == (mode is Positions.RELATIVE and newest >= layout.slots)


@given(LAYOUTS, NEWEST)
def test_the_two_frames_of_the_opening_are_as_far_from_the_sinks_as_from_each_other(
    layout: RingLayout, newest: int
) -> None:
    places = [index_to_sinks(Positions.RELATIVE, layout, frame, newest) for frame in (newest - 1, newest)]
    assert places[1] - places[0] == 1


def test_a_sink_that_was_replaced_has_the_place_of_its_slot_in_relative_and_its_number_in_absolute() -> None:
    layout = RingLayout(6, 3)
    assert sink_index(Positions.RELATIVE, layout, 1, 40) == 1
    assert sink_index(Positions.ABSOLUTE, layout, 1, 40) == 40


@pytest.mark.parametrize("layout", [RingLayout(6, 3), RingLayout(5, 2), RingLayout(21, 0)])
def test_refreshed_counts_as_the_reference_does_before_each_chunk(layout: RingLayout) -> None:
    index = 0
    for frame in range(1000):
        if index >= REFRESH_AT:
            index = layout.slots - 1
        assert frame_index(Positions.REFRESHED, layout, frame) == index
        assert index_to_sinks(Positions.REFRESHED, layout, frame, frame) == index
        index += 1


def test_a_hundred_thousand_frames_in_a_row_never_overrun_nor_drift() -> None:
    layout, full = RingLayout(6, 3), set()
    for newest in range(FRAMES):
        sinks, window = distances(Positions.RELATIVE, layout, newest)
        full.add((*sinks, *window))
        assert frame_index(Positions.REFRESHED, layout, newest) < REFRESH_AT
        assert [b - a for a, b in pairwise(window)] == [-1] * (len(window) - 1)
    # While the ring fills, one per frame; then always the same.
    assert full == {tuple(range(n, -1, -1)) for n in range(6)}
