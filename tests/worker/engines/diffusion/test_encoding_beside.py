"""Encoding beside what the device denoises: nobody waits for it, it changes no bit, and a state knows of it."""

import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Chunk,
    EngineFailure,
    EngineState,
    Fed,
    Frames,
    Row,
    RowResult,
)
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.network.vae import VaeStream
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    chunk,
    diffusion_engine,
    engine,
    loaded,
    play,
    settings,
    stored,
)

PATIENCE_S = 20


class Held(BlockVae):
    """Encodes when it is let; fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.asked = threading.Event()
        self.let.set()
        self.threads: set[str] = set()
        self.unreadable: set[int] = set()
        """Means of the frames that it cannot encode."""

    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        self.asked.set()
        assert self.let.wait(PATIENCE_S)
        self.threads.add(threading.current_thread().name)
        if int(frames.float().mean()) in self.unreadable:
            raise torch.OutOfMemoryError("no room to encode")
        return super().encode(stream, frames)


def opened(one: DiffusionEngine, *sessions: str, steps: int = 1) -> None:
    """Sessions whose first chunk was shown."""
    one.prepare(settings().prompt)
    for name in sessions:
        one.open(name, settings(steps=steps))
        taken_in(one, name, chunk(0), steps=steps)
        for step in range(steps):
            (result,) = ran(one, Row(name, step, 0))
        assert result.output is not None


def taken_in(one: DiffusionEngine, session: str, source: Chunk, *, steps: int) -> Fed:
    fed = one.feed(session, source, steps=steps)
    fed.encoded.result(PATIENCE_S)
    return fed


def ran(one: DiffusionEngine, *rows: Row) -> Sequence[RowResult]:
    """On a CPU a batch is done when it is submitted."""
    one.submit(1, rows)
    (result,) = one.collect()
    assert isinstance(result, BatchResult)
    assert result.lost is None
    return result.rows


def test_feeding_waits_for_nothing_and_others_rows_run_meanwhile() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae)
    opened(one, "a", "b")
    taken_in(one, "b", chunk(1), steps=1)
    vae.let.clear()
    fed = one.feed("a", chunk(1), steps=1)
    assert (fed.rows, fed.encoded.done()) == (1, False)
    with pytest.raises(EngineFailure, match="a: row 0 of chunk 1 may not run yet"):
        one.submit(1, [Row("a", 0, 1)])
    (other,) = ran(one, Row("b", 0, 1))
    assert other.output is not None
    vae.let.set()
    fed.encoded.result(PATIENCE_S)
    (own,) = ran(one, Row("a", 0, 1))
    assert own.output is not None
    assert vae.threads == {"encode"}
    assert one.needs.encoded
    one.stop()


def test_without_overlap_a_chunk_is_encoded_as_it_is_fed() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae, overlap=False)
    opened(one, "a")
    assert one.feed("a", chunk(1), steps=1).encoded.done()
    assert vae.threads == {threading.current_thread().name}
    assert not one.needs.encoded
    one.stop()


STEPS = {"a": 1, "b": 2, "c": 2}
CHUNKS = 7


def streamed(*, overlap: bool) -> dict[str, list[Frames]]:
    """Three sessions, each chunk fed while the rows of the one before are still to run; the real VAE."""
    one = diffusion_engine(overlap=overlap)
    one.prepare(settings().prompt)
    for name, steps in STEPS.items():
        one.open(name, settings(steps=steps))
    shown: dict[str, list[Frames]] = {name: [] for name in STEPS}
    fed = {name: one.feed(name, chunk(0, scene=scene), steps=STEPS[name]) for scene, name in enumerate(STEPS)}
    for index in range(CHUNKS):
        for name, steps in STEPS.items():
            fed[name].encoded.result(PATIENCE_S)
            results = [ran(one, Row(name, 0, index))]
            if index > 0 and index + 1 < CHUNKS:
                fed[name] = one.feed(name, chunk(index + 1, scene=list(STEPS).index(name)), steps=steps)
            results += [ran(one, Row(name, step, index)) for step in range(1, steps)]
            if index == 0:
                fed[name] = one.feed(name, chunk(1, scene=list(STEPS).index(name)), steps=steps)
            pictures = results[-1][0].output
            assert pictures is not None
            shown[name].append(pictures)
    one.stop()
    return shown


def test_pictures_are_the_same_to_the_bit_however_chunks_are_encoded() -> None:
    beside, before = streamed(overlap=True), streamed(overlap=False)
    for name in STEPS:
        assert len(beside[name]) == CHUNKS
        assert all(np.array_equal(*pair) for pair in zip(beside[name], before[name], strict=True))


def test_that_comparison_sees_a_chunk_that_takes_anothers_place() -> None:
    one, other = engine(), engine()
    for each in (one, other):
        each.open("s", settings(steps=1))
    right = play(one, "s", range(4))
    wrong = [*play(other, "s", range(2)), *play(other, "s", [2], scene=1), *play(other, "s", [3])]
    assert not np.array_equal(right[3], wrong[3])


def ahead(one: DiffusionEngine) -> EngineState:
    """The state after chunk 3 of two steps; chunk 4 was fed and has not begun."""
    opened(one, "s", steps=2)
    for index in range(1, 4):
        taken_in(one, "s", chunk(index), steps=2)
        ran(one, Row("s", 0, index))
        if index < 3:
            ran(one, Row("s", 1, index))
    vae = one._shared.components.vae
    if isinstance(vae, Held):
        vae.let.clear()
    one.feed("s", chunk(4), steps=2)
    (result,) = ran(one, Row("s", 1, 3))
    assert result.output is not None
    coming = one.snapshot("s")
    if isinstance(vae, Held):
        assert not coming.done()
        vae.let.set()
    return coming.result(PATIENCE_S)


def test_a_state_has_the_chunk_that_is_being_encoded_as_it_always_had_a_chunk_in_flight() -> None:
    """So a release that encodes before the first row reads it, and nothing is encoded again."""
    vae = Held()
    state, before = ahead(diffusion_engine(vae=vae)), ahead(diffusion_engine(vae=BlockVae(), overlap=False))
    assert [(one.index, one.done) for one in state.in_flight] == [(4, 0)]
    assert (state.chunk, state.attributes, state.in_flight) == (before.chunk, before.attributes, before.in_flight)
    assert state.sink_digests == before.sink_digests
    assert list(state.head) == list(before.head) == ["c4.hidden"]
    assert np.array_equal(state.head["c4.hidden"], before.head["c4.hidden"])
    assert state.blocks.keys() == before.blocks.keys()
    assert "i.c4" in state.blocks


def test_a_session_goes_on_from_a_state_that_was_taken_while_its_chunk_was_being_encoded() -> None:
    shown = []
    for vae, overlap in ((Held(), True), (BlockVae(), False)):
        one = diffusion_engine(vae=vae, overlap=overlap)
        state = stored(ahead(one))
        again = engine(vae=BlockVae(), overlap=overlap)
        again.restore("s", settings(steps=2), state)
        results = [again.run([Row("s", step, 4)]) for step in range(2)]
        shown.append([results[-1][0].output, *play(again, "s", [5])])
        one.stop()
    for pair in zip(*shown, strict=True):
        assert pair[0] is not None
        assert np.array_equal(*pair)


def test_a_chunk_that_cannot_be_encoded_fails_its_first_row_and_the_state_with_it_and_nobody_else() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae)
    opened(one, "a", "b")
    dark = Chunk(1, np.zeros((4, 64, 64, 3), np.uint8))
    vae.unreadable = {0}
    vae.let.clear()
    fed = [one.feed("a", dark, steps=1), one.feed("b", chunk(1), steps=1)]
    state = one.snapshot("a")
    vae.let.set()
    for each in fed:
        each.encoded.result(PATIENCE_S)
    with pytest.raises(EngineFailure, match="a: chunk 1 cannot be taken in: no room to encode"):
        state.result(PATIENCE_S)
    failed, other = ran(one, Row("a", 0, 1), Row("b", 0, 1))
    assert failed.failure == "chunk 1 cannot be taken in: no room to encode"
    assert other.output is not None
    with pytest.raises(EngineFailure, match="cannot be taken in"):
        one.snapshot("a").result(PATIENCE_S)
    one.stop()


def test_a_state_that_waits_for_the_encoder_keeps_no_other_one_waiting() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae)
    opened(one, "a", "b")
    vae.let.clear()
    fed = one.feed("a", chunk(1), steps=1)
    waits, other = one.snapshot("a"), one.snapshot("b")
    assert other.result(PATIENCE_S).chunk == 0
    assert not waits.done()
    vae.let.set()
    fed.encoded.result(PATIENCE_S)
    assert waits.result(PATIENCE_S).chunk == 1
    one.stop()


def test_a_session_that_is_closed_while_its_chunk_is_being_encoded_keeps_its_memory_until_that_is_done() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae)
    opened(one, "a", "b")
    vae.let.clear()
    vae.asked.clear()
    fed = one.feed("a", chunk(1), steps=1)
    assert vae.asked.wait(PATIENCE_S)
    taken = one.session_memory("a")
    one.close("a")
    one.collect()
    assert one.session_memory("a") == taken
    vae.let.set()
    fed.encoded.result(PATIENCE_S)
    one.collect()
    assert one.session_memory("a") is None
    taken_in(one, "b", chunk(1), steps=1)
    assert ran(one, Row("b", 0, 1))[0].output is not None
    one.stop()


def test_a_chunk_counts_as_progress_once_it_is_encoded() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae)
    opened(one, "a")
    vae.let.clear()
    fed = one.feed("a", chunk(1), steps=1)
    before = one.progress
    vae.let.set()
    fed.encoded.result(PATIENCE_S)
    assert one.progress == before + 1
    one.stop()


def test_a_restore_primes_the_encoder_on_its_own_thread() -> None:
    source = diffusion_engine(vae=BlockVae())
    opened(source, "s")
    for index in range(1, 6):
        taken_in(source, "s", chunk(index), steps=1)
        ran(source, Row("s", 0, index))
    vae = Held()
    one = engine(vae=vae)
    one.restore("s", settings(steps=1), source.snapshot("s").result())
    assert vae.threads == {"encode"}
    source.stop()


def test_a_session_without_a_camera_has_nothing_to_encode() -> None:
    vae = Held()
    vae.let.clear()
    one = diffusion_engine(vae=vae)
    plan = replace(settings(), text_only=True)
    one.prepare(plan.prompt)
    one.open("s", plan)
    assert one.feed("s", Chunk(0, None), steps=1).encoded.done()
    assert not vae.asked.is_set()
    one.stop()


@pytest.mark.usefixtures("nobody_collects_garbage")
@pytest.mark.parametrize("has_begun", [True, False])
def test_a_chunk_that_was_encoded_beside_leaves_no_slot_of_its_prompt_behind(has_begun: bool) -> None:
    """A state was taken while it was being encoded; then it is shown, or its session is closed before its first row."""
    vae = Held()
    parts = loaded()
    texts = parts.prompts.texts
    one = diffusion_engine(vae=vae, parts=parts)
    opened(one, "s")
    one.prepare("neon")
    one.apply("s", Change(prompt="neon"))
    vae.let.clear()
    fed = one.feed("s", chunk(1), steps=1)
    state = one.snapshot("s")
    vae.let.set()
    fed.encoded.result(PATIENCE_S)
    assert state.result(PATIENCE_S).chunk == 1
    if has_begun:
        ran(one, Row("s", 0, 1))
    one.close("s")
    one.collect()
    one.stop()

    # But for what the book keeps, which it gives up for anybody.
    parts.prompts._computed.clear()
    slots = texts.keys.shape[1] - 1
    assert texts.free == slots > 0


@pytest.mark.usefixtures("nobody_collects_garbage")
def test_a_state_that_waited_for_the_encoder_lives_as_long_as_somebody_has_it() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae)
    opened(one, "s")
    vae.let.clear()
    one.feed("s", chunk(1), steps=1)
    coming = one.snapshot("s")
    vae.let.set()
    latents = weakref.ref(coming.result(PATIENCE_S).head["c1.hidden"])
    del coming
    ran(one, Row("s", 0, 1))
    one.stop()
    assert latents() is None


class Remembered(VaeStream):
    """Can be asked whether it is there."""


@pytest.mark.usefixtures("nobody_collects_garbage")
@pytest.mark.parametrize("asks", [False, True])
def test_what_the_vae_remembers_of_a_chunk_that_cannot_be_encoded_goes_with_its_session(asks: bool) -> None:
    streams: list[weakref.ref[VaeStream]] = []

    class Remembering(Held):
        def open(self) -> VaeStream:
            made = Remembered([], [])
            streams.append(weakref.ref(made))
            return made

    vae = Remembering()
    one = diffusion_engine(vae=vae)
    opened(one, "a")
    vae.unreadable = {0}
    vae.let.clear()
    one.feed("a", Chunk(1, np.zeros((4, 64, 64, 3), np.uint8)), steps=1)
    latent = weakref.ref(one._session("a").rows[0].slots[0].latent)
    if asks:
        one.snapshot("a")
    vae.let.set()
    one._inputs.prime(vae.open(), []).result(PATIENCE_S)
    (failed,) = ran(one, Row("a", 0, 1))
    assert failed.failure == "chunk 1 cannot be taken in: no room to encode"
    one.close("a")
    one.collect()
    one.stop()
    assert streams[0]() is None
    assert latent() is None


def test_a_session_that_begins_again_where_memory_is_full_waits_for_the_encoder_to_be_done_with_it() -> None:
    vae = Held()
    one = diffusion_engine(vae=vae, limit_bytes=diffusion_engine(vae=vae).session_bytes(settings(steps=1)))
    opened(one, "s#1")
    vae.let.clear()
    fed = one.feed("s#1", chunk(1), steps=1)
    one.close("s#1")
    threading.Timer(0.1, vae.let.set).start()
    one.open("s#2", settings(steps=1))
    assert fed.encoded.result(PATIENCE_S) is None
    assert one.budget.taken.keys() == {"s#2"}
    taken_in(one, "s#2", chunk(0), steps=1)
    assert ran(one, Row("s#2", 0, 0))[0].output is not None
    one.stop()
