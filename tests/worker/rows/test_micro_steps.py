"""Micro-steps with rows of several chunks of one session: what was run and what a checkpoint says are the same."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_worker.engines.contract import EngineFailure, Frames, Row, RowResult, StreamSettings, chunk_frames
from genlock_worker.engines.mock.engine import MockEngine
from genlock_worker.engines.mock.timing import StepTiming
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.intake.pattern import draw
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import CostModel, LinearCost
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.micro_steps import MicroSteps
from genlock_worker.rows.residents import Resident, SessionPlan
from genlock_worker.rows.scheduler import Batch

WIDTH, HEIGHT = 128, 96


class Slow(MockEngine):
    """Whose pictures come when the test says so."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.undecoded: list[tuple[Future[Frames], Frames]] = []
        self.is_slow = True

    def run(self, rows: Sequence[Row]) -> Sequence[RowResult]:
        results = list(super().run(rows))
        for number, result in enumerate(results):
            if self.is_slow and result.pictures is not None:
                coming: Future[Frames] = Future()
                self.undecoded.append((coming, result.pictures.result()))
                results[number] = RowResult(result.row, coming)
        return results

    def decode(self, failure: Exception | None = None) -> None:
        coming, frames = self.undecoded.pop(0)
        if failure is None:
            coming.set_result(frames)
        else:
            coming.set_exception(failure)


def tell_at_once(callback: Callable[[], object]) -> None:
    callback()


class Session:
    """One session in a mock engine, moved micro-step by micro-step."""

    def __init__(self, checkpoint: Checkpoint | None = None) -> None:
        clock = ManualClock()
        self.engine = engine = Slow("m", StepTiming.instant(), clock, clock.advance)
        engine.is_slow = False
        settings = StreamSettings("oil", 2, WIDTH, HEIGHT, 16, seed=1, noise_scale=0.7)
        self.resident = Resident(SessionPlan("a", "m", settings, 0.5, None), self, now_s=0.0)
        assert self.resident.begin(engine, checkpoint, now_s=0.0) is (checkpoint is not None)
        self.lane = self.resident.lane
        self.outputs: dict[int, Frames] = {}
        self.resets: list[bool] = []
        self.ends: list[str] = []
        self.residents = {"a": self.resident}
        self.checkpoint: Checkpoint | None = checkpoint
        self.steps = MicroSteps(
            engine,
            self.residents,
            lanes_lock=threading.Condition(),
            tell=tell_at_once,
            later=tell_at_once,
            clock=clock,
            cost=CostModel(LinearCost(0.001, 0.001)),
            metrics=WorkerMetrics(CollectorRegistry()),
        )

    def offer(self, chunk: int) -> None:
        first = 0 if chunk == 0 else 5 + 4 * (chunk - 1)
        numbers = range(first, first + chunk_frames(chunk))
        pictures = [draw(number, width=WIDTH, height=HEIGHT) for number in numbers]
        frames = (
            SourceFrame(SourcePosition(1, n), np.ascontiguousarray(p), 0.0)
            for n, p in zip(numbers, pictures, strict=True)
        )
        self.lane.offer(InputChunk(tuple(frames), 1.0))

    def step(self) -> None:
        """All rows that may run, in one forward."""
        candidates = self.lane.candidates()
        self.steps.run(Batch(tuple(candidate.row for candidate in candidates), candidates[0].shape))

    def generated(self, chunk: GeneratedChunk) -> None:
        self.outputs[chunk.chunk.index] = chunk.frames
        self.checkpoint = chunk.checkpoint

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        pass

    def memory(self, size_bytes: int | None) -> None:
        pass

    def was_reset(self, reason: str, *, restored: bool) -> None:
        self.resets.append(restored)

    def began_anew(self, request: str) -> None:
        raise AssertionError(request)

    def gave_up(self, reason: str) -> None:
        self.ends.append(reason)


def two_chunks_in_one_forward() -> Session:
    """Its last micro-step ran the last row of chunk 1 and the first one of chunk 2."""
    session = Session()
    session.offer(0)
    session.step()
    session.step()
    session.offer(1)
    session.step()
    session.offer(2)
    session.step()
    assert list(session.outputs) == [0, 1]
    return session


def rest(session: Session) -> Frames:
    session.step()
    frames: Frames = session.outputs[2]
    return frames


