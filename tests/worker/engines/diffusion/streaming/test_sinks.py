"""When sinks change, and that nothing else does: over streams of 100,000 frames, without a model."""

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import SINK_DELAY, StreamOptions
from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache, StoredLatent, latent_frames
from genlock_worker.engines.diffusion.streaming.sinks import PendingSink, SinkRule

LAYOUTS = st.integers(2, 8).flatmap(
    lambda slots: st.builds(RingLayout, slots=st.just(slots), sinks=st.integers(0, slots - 1))
)
NO_LATENT = torch.zeros(0)


class ListRing:
    """A ring of one number per slot, the frame's; `spare` holds the frame that is written a second time."""

    def __init__(self, layout: RingLayout) -> None:
        self.held = [-1] * layout.slots
        self.spare = -1

    def switch(self, sink: int) -> None:
        self.held[sink], self.spare = self.spare, self.held[sink]


def blank_cache(layout: RingLayout) -> tuple[RowCache, ListRing]:
    """A row's record over a ring of numbers."""
    ring = ListRing(layout)
    return RowCache(cast("PagedRing", ring), layout), ring


def stream(
    rule: SinkRule, likenesses: Iterator[tuple[float, ...]], chunks: int
) -> Iterator[tuple[int, list[int], list[int], int | None]]:
    """A row as the session moves it: (chunk, what its record holds, what its ring holds, replaced sink)."""
    cache, ring = blank_cache(rule.layout)
    pending: PendingSink | None = None
    for chunk in range(chunks):
        frames = latent_frames(chunk)
        for frame in frames:
            ring.held[rule.layout.slot(frame)] = frame
        cache.write([StoredLatent(0, frame, NO_LATENT, 700.0, (("p", 1.0),)) for frame in frames])
        sink = None
        if pending is not None and pending.chunk == chunk:
            sink, pending = pending.sink, None
            ring.spare = frames[-1]
            cache.replace_sink(sink, chunk=chunk)
        decided = rule.decide(
            next(likenesses),
            chunk=chunk,
            frames=frames,
            replaced_in=cache.replaced_in if pending is None else pending.chunk,
        )
        if decided is not None:
            assert pending is None
            assert decided.chunk == chunk + rule.delay_chunks
            pending = decided
        yield chunk, [stored.frame for stored in cache.slots], ring.held, sink


def random_likenesses(sinks: int, seed: int) -> Iterator[tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    while True:
        yield from map(tuple, rng.uniform(-1, 1, (1024, sinks)).tolist())


def check_long_stream(layout: RingLayout, *, cooldown: int, delay: int = SINK_DELAY, chunks: int, seed: int) -> int:
    """Play a stream and check every state of it; returns how often a sink was replaced."""
    rule = SinkRule(layout, threshold=0.2, cooldown_chunks=cooldown, delay_chunks=delay)
    replaced: list[int] = []
    sinks: list[int] = []
    for chunk, held, ring, sink in stream(rule, random_likenesses(layout.sinks, seed), chunks):
        newest = chunk + 1
        expected = layout.by_slot(newest + 1)
        assert held[layout.sinks :] == list(expected[layout.sinks :])
        if sink is None:
            assert held[: len(sinks)] == sinks
        else:
            assert len(held) == layout.slots
            assert held[sink] == newest
            assert [f for slot, f in enumerate(held[: layout.sinks]) if slot != sink] == [
                f for slot, f in enumerate(sinks) if slot != sink
            ]
            replaced.append(chunk)
        sinks = held[: layout.sinks]
        assert ring[: len(held)] == held
    assert all(later - earlier > cooldown + delay for earlier, later in pairwise(replaced))
    return len(replaced)


def test_over_100_000_frames_the_window_holds_the_newest_and_sinks_change_by_the_rule_alone() -> None:
    replaced = check_long_stream(RingLayout(), cooldown=8, chunks=100_000, seed=1)
    assert 100_000 / (12 + SINK_DELAY) < replaced < 100_000 / (9 + SINK_DELAY)


@limits(max_examples=20, deadline=None)
@given(layout=LAYOUTS, cooldown=st.integers(0, 9), delay=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_same_holds_for_every_layout_cooldown_and_delay(
    layout: RingLayout, cooldown: int, delay: int, seed: int
) -> None:
    replaced = check_long_stream(layout, cooldown=cooldown, delay=delay, chunks=150, seed=seed)
    assert (replaced > 0) == (layout.sinks > 0)


def choose(similarity: tuple[float, ...], *, chunk: int = 20, replaced_in: int | None = None) -> int | None:
    decided = SinkRule.of(StreamOptions()).decide(
        similarity, chunk=chunk, frames=latent_frames(chunk), replaced_in=replaced_in
    )
    assert decided is None or decided.chunk == chunk + SINK_DELAY
    return None if decided is None else decided.sink


def test_the_least_like_sink_below_the_threshold_is_replaced() -> None:
    assert choose((0.1, -0.3, 0.15)) == 1
    assert choose((0.21, 0.9, 0.5)) is None


def test_nothing_is_replaced_while_the_ring_fills() -> None:
    assert [choose((-1.0, -1.0, -1.0), chunk=chunk) for chunk in range(5)] == [None, None, None, None, 0]


def test_after_a_replacement_the_next_waits() -> None:
    assert choose((0.0, 0.0, 0.0), replaced_in=12) is None
    assert choose((0.0, 0.0, 0.0), replaced_in=11) == 0


def test_while_one_is_to_be_replaced_no_other_is_chosen() -> None:
    assert choose((0.0, 0.0, 0.0), replaced_in=29) is None


def test_a_likeness_that_is_no_number_replaces_nothing() -> None:
    assert choose((float("nan"), 0.5, 0.5)) is None
    assert choose((float("nan"), 0.5, 0.1)) == 2


@pytest.mark.parametrize("similarity", [(0.0, 0.0, 0.0), (-1.0, 1.0, 0.0)])
def test_without_a_threshold_sinks_stay_for_ever(similarity: tuple[float, ...]) -> None:
    rule = SinkRule.of(StreamOptions(sink_threshold=None))
    assert rule.decide(similarity, chunk=99, frames=latent_frames(99), replaced_in=None) is None


def test_a_chunk_of_several_frames_replaces_nothing() -> None:
    rule = SinkRule(RingLayout(slots=2, sinks=1), threshold=0.2, cooldown_chunks=0, delay_chunks=1)
    assert rule.decide((-1.0,), chunk=0, frames=latent_frames(0), replaced_in=None) is None
