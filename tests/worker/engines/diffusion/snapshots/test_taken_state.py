"""States are taken at once and made beside the engine's thread: of what was, whatever happens meanwhile."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from genlock_worker.engines.contract import EngineFailure, EngineState, Row
from genlock_worker.engines.diffusion.snapshots.taken_state import StateMaker, TakenState
from genlock_worker.engines.diffusion.streaming import kept, transfers
from genlock_worker.engines.diffusion.streaming.transfers import HostCopy
from tests.worker.engines.diffusion.deferred import DeferredQueue, StreamsUnderWay
from tests.worker.engines.diffusion.rows import CPU
from tests.worker.engines.diffusion.streams import BlockVae, chunk, diffusion_engine, engine, play, settings
from tests.worker.engines.diffusion.sync_check import no_host_sync


def arrays(state: EngineState) -> Mapping[str, bytes]:
    blocks = {f"{name} {part}": one.tobytes() for name, block in state.blocks.items() for part, one in block.items()}
    return {**blocks, **{name: one.tobytes() for name, one in state.head.items()}}


def under_way() -> StreamsUnderWay:
    queue = DeferredQueue()
    made = diffusion_engine(vae=BlockVae(), queue=queue)
    made.prepare(settings().prompt)
    made.open("s", settings())
    return StreamsUnderWay(made, queue)


def test_a_state_is_asked_for_without_waiting_and_made_once_the_device_has_come_to_it() -> None:
    one = under_way()
    one.feed("s", steps=2)
    one.submit([Row("s", 0, 0)])
    with no_host_sync(CPU):
        first = one.engine.snapshot("s")
    one.submit([Row("s", 1, 0)])
    second = one.engine.snapshot("s")
    one.collect()
    assert not first.done()
    one.collect()
    assert [chunk.done for chunk in first.result(20).in_flight] == [1]
    assert not second.done()
    one.queue.go_on()
    assert second.result(20).in_flight == ()


def test_a_state_is_of_its_moment_however_far_the_session_has_gone_and_when_it_has_ended() -> None:
    one, plain = under_way(), under_way()
    states: list[Future[EngineState]] = []
    for each in (one, plain):
        for _ in range(3):
            each.feed("s", steps=2)
            each.step("s")
        states.append(each.engine.snapshot("s"))
        if each is one:
            for _ in range(5):
                each.feed("s", steps=2)
                each.step("s")
            each.engine.close("s")
        each.queue.go_on()
    late, expected = (state.result(20) for state in states)
    assert arrays(late) == arrays(expected)
    assert (late.attributes, late.in_flight, late.sink_digests) == (
        expected.attributes,
        expected.in_flight,
        expected.sink_digests,
    )
    assert len(late.blocks) > 4


def test_states_are_made_in_order_on_one_thread_that_is_not_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    made = TakenState.made

    def noted(taken: TakenState) -> EngineState:
        seen.append((threading.current_thread().name, taken.chunk))
        return made(taken)

    monkeypatch.setattr(TakenState, "made", noted)
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=1))
    states = []
    for index in range(4):
        play(one, "s", [index])
        states.append(one.engine.snapshot("s"))
    assert [state.result(20).chunk for state in states] == [0, 1, 2, 3]
    assert seen == [("states", index) for index in range(4)]
    one.engine.stop()


def test_what_an_earlier_state_has_is_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[tuple[int, ...]] = []
    to_host = transfers.to_host

    def noted(tensor: torch.Tensor) -> NDArray[np.generic]:
        copied.append(tuple(tensor.shape))
        return to_host(tensor)

    monkeypatch.setattr(transfers, "to_host", noted)
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=2))
    play(one, "s", range(6))
    one.snapshot("s")
    before = len(copied)
    assert before > 6
    one.snapshot("s")
    assert len(copied) == before

    # A chunk more: a frame in each row's ring, and the chunk's output.
    play(one, "s", [6])
    one.snapshot("s")
    assert copied[before:] == [(16, 8, 8), (16, 8, 8), (1, 16, 8, 8)]


def test_what_cannot_be_made_is_its_sessions_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=1))
    play(one, "s", range(2))

    def full(copy: HostCopy) -> None:
        raise torch.OutOfMemoryError("no pinned memory")

    with monkeypatch.context() as patch:
        patch.setattr(HostCopy, "queue", full)
        failed = one.engine.snapshot("s")
        with pytest.raises(EngineFailure, match="s: its state cannot be taken: no pinned memory"):
            failed.result(20)
    assert one.snapshot("s").chunk == 1


def test_a_state_waits_for_its_jpegs_and_the_engine_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    let = threading.Event()
    compress = kept.compress

    def slow(frames: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        assert let.wait(20)
        return compress(frames)

    monkeypatch.setattr(kept, "compress", slow)
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=1))
    play(one, "s", [0])
    state = one.engine.snapshot("s")
    play(one, "s", [1])
    assert not state.done()
    let.set()
    assert "i.c0" in state.result(20).blocks


def test_each_state_has_the_inputs_that_its_chunks_have_then() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=3))
    one.feed("s", chunk(0))
    seen = []
    for step in range(2):
        one.run([Row("s", step, 0)])
        state = one.snapshot("s")
        seen.append(state.head["c0.hidden"])
        assert np.array_equal(seen[-1], one._session("s").chunks_in_flight[0].hidden.numpy())
    assert not np.array_equal(seen[0], seen[1])


def test_without_overlap_a_state_is_there_at_once() -> None:
    one = engine(vae=BlockVae(), overlap=False)
    one.open("s", settings(steps=1))
    one.feed("s", chunk(0))
    one.run([Row("s", 0, 0)])
    state = one.engine.snapshot("s")
    assert state.done()
    assert state.result().chunk == 0


def test_a_maker_that_was_stopped_forgets_what_waits() -> None:
    one = under_way()
    one.feed("s", steps=1)
    maker = StateMaker(CPU, overlap=True)
    reached: Future[None] = Future()
    first, second = (maker.make(TakenState.of(one.engine._session("s")), reached) for _ in range(2))
    threading.Timer(0.1, lambda: reached.set_result(None)).start()
    maker.stop()
    assert (first.result(20).chunk, second.done()) == (0, False)