def test_a_checkpoint_knows_every_row_of_its_micro_step() -> None:
    session = two_chunks_in_one_forward()
    assert session.checkpoint is not None
    assert [(mark.index, mark.done) for mark in session.checkpoint.chunks_in_flight] == [(2, 1)]


def test_a_session_goes_on_from_such_a_checkpoint_to_the_byte() -> None:
    undisturbed = rest(two_chunks_in_one_forward())
    moved = Session(two_chunks_in_one_forward().checkpoint)
    assert np.array_equal(rest(moved), undisturbed)
    reset = two_chunks_in_one_forward()
    reset.steps.reset("a", "NaN")
    assert np.array_equal(rest(reset), undisturbed)
    assert (reset.resets, moved.resets, reset.ends, moved.ends) == ([True], [], [], [])


class Eager(Session):
    """Whose next input chunk is there the moment that it was reset."""

    def was_reset(self, reason: str, *, restored: bool) -> None:
        super().was_reset(reason, restored=restored)
        self.offer(1)


def test_a_chunk_that_comes_while_the_one_before_is_refused_waits_for_its_own_turn() -> None:
    session = Eager()
    session.offer(0)
    session.step()
    session.step()
    small = [SourceFrame(SourcePosition(1, 5 + n), np.zeros((16, 16, 3), np.uint8), 0.0) for n in range(4)]
    session.lane.offer(InputChunk(tuple(small), 1.0))
    session.step()
    assert session.resets == [True]
    session.step()
    session.step()
    assert list(session.outputs) == [0, 1]


def with_a_chunk_in_the_decoder() -> Session:
    """Chunk 0 was shown, chunk 1 is being decoded, chunk 2 has run one of its two rows."""
    session = Session()
    session.offer(0)
    session.step()
    session.step()
    session.engine.is_slow = True
    session.offer(1)
    session.step()
    session.offer(2)
    session.step()
    assert list(session.outputs) == [0]
    return session


def test_what_follows_runs_while_a_chunk_is_decoded() -> None:
    session = with_a_chunk_in_the_decoder()
    assert [candidate.row for candidate in session.lane.candidates()] == [Row("a", 1, 2)]
    session.step()
    session.offer(3)
    session.step()
    assert (list(session.outputs), session.lane.candidates()) == ([0], []), "two chunks wait for their pictures"
    session.engine.decode()
    assert list(session.outputs) == [0, 1]
    assert [candidate.row for candidate in session.lane.candidates()] == [Row("a", 1, 3)]


def test_a_checkpoint_counts_once_its_pictures_are_there() -> None:
    session = with_a_chunk_in_the_decoder()
    checkpoint = session.resident.checkpoint
    assert checkpoint is not None
    assert checkpoint.chunks_in_flight == ()
    session.engine.decode()
    assert session.resident.checkpoint is session.checkpoint is not checkpoint
    assert session.checkpoint is not None
    assert [(mark.index, mark.done) for mark in session.checkpoint.chunks_in_flight] == [(2, 1)]


def test_pictures_that_cannot_be_shown_take_the_session_back_to_before_them() -> None:
    undisturbed = two_chunks_in_one_forward()
    session = with_a_chunk_in_the_decoder()
    session.engine.decode(EngineFailure("a", "NaN"))
    session.engine.is_slow = False
    assert (session.resets, session.ends, list(session.outputs)) == ([True], [], [0])
    assert session.lane.next_chunk == 1
    session.offer(1)
    session.step()
    session.step()
    assert np.array_equal(session.outputs[1], undisturbed.outputs[1])


def test_a_fault_of_the_decoder_itself_costs_no_more() -> None:
    session = with_a_chunk_in_the_decoder()
    session.engine.decode(RuntimeError("a device was lost"))
    assert (session.resets, session.ends) == ([True], [])


def test_pictures_of_before_a_reset_are_not_shown() -> None:
    session = with_a_chunk_in_the_decoder()
    checkpoint = session.resident.checkpoint
    session.steps.reset("a", "NaN in chunk 2")
    session.engine.decode()
    assert (list(session.outputs), session.resident.checkpoint) == ([0], checkpoint)
    session.offer(1)
    assert [candidate.row for candidate in session.lane.candidates()] == [Row("a", 0, 1)]


def test_pictures_of_a_session_that_was_closed_are_nobodys() -> None:
    session = with_a_chunk_in_the_decoder()
    del session.residents["a"]
    session.engine.decode(EngineFailure("a", "NaN"))
    assert (list(session.outputs), session.resets, session.ends) == ([0], [], [])
