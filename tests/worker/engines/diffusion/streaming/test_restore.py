"""Interrupted streams: how exactly rings are rebuilt, and how far the pictures are from those without interruption."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.contract import Change, Chunk, StreamSettings
from genlock_worker.engines.diffusion.config import Positions, StreamOptions
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.streaming.restore import plan
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache, StoredLatent, opening_length
from tests.worker.engines.diffusion.rows import held
from tests.worker.engines.diffusion.streaming.test_sinks import LAYOUTS, NO_LATENT, blank_cache
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    StreamBatch,
    caches,
    chunk,
    difference,
    engine,
    settings,
    stored,
)

WINDOW_CHUNKS = 3


def interrupted(
    before: int,
    after: int,
    *,
    plan_: StreamSettings | None = None,
    options: StreamOptions | None = None,
    changes: dict[int, Change] | None = None,
    scene_chunks: int = 1000,
    vae: StreamingVae | None = None,
) -> tuple[StreamBatch, StreamBatch]:
    """The same stream twice, the second one restored on another engine after `before` chunks were fed."""
    plan_ = plan_ or settings()
    one, other = engine(options=options, vae=vae), engine(options=options, vae=vae)
    one.open("s", plan_)
    stream = StreamBatch(one, "s")

    def rounds(target: StreamBatch, chunks: range) -> None:
        for index in chunks:
            target.one.apply("s", (changes or {}).get(index, Change()))
            target.round(Chunk(index, None) if plan_.text_only else chunk(index, scene=index // scene_chunks))

    rounds(stream, range(before))
    other.restore("s", plan_, stored(one.snapshot("s")))
    restored = stream.on(other)
    assert other.sink_digest("s") == one.sink_digest("s")
    compare_sinks(stream, restored)
    stream.outputs.clear()
    for target in (stream, restored):
        rounds(target, range(before, before + after))
    return stream, restored


def compare_sinks(a: StreamBatch, b: StreamBatch, *, tolerance: float = 1e-5) -> None:
    """The sinks of every row that was not replaced are what they were: keys, values and means."""
    for x, y in zip(caches(a.one, "s"), caches(b.one, "s"), strict=True):
        fsl = x.ring.frame_tokens
        if not y.slots:
            continue
        ours, theirs = held(y.ring), held(x.ring)
        for slot, kept in enumerate(x.sinks):
            if kept.frame == slot:
                place = slice(slot * fsl, (slot + 1) * fsl)
                torch.testing.assert_close(ours.keys[:, place], theirs.keys[:, place], atol=tolerance, rtol=0)
                torch.testing.assert_close(ours.values[:, place], theirs.values[:, place], atol=tolerance, rtol=0)
                torch.testing.assert_close(ours.means[:, slot], theirs.means[:, slot], atol=tolerance, rtol=0)


def difference_curve(a: StreamBatch, b: StreamBatch) -> list[float]:
    """Mean absolute difference (levels of 0-255) of every chunk that both gave, in order."""
    return [difference(a.outputs[index], b.outputs[index]) for index in sorted(a.outputs.keys() & b.outputs.keys())]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_snapshot_of_every_chunk_goes_on_and_is_soon_the_same(steps: int) -> None:
    one, plan_ = engine(vae=BlockVae()), settings(steps=steps)
    one.open("s", plan_)
    stream, after = StreamBatch(one, "s"), steps + WINDOW_CHUNKS
    restored: list[StreamBatch] = []
    for index in range(13 + after):
        for target in (stream, *restored[-after:]):
            target.round(chunk(index))
        if index < 13:
            other_engine = engine(vae=BlockVae())
            other_engine.restore("s", plan_, stored(one.snapshot("s")))
            restored.append(stream.on(other_engine))
            compare_sinks(stream, restored[-1])
    for other in restored:
        curve = difference_curve(stream, other)
        assert len(curve) > WINDOW_CHUNKS
        assert max(curve) < 1.0
        assert curve[-1] < 0.05


def test_the_pictures_differ_unseen_at_first_and_not_at_all_after_a_window() -> None:
    curve = difference_curve(*interrupted(12, 2 + WINDOW_CHUNKS + 2, scene_chunks=8))
    assert curve[0] == max(curve) < 1.0
    assert max(curve[WINDOW_CHUNKS:]) < 0.02


@pytest.mark.parametrize("positions", list(Positions))
def test_the_difference_fades_in_every_way_of_counting(positions: Positions) -> None:
    options = StreamOptions(sink_threshold=None, positions=positions)
    curve = difference_curve(*interrupted(13, 9, options=options, scene_chunks=6, vae=BlockVae()))
    assert curve[0] == max(curve) < 1.0
    assert max(curve[WINDOW_CHUNKS + 1 :]) < 0.01


def test_while_nothing_has_left_the_ring_all_of_it_is_rebuilt_exactly() -> None:
    for before in range(1, 6):
        one, other = (stream.one for stream in interrupted(before, 0, vae=BlockVae()))
        for x, y in zip(caches(one, "s"), caches(other, "s"), strict=True):
            tokens = len(y.slots) * y.ring.frame_tokens
            assert before == 1 or tokens
            ours, theirs = held(y.ring), held(x.ring)
            torch.testing.assert_close(ours.keys[:, :tokens], theirs.keys[:, :tokens], atol=1e-5, rtol=0)
            torch.testing.assert_close(ours.values[:, :tokens], theirs.values[:, :tokens], atol=1e-5, rtol=0)


CHANGES = st.dictionaries(
    st.integers(0, 9),
    st.builds(
        Change,
        prompt=st.sampled_from([None, "neon", "ink winter", "my own thing"]),
        steps=st.sampled_from([None, 1, 2, 3, 4]),
        noise_scale=st.sampled_from([None, 0.4, 0.8]),
    ),
    max_size=4,
)


@limits(max_examples=6, deadline=None)
@given(changes=CHANGES, before=st.integers(1, 10), refresh=st.booleans(), text_only=st.booleans())
def test_changes_of_prompt_steps_and_noise_before_the_snapshot_are_kept(
    changes: dict[int, Change], before: int, refresh: bool, text_only: bool
) -> None:
    options = StreamOptions(sink_threshold=None, refresh_on_prompt=refresh)
    plan_ = settings(text_only=text_only)
    one, other = interrupted(before, 8, plan_=plan_, options=options, changes=changes, vae=BlockVae())
    curve = difference_curve(one, other)
    assert max(curve) < 3.0
    assert curve[-1] < 0.1
    assert [row.newest for row in caches(one.one, "s")] == [row.newest for row in caches(other.one, "s")]


def test_sinks_that_were_replaced_come_back_with_the_others_and_the_next_one_is_replaced_as_was_decided() -> None:
    options = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=3, sink_delay_chunks=6)
    one, other = interrupted(18, 10, options=options, scene_chunks=4, vae=BlockVae())
    for x, y in zip(caches(one.one, "s"), caches(other.one, "s"), strict=True):
        assert any(kept.frame > 2 for kept in x.sinks)
        assert [kept.frame for kept in x.slots] == [kept.frame for kept in y.slots]
        assert x.replaced_in == y.replaced_in == 20
    curve = difference_curve(one, other)
    assert max(curve) < 1.0
    assert max(curve[WINDOW_CHUNKS + 1 :]) < 0.2


def test_a_restored_session_writes_no_block_again() -> None:
    one, other = (stream.one for stream in interrupted(9, 0))
    before, after = one.snapshot("s"), other.snapshot("s")
    assert before.blocks.keys() == after.blocks.keys()
    assert (before.attributes, before.in_flight) == (after.attributes, after.in_flight)
    for name, arrays in before.blocks.items():
        for part, array in arrays.items():
            assert array.tobytes() == after.blocks[name][part].tobytes()
            assert array.dtype == after.blocks[name][part].dtype


def record(layout: RingLayout, frames: int, replaced: Sequence[tuple[int, int]]) -> RowCache:
    """A row's record after `frames` frames; `replaced` are (frame, sink slot)."""
    cache, _ = blank_cache(layout)
    for frame in range(frames):
        cache.write([StoredLatent(0, frame, NO_LATENT, 700.0, (("p", 1.0),))])
        for when, sink in replaced:
            if when == frame and sink < layout.sinks and frame >= layout.slots - 1:
                cache.replace_sink(sink, chunk=frame)
    return cache


@given(
    layout=LAYOUTS,
    frames=st.integers(2, 30),
    replaced=st.lists(st.tuples(st.integers(2, 29), st.integers(0, 6)), max_size=5, unique_by=lambda pair: pair[0]),
)
def test_a_plan_puts_every_frame_into_its_slot_and_shows_it_only_what_was_there(
    layout: RingLayout, frames: int, replaced: list[tuple[int, int]]
) -> None:
    cache = record(layout, frames, replaced)
    made = plan(cache)
    ring: dict[int, int] = {}
    for step in made.passes:
        for slot, kept in zip(step.slots, step.frames, strict=True):
            ring[slot] = kept.frame
        visible = [ring[slot] for slot in range(step.filled)]
        assert set(step.slots) <= set(range(step.filled))
        newest = step.frames[-1].frame
        assert all(frame <= newest for frame in visible)
        if newest < opening_length(layout):
            assert visible == list(range(newest + 1))
        if step.sink is not None:
            ring[step.sink] = newest
    assert [ring[slot] for slot in made.order] == [kept.frame for kept in cache.slots]
