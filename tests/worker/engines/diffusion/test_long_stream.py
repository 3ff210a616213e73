"""Two hours of stream: the counters run through every chunk, the network through stretches of it.

16 pictures a second for two hours are 28,800 chunks. Between two stretches the session is moved on as if it had run on
with the same input: its counters and the frames in its rings grow older together, as they do in a stream.
"""

import gc
import resource
from dataclasses import replace

import numpy as np
import pytest
import torch

from genlock_worker.engines.contract import Change, Frames, Row
from genlock_worker.engines.diffusion.config import Positions, StreamOptions
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming.positions import frame_index
from genlock_worker.engines.diffusion.streaming.row_cache import opening_length
from tests.worker.engines.diffusion.rows import turn_slot
from tests.worker.engines.diffusion.streams import BlockVae, caches, chunk, components, difference, engine, settings
from tests.worker.engines.driven import Driven

CHUNKS = 28_800
STRETCH = 8
JUMP = 3_591
"""Chunks between stretches: a multiple of the window, so that slots keep their turn."""
SCENE = 12
"""The input repeats after so many chunks: of every chunk beyond them there is one that shows the same."""


def age(one: Driven, session: str, chunks: int) -> None:
    """Make a session between two chunks `chunks` older: frames that are no sinks become as much younger in number.

    Their keys are turned to where they would have been written.
    """
    found = one._session(session)
    mode = found.shared.options.positions
    assert not found.chunks_in_flight
    found.chunk += chunks
    for cache in found.rows:
        layout, opening = cache.layout, opening_length(cache.layout)
        for slot, kept in enumerate(cache.slots):
            if kept.frame >= opening:
                was, becomes = (frame_index(mode, layout, frame) for frame in (kept.frame, kept.frame + chunks))
                turn_slot(cache.ring, slot, becomes - was)
        cache.slots = tuple(
            kept if kept.frame < opening else replace(kept, frame=kept.frame + chunks) for kept in cache.slots
        )


def show(one: Driven, session: str, first: int, count: int) -> list[Frames]:
    """Feed and run chunks from `first` on; the input repeats."""
    outputs = []
    for index in range(first, first + count):
        source = chunk(index if index < SCENE else SCENE + (index - SCENE) % SCENE)
        for step in range(one.feed(session, replace(source, index=index))):
            [result] = one.run([Row(session, step, index)])
        assert result.output is not None
        outputs.append(result.output)
    return outputs


class Watched:
    """The transformer, with a note of the temporal indices and of the lengths that it is given.

    In positions relative to the window, of the indices to the sinks: those to the window are the frames' numbers.
    """

    def __init__(self, mode: Positions) -> None:
        self.mode = mode
        self.turns: list[float] = []
        self.filled: set[int] = set()

    def __call__(self, batch: RowBatch) -> Denoised:
        indices = [batch.sink_positions] if self.mode is Positions.RELATIVE else [batch.positions, batch.sink_positions]
        self.turns = torch.cat(indices).flatten().tolist()
        self.filled = set(batch.lengths)
        answer: Denoised = components().transformer(batch)
        return answer


@pytest.mark.parametrize(("positions", "farthest"), [(Positions.RELATIVE, 5), (Positions.REFRESHED, 49)])
def test_two_hours_keep_positions_memory_and_pictures(positions: Positions, farthest: int) -> None:
    watched = Watched(positions)
    options = StreamOptions(sink_threshold=None, positions=positions)
    one = engine(options=options, forward=watched, vae=BlockVae())
    one.open("a", settings())
    show(one, "a", 0, 3 * SCENE)
    sinks, taken = one.sink_digest("a"), one.budget.taken["a"]
    blocks, objects, resident = _sizes(one), _objects(), _resident_bytes()
    at = 3 * SCENE
    while at < CHUNKS:
        age(one, "a", JUMP)
        at += JUMP
        show(one, "a", at, STRETCH)
        at += STRETCH
        assert max(watched.turns) <= farthest
        assert watched.filled == {6}
        assert one.sink_digest("a") == sinks
        assert one.budget.taken["a"] == taken
        assert _sizes(one) == blocks
    assert at >= CHUNKS
    assert _objects() - objects < 50
    assert _resident_bytes() - resident < 64 * 1024**2


def test_a_week_later_the_same_input_gives_the_same_picture() -> None:
    """In positions relative to the window; the seed's noise is another for every chunk, so there is none of it."""
    one = engine(vae=BlockVae())
    for session in ("early", "late"):
        one.open(session, settings(noise_scale=0.1))
        show(one, session, 0, 2 * SCENE)
    week = 7 * 24 * 3600 * 4 // SCENE * SCENE
    age(one, "late", week)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genlock_worker.engines.algorithm.noise.draw", lambda *, shape, **_: np.zeros(shape, np.float32))
        early, late = show(one, "early", 2 * SCENE, 6), show(one, "late", 2 * SCENE + week, 6)
    for before, after in zip(early, late, strict=True):
        np.testing.assert_allclose(before.astype(float), after.astype(float), rtol=0, atol=1)
        assert difference(before, after) < 0.001


def test_hours_of_changes_leave_nothing_behind() -> None:
    """Prompts, steps and noise change all the time: what a session keeps stays bounded."""
    one = engine(options=StreamOptions(sink_threshold=0.9, sink_cooldown_chunks=1), vae=BlockVae())
    one.open("a", settings())
    most = 0
    for index in range(120):
        steps = 1 + index % 4
        one.apply("a", Change(prompt=f"prompt {index}", steps=steps, noise_scale=0.3 + 0.1 * (index % 5)))
        show(one, "a", index, 1)
        state = one.snapshot("a")
        most = max(most, len(state.blocks))
        assert len(caches(one, "a")) <= 4
    # Four rows of 6 slots and 3 opening frames, 3 inputs and 3 outputs, and the prompts that these were made under.
    assert most <= 4 * 9 + 6 + 40


def _sizes(one: Driven) -> int:
    state = one.snapshot("a")
    return sum(array.nbytes for name, arrays in state.blocks.items() if name[0] in "rop" for array in arrays.values())


def _objects() -> int:
    gc.collect()
    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
