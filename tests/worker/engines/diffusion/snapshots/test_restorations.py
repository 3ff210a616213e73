"""A restoration goes on part by part: others are served between, it can be given up, and it says how it ended."""

import weakref
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from genlock_worker.engines.contract import (
    BatchResult,
    Collected,
    EngineFailure,
    EngineState,
    Frames,
    RestoreResult,
    Row,
)
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.vae import VaeStream
from tests.worker.engines.diffusion.streaming.test_pictures import Patient
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    chunk,
    components,
    diffusion_engine,
    engine,
    play,
    settings,
    stored,
)

PLAN = settings(steps=2)


@pytest.fixture(scope="module")
def state() -> EngineState:
    """Of a stream in full flow."""
    one = engine(vae=BlockVae())
    one.open("s", PLAN)
    play(one, "s", range(8))
    return stored(one.snapshot("s"))


class Watching:
    """A session that goes on while others are restored: a row at a time, with all that is collected meanwhile."""

    def __init__(self, one: DiffusionEngine) -> None:
        self.one = one
        self.rows = 0
        self.outputs: list[Frames] = []
        self.restored: list[RestoreResult] = []
        one.prepare(PLAN.prompt)
        one.open("other", settings(steps=2, seed=11))

    def run_row(self) -> Sequence[Collected]:
        """The next row, collected once."""
        index, step = divmod(self.rows, 2)
        if step == 0:
            self.one.feed("other", chunk(index), steps=2)
        self.one.submit(self.rows, [Row("other", step, index)])
        self.rows += 1
        collected = self.one.collect()
        for result in collected:
            if isinstance(result, RestoreResult):
                self.restored.append(result)
            elif (output := result.rows[0].output) is not None:
                self.outputs.append(output)
        return collected


def test_others_are_served_between_its_parts_with_the_pictures_that_they_have_without_it(state: EngineState) -> None:
    alone, shared = (Watching(diffusion_engine(vae=BlockVae(), overlap=False)) for _ in range(2))
    shared.run_row()
    shared.one.restore("s", PLAN, state)
    began_at = shared.rows
    while not shared.restored:
        collected = shared.run_row()
        assert [type(result) for result in collected if isinstance(result, BatchResult)] == [BatchResult]
    assert shared.restored == [RestoreResult("s")]
    assert shared.rows - began_at > 6
    while shared.rows % 2:
        shared.run_row()
    while alone.rows < shared.rows:
        alone.run_row()
    assert len(shared.outputs) > 3
    assert all(np.array_equal(a, b) for a, b in zip(alone.outputs, shared.outputs, strict=True))


def test_it_gives_the_session_that_it_gives_at_once(state: EngineState) -> None:
    at_once, between = engine(vae=BlockVae(), overlap=False), engine(vae=BlockVae(), overlap=False)
    at_once.restore("s", PLAN, state)
    watching = Watching(between.engine)  # type: ignore[arg-type]  # it is one
    between.engine.restore("s", PLAN, state)
    while not watching.restored:
        watching.run_row()
    outputs = []
    for one in (at_once, between):
        shown = []
        for index in range(8, 12):
            rows = one.taken_in("s", chunk(index), steps=2).rows
            shown += [one.run([Row("s", step, index)])[0].output for step in range(rows)][-1:]
        outputs.append(shown)
    for a, b in zip(*outputs, strict=True):
        assert a is not None
        assert b is not None
        assert np.array_equal(a, b)


def test_each_part_that_can_go_on_wakes_whoever_collects(state: EngineState) -> None:
    one = diffusion_engine(vae=BlockVae(), overlap=False)
    woken = list[int]()
    one.call_when_ready(lambda: woken.append(1))
    one.restore("s", PLAN, state)
    collected: list[Collected] = []
    while not collected:
        assert woken, "nobody would come again"
        woken.clear()
        collected += one.collect()
    assert collected == [RestoreResult("s")]


def test_nobody_waits_for_the_decoder_to_remember(state: EngineState) -> None:
    vae = Patient()
    vae.let.clear()
    watching = Watching(diffusion_engine(vae=vae))
    watching.one.restore("s", PLAN, state)
    for _ in range(40):
        watching.one.collect()
    before = watching.one.progress
    assert watching.one.collect() == []
    assert watching.one.progress == before
    with pytest.raises(EngineFailure, match="not open"):
        watching.one.submit(1, [Row("s", 0, 8)])

    # Told once the decoder is done, and woken for it.
    ended: list[Collected] = []
    woken = list[int]()
    watching.one.call_when_ready(lambda: woken.append(1))
    vae.let.set()
    watching.one._pictures.prime(vae.open(), []).result(20)
    assert woken
    ended += watching.one.collect()
    assert ended == [RestoreResult("s")]


