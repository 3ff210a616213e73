"""What deliberate faults in the engine showed that no other test would have noticed."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.contract import Change, EngineFailure, Frames, Row
from genlock_worker.engines.diffusion.config import TINY, StreamOptions
from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.vae import VaeStream
from genlock_worker.engines.diffusion.streaming.micro_step import QueuedRow, queue_rows
from genlock_worker.engines.diffusion.streaming.restore import plan
from genlock_worker.engines.diffusion.streaming.row_cache import RowCache
from genlock_worker.engines.diffusion.streaming.row_work import Renoise, RowWork
from tests.worker.engines.diffusion.rows import bare_keys, empty_ring, held, text_pool
from tests.worker.engines.diffusion.streaming.test_restore import record
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    StreamBatch,
    caches,
    chunk,
    components,
    engine,
    play,
    settings,
    stored,
)
from tests.worker.engines.driven import Driven

SINKS_CHANGE = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=2, sink_delay_chunks=6)


def test_every_row_draws_the_noise_of_its_own_seed_chunk_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int, int]] = []
    draw = noise.draw

    def noted(*, seed: int, chunk: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        drawn.append((seed, chunk, step))
        return draw(seed=seed, chunk=chunk, step=step, shape=shape)

    monkeypatch.setattr(noise, "draw", noted)
    one = engine(vae=BlockVae())
    for session, seed in (("s", 7), ("t", 8)):
        one.open(session, settings(steps=3, seed=seed))
        play(one, session, range(3))
    assert drawn == [(seed, index, step) for seed in (7, 8) for index in range(3) for step in range(3)]


def test_rows_are_given_up_with_the_last_chunk_that_needs_them() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=4))
    play(one, "s", range(3))
    one.feed("s", chunk(3))
    one.run([Row("s", 0, 3)])
    one.apply("s", Change(steps=1))
    one.feed("s", chunk(4))
    assert len(caches(one, "s")) == 4
    for step in (1, 2, 3):
        one.run([Row("s", step, 3)])
    assert len(caches(one, "s")) == 1
    assert one.budget.taken == {"s": one.session_bytes(settings(steps=1))}


def test_a_row_waits_until_the_chunk_before_has_run_the_same_row() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=3))
    play(one, "s", range(1))
    for index in (1, 2):
        one.feed("s", chunk(index))
        one.run([Row("s", 0, index)])
    with pytest.raises(EngineFailure, match="may not run yet"):
        one.run([Row("s", 1, 2)])
    one.run([Row("s", 1, 1)])
    one.run([Row("s", 1, 2)])


def test_one_number_that_is_not_finite_is_enough() -> None:
    def forward(batch: RowBatch) -> Denoised:
        answer: Denoised = components().transformer(batch)
        answer.flow[0, -1, 3, 2, 1] = float("nan")
        return answer

    one = engine(forward=forward, vae=BlockVae())
    one.open("s", settings())
    one.feed("s", chunk(0))
    with pytest.raises(EngineFailure, match="not finite"):
        one.run([Row("s", 0, 0)])


@pytest.mark.parametrize("renoise", [None, Renoise(500, seed=7, chunk=3, step=1)])
def test_what_the_next_row_is_given_is_rounded_as_it_will_be_stored(renoise: Renoise | None) -> None:
    layout = RingLayout()
    work = RowWork(
        session="s",
        hidden=torch.ones(1, 16, 8, 8, dtype=torch.bfloat16),
        timestep=700,
        ring=empty_ring(TINY, layout),
        text=text_pool(TINY).put(*torch.zeros(2, TINY.layers, TINY.text_length, TINY.heads, TINY.head_dim)),
        slots=(0,),
        filled=1,
        positions=(0,),
        sink_positions=(0,),
        renoise=renoise,
    )

    def forward(batch: RowBatch) -> Denoised:
        return Denoised(torch.full(batch.hidden.shape, 0.1), torch.zeros(1, layout.sinks))

    (queued,) = queue_rows([work], forward)
    assert isinstance(queued, QueuedRow)
    assert queued.latents.dtype is torch.bfloat16


def test_a_row_that_takes_a_ring_over_takes_its_history_over() -> None:
    one = engine(options=SINKS_CHANGE, vae=BlockVae())
    one.open("s", settings(steps=2))
    play(one, "s", range(12))
    last = caches(one, "s")[1]
    ring = PagedRing.taken(last.ring.pool, last.layout, frame_tokens=last.ring.frame_tokens)
    taken = RowCache(ring, last.layout)
    taken.take_over(last)
    assert last.replaced_in is not None
    assert (taken.slots, taken.opening, taken.replaced_in) == (last.slots, last.opening, last.replaced_in)


def test_the_first_frames_are_rebuilt_together_even_where_one_alone_is_a_sink() -> None:
    made = plan(record(RingLayout(slots=5, sinks=1), 12, []))
    assert [stored.frame for stored in made.passes[0].frames] == [0, 1]
    assert [stored.frame for stored in made.passes[1].frames] == [8]
    without = plan(record(RingLayout(slots=5, sinks=0), 12, []))
    assert [[stored.frame for stored in step.frames] for step in without.passes] == [[7], [8], [9], [10], [11]]


def check_means(one: Driven) -> None:
    """Every slot's mean is that of the values which lie there, and of the keys before they were rotated."""
    for cache in caches(one, "s"):
        indices = [slot if slot < cache.layout.sinks else stored.frame for slot, stored in enumerate(cache.slots)]
        keys = bare_keys(cache.ring, indices, grid=(4, 4))
        for kind, lying in enumerate((keys, held(cache.ring).values[:, : keys.shape[1]])):
            means = torch.unflatten(lying.flatten(2), 1, (len(indices), -1)).mean(2)
            torch.testing.assert_close(cache.ring.means[:, : len(indices), kind], means, atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunks", [4, 11, 12, 13, 20])
def test_the_means_of_slots_follow_what_lies_in_them(chunks: int) -> None:
    one, other = (engine(options=SINKS_CHANGE, vae=BlockVae()) for _ in range(2))
    one.open("s", settings(steps=2))
    play(one, "s", range(chunks), changes={chunks - 1: Change(steps=3)})
    check_means(one)
    other.restore("s", settings(), stored(one.snapshot("s")))
    check_means(other)


class Notebook(BlockVae):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Tensor] = []
        self.latents: list[Tensor] = []

    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        self.frames.append(frames)
        return super().encode(stream, frames)

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        self.latents.append(latents)
        return super().decode(stream, latents)


@pytest.mark.parametrize(("chunks", "first"), [(3, 0), (9, 5)])
def test_where_a_streams_beginning_is_gone_the_first_that_is_left_stands_in_for_it(chunks: int, first: int) -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    play(one, "s", range(chunks))
    vae = Notebook()
    engine(vae=vae).restore("s", settings(), stored(one.snapshot("s")))
    frames, latents = torch.cat(vae.frames), torch.cat(vae.latents)
    kept = [chunk(index).frames for index in range(first, chunks)]
    assert len(frames) == 1 + 4 * (chunks - first)
    assert len(latents) == 1 + chunks - first
    assert torch.equal(latents[0], latents[1]) == (first > 0)
    assert torch.equal(frames[0], frames[1]) == (first > 0)
    sources = np.concatenate([part for part in kept if part is not None])
    assert np.abs(frames.numpy()[-len(sources) :].astype(int) - sources).mean() < 5


def in_motion(changes: Sequence[int], *, rounds: int = 8) -> Driven:
    """A stream batch whose steps change at the end of it, with chunks of before and after in flight."""
    one = engine(options=SINKS_CHANGE, vae=BlockVae())
    one.open("s", settings(steps=changes[0]))
    stream = StreamBatch(one, "s")
    for index in range(rounds):
        stream.round(chunk(index))
    for index, steps in enumerate(changes[1:], start=rounds):
        one.apply("s", Change(prompt=f"prompt {index}", steps=steps, noise_scale=0.3))
        stream.round(chunk(index))
    one.apply("s", Change(prompt="neon", steps=2, noise_scale=0.6))
    return one


@pytest.mark.parametrize("rounds", [8, 9, 14])
@pytest.mark.parametrize("changes", [(1, 4), (2, 4), (4, 2), (4, 1), (3, 1, 4), (2, 3, 4)])
def test_a_session_that_was_restored_gives_the_same_snapshot_again(changes: Sequence[int], rounds: int) -> None:
    """Before a sink is replaced, while some rows have replaced it and others have not, and afterwards."""
    one = in_motion(changes, rounds=rounds)
    before = stored(one.snapshot("s"))
    if rounds < 14:
        assert before.sink_replacement is not None
        assert before.sink_replacement.frame == 11
    else:
        assert caches(one, "s")[0].replaced_in == 10
    other = engine(options=SINKS_CHANGE, vae=BlockVae())
    other.restore("s", settings("anything", steps=1, noise_scale=0.1), before)
    after = other.snapshot("s")
    assert (after.attributes, after.in_flight) == (before.attributes, before.in_flight)
    assert after.sink_replacement == before.sink_replacement
    assert [after.head.keys(), after.blocks.keys()] == [before.head.keys(), before.blocks.keys()]
    for name, arrays in before.blocks.items():
        assert all(array.tobytes() == after.blocks[name][part].tobytes() for part, array in arrays.items())


def test_chunks_in_flight_go_on_under_the_prompts_that_they_were_fed_with() -> None:
    one, other = in_motion((3, 3, 3)), engine(options=SINKS_CHANGE, vae=BlockVae())
    other.restore("s", settings(), stored(one.snapshot("s")))
    texts = [
        [in_flight.text.keys for in_flight in each._session("s").chunks_in_flight.values()]
        + [each._session("s").text.keys]
        for each in (one, other)
    ]
    assert len(texts[0]) > 2
    assert all(torch.equal(a, b) for a, b in zip(*texts, strict=True))
    assert not torch.equal(texts[0][0], texts[0][1])


def last_pictures(one: Driven) -> Frames | None:
    last: Frames | None = one._session("s").last
    return last


def test_motion_is_measured_from_the_last_picture_also_after_a_restore() -> None:
    one, other = in_motion((2, 2)), engine(options=SINKS_CHANGE, vae=BlockVae())
    other.restore("s", settings(), stored(one.snapshot("s")))
    a, b = last_pictures(one), last_pictures(other)
    assert a is not None
    assert b is not None
    frames = chunk(8).frames
    assert frames is not None
    apart = [float(np.abs(b.astype(int) - frame).mean()) for frame in frames]
    assert int(np.argmin(apart)) == len(frames) - 1
    assert np.array_equal(a, frames[-1])