@pytest.mark.parametrize("parts", [0, 1, 4, 40])
def test_closed_half_way_it_gives_its_memory_back_and_tells_nothing(parts: int, state: EngineState) -> None:
    vae = Patient()
    vae.let.clear()
    one = diffusion_engine(vae=vae)
    one.restore("s", PLAN, state)
    for _ in range(parts):
        assert one.collect() == []
    assert (one.session_memory("s") is not None) == (parts > 0)
    one.close("s")
    assert one.budget.taken == {}
    vae.let.set()
    one._pictures.prime(vae.open(), []).result(20)
    assert [one.collect() for _ in range(3)] == [[], [], []]

    # The name is free again, for another restoration too.
    one.restore("s", PLAN, state)
    with pytest.raises(ValueError, match="open already"):
        one.open("s", PLAN)
    one.close("s")
    one.prepare(PLAN.prompt)
    one.open("s", PLAN)


def test_a_ring_that_does_not_fit_while_it_is_restored_is_its_failure_alone(state: EngineState) -> None:
    room = True

    def forward(batch: RowBatch) -> Denoised:
        if not room and batch.rows > 1:
            raise torch.OutOfMemoryError("no room")
        if not room:
            raise torch.OutOfMemoryError("no room at all")
        answer: Denoised = components().transformer(batch)
        return answer

    watching = Watching(diffusion_engine(forward=forward, vae=BlockVae(), overlap=False))
    watching.run_row()
    watching.one.restore("s", PLAN, state)
    room = False
    (failed,) = watching.one.collect()
    assert isinstance(failed, RestoreResult)
    assert failed.failure == "a row does not fit into memory: no room at all"
    assert watching.one.budget.taken.keys() == {"other"}
    room = True
    watching.run_row()
    watching.one.restore("s", PLAN, state)
    while not watching.restored:
        watching.run_row()
    assert watching.restored == [RestoreResult("s")]


@pytest.mark.usefixtures("nobody_collects_garbage")
@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("ends", ["no memory", "fault", "closed"])
def test_pages_of_one_that_fails_or_is_closed_come_back_at_once(parts: int, ends: str, state: EngineState) -> None:
    faults = {"no memory": torch.OutOfMemoryError("no room"), "fault": RuntimeError("CUDA error")}
    forwards = 0

    def forward(batch: RowBatch) -> Denoised:
        nonlocal forwards
        forwards += 1
        if ends in faults and forwards >= parts:
            raise faults[ends]
        answer: Denoised = components().transformer(batch)
        return answer

    one = diffusion_engine(forward=forward, vae=BlockVae(), overlap=False)
    pool = one._shared.pool
    one.restore("s", PLAN, state)
    for _ in range(parts - 1):
        assert one.collect() == []
    with nullcontext() if ends != "fault" else pytest.raises(RuntimeError):
        ended = one.collect()
        assert ended == ([] if ends == "closed" else [RestoreResult("s", "a row does not fit into memory: no room")])
    assert (pool.free < len(pool.means[0]) - 1) == (ends == "closed")
    one.close("s")
    assert pool.free == len(pool.means[0]) - 1 > 0


def test_an_error_of_the_device_is_no_word_against_the_state(state: EngineState) -> None:
    faults = [RuntimeError("CUDA error: unspecified launch failure")]

    def forward(batch: RowBatch) -> Denoised:
        if faults:
            raise faults.pop()
        answer: Denoised = components().transformer(batch)
        return answer

    one = diffusion_engine(forward=forward, vae=BlockVae(), overlap=False)
    one.restore("s", PLAN, state)
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        one.collect()
    assert one.collect() == []
    assert one.budget.taken == {}


@pytest.mark.usefixtures("nobody_collects_garbage")
@pytest.mark.parametrize("half", ["encode", "decode"])
def test_what_the_vae_remembers_goes_with_a_restoration_that_it_fails(half: str, state: EngineState) -> None:
    streams: list[weakref.ref[VaeStream]] = []

    class Remembered(VaeStream):
        pass

    class Full(BlockVae):
        def open(self) -> VaeStream:
            made = Remembered([], [])
            streams.append(weakref.ref(made))
            return made

        def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
            self.full("encode")
            return super().encode(stream, frames)

        def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
            self.full("decode")
            return super().decode(stream, latents)

        def full(self, at: str) -> None:
            if at == half:
                raise torch.OutOfMemoryError("no room")

    one = diffusion_engine(vae=Full())
    one.restore("s", PLAN, state)
    ended: list[Collected] = []
    for _ in range(200):
        one._inputs.prime(BlockVae().open(), []).result(20)
        ended += one.collect()
    (failed,) = ended
    assert failed == RestoreResult("s", "there is no memory to restore it: no room")
    one.stop()
    assert streams[0]() is None
