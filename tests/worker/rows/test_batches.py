"""What becomes of batches that are under way: by the engine loop's thread, step by step, over the mock engine.

The loop's own steps are made here, so that a test says what has been submitted and what has come back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Collected,
    EngineFailure,
    Frames,
    Row,
    RowResult,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.engines.mock.engine import MockEngine
from genlock_worker.engines.mock.timing import StepTiming
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.intake.pattern import draw
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.engine_thread import EngineThread
from genlock_worker.rows.generation import MAX_FAILURES
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionPlan

WIDTH, HEIGHT = 128, 96


class Slow(MockEngine):
    """Whose answers, and whose pictures, come when the test says so."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.undecoded: list[tuple[Future[Frames], Frames]] = []
        self.is_slow = False
        self.extra: list[Collected] = []
        """Answers that it makes up."""
        self.holds = False
        """Whether nothing comes back."""

    def collect(self) -> Sequence[Collected]:
        if self.holds:
            return []
        idle: Future[None] = Future()
        self._device.submit(lambda: idle.set_result(None))
        idle.result(10)
        collected = [*super().collect(), *self.extra]
        self.extra.clear()
        return [self._delayed(one) if isinstance(one, BatchResult) and self.is_slow else one for one in collected]

    def _delayed(self, result: BatchResult) -> BatchResult:
        rows = []
        for row in result.rows:
            if row.pictures is None:
                rows.append(row)
                continue
            coming: Future[Frames] = Future()
            self.undecoded.append((coming, row.pictures.result()))
            rows.append(replace(row, pictures=coming))
        return replace(result, rows=tuple(rows))

    def decode(self, failure: Exception | None = None) -> None:
        coming, frames = self.undecoded.pop(0)
        if failure is None:
            coming.set_result(frames)
        else:
            coming.set_exception(failure)


class Session:
    """One session in an engine loop whose steps the test makes."""

    def __init__(self, checkpoint: Checkpoint | None = None, *, depth: int = 1) -> None:
        clock = ManualClock()
        self.engine = Slow("m", StepTiming.instant(), clock, clock.advance, depth=depth)
        self.outputs: dict[int, Frames] = {}
        self.resets: list[tuple[str, bool]] = []
        self.fresh_starts: list[str | None] = []
        self.ends: list[str] = []
        self.checkpoint: Checkpoint | None = checkpoint
        self.opened: list[str | None] = []
        self.loop = EngineLoop(
            self.engine,
            clock=clock,
            cost=CostModel(StepTime(0.001, 0.001)),
            metrics=WorkerMetrics(CollectorRegistry()),
            loop=asyncio.get_running_loop(),
        )
        self.loop.thread.tell = lambda callback: callback()  # type: ignore[assignment, method-assign]
        settings = StreamSettings("oil", 2, WIDTH, HEIGHT, 16, seed=1, noise_scale=0.7)
        plan = SessionPlan("a", "m", settings, 0.5, None)
        self.loop.sessions.open(plan, self, checkpoint=checkpoint, opened=self.opened.append)
        if checkpoint is not None:
            self.step()
        assert self.opened == [None]

    @property
    def open_session(self) -> Any:
        return self.loop.sessions["a"]

    @property
    def candidates(self) -> list[tuple[int, int]]:
        """(step, chunk) of each row that may be submitted."""
        return [(one.row.step, one.row.chunk) for one in self.open_session.rows.candidates()]

    def offer(self, chunk: int) -> None:
        first = 0 if chunk == 0 else 5 + 4 * (chunk - 1)
        numbers = range(first, first + chunk_frames(chunk))
        pictures = [draw(number, width=WIDTH, height=HEIGHT) for number in numbers]
        frames = (
            SourceFrame(SourcePosition(1, n), np.ascontiguousarray(p), 0.0)
            for n, p in zip(numbers, pictures, strict=True)
        )
        self.loop.offer("a", InputChunk(tuple(frames), 1.0))

    def step(self) -> None:
        """All rows that may run, in one forward; then what has come back."""
        self.loop.thread.sleep = lambda _: None  # type: ignore[assignment, method-assign]
        self.loop._step()
        self.loop.thread.take_commands()

    def generate(self, chunk: int) -> None:
        self.offer(chunk)
        while chunk not in self.outputs:
            self.step()

    def generated(self, chunk: GeneratedChunk) -> None:
        self.outputs[chunk.chunk.index] = chunk.frames
        self.checkpoint = chunk.checkpoint

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        pass

    def paced(self, every: int) -> None:
        pass

    def memory(self, size_bytes: int | None) -> None:
        pass

    def was_reset(self, reason: str, *, restored: bool) -> None:
        self.resets.append((reason, restored))

    def began_anew(self, request: str | None) -> None:
        self.fresh_starts.append(request)

    def gave_up(self, reason: str) -> None:
        self.ends.append(reason)


Make = Callable[..., Session]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Session] = []

    def one(checkpoint: Checkpoint | None = None, *, depth: int = 1) -> Session:
        made.append(Session(checkpoint, depth=depth))
        return made[-1]

    yield one
    for session in made:
        session.engine.stop()


def marks(checkpoint: Checkpoint | None) -> list[tuple[int, int]]:
    assert checkpoint is not None
    return [(chunk.index, chunk.done) for chunk in checkpoint.state.in_flight]


def two_chunks_in_one_forward(make: Make) -> Session:
    """Its last batch ran the last row of chunk 1 and the first one of chunk 2."""
    session = make()
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
    return session.outputs[2]


async def test_a_checkpoint_knows_every_row_of_its_batch(make: Make) -> None:
    session = two_chunks_in_one_forward(make)
    assert marks(session.checkpoint) == [(2, 1)]
    assert session.checkpoint is not None
    (places,) = session.checkpoint.positions.values()
    assert places[-1] == SourcePosition(1, 12)
    assert len(places) == 4


async def test_a_session_goes_on_from_such_a_checkpoint_to_the_byte(make: Make) -> None:
    undisturbed = rest(two_chunks_in_one_forward(make))
    moved = make(two_chunks_in_one_forward(make).checkpoint)
    assert np.array_equal(rest(moved), undisturbed)
    reset = two_chunks_in_one_forward(make)
    reset.loop.sessions.reset(reset.open_session, "NaN")
    reset.step()
    assert np.array_equal(rest(reset), undisturbed)
    assert (reset.resets, moved.resets, reset.ends, moved.ends) == ([("NaN", True)], [], [], [])


async def test_a_chunk_that_comes_while_the_one_before_is_refused_waits_for_its_own_turn(make: Make) -> None:
    session = make()
    session.generate(0)
    small = [SourceFrame(SourcePosition(1, 5 + n), np.zeros((16, 16, 3), np.uint8), 0.0) for n in range(4)]
    session.loop.offer("a", InputChunk(tuple(small), 1.0))
    session.step()
    session.step()
    ((reason, restored),) = session.resets
    assert restored
    assert "chunk 1: uint8" in reason
    session.generate(1)
    assert list(session.outputs) == [0, 1]


def with_a_chunk_in_the_decoder(make: Make) -> Session:
    """Chunk 0 was shown, chunk 1 is being decoded, chunk 2 has run one of its two rows."""
    session = make()
    session.generate(0)
    session.engine.is_slow = True
    session.offer(1)
    session.step()
    session.offer(2)
    session.step()
    assert list(session.outputs) == [0]
    return session


async def test_what_follows_runs_while_a_chunk_is_decoded(make: Make) -> None:
    session = with_a_chunk_in_the_decoder(make)
    assert session.candidates == [(1, 2)]
    session.step()
    session.offer(3)
    session.step()
    assert (list(session.outputs), session.candidates) == ([0], []), "two chunks wait for their pictures"
    session.engine.decode()
    assert list(session.outputs) == [0, 1]
    assert session.candidates == [(1, 3)]


async def test_a_checkpoint_counts_once_its_pictures_are_there(make: Make) -> None:
    session = with_a_chunk_in_the_decoder(make)
    before = session.open_session.checkpoint
    assert marks(before) == []
    session.engine.decode()
    assert session.open_session.checkpoint is session.checkpoint is not before
    assert marks(session.checkpoint) == [(2, 1)]


async def test_pictures_that_cannot_be_shown_take_the_session_back_to_before_them(make: Make) -> None:
    undisturbed = two_chunks_in_one_forward(make)
    session = with_a_chunk_in_the_decoder(make)
    session.engine.decode(EngineFailure("a", "NaN"))
    session.engine.is_slow = False
    session.step()
    session.step()
    assert (session.resets, session.ends, list(session.outputs)) == ([("NaN", True)], [], [0])
    session.generate(1)
    assert np.array_equal(session.outputs[1], undisturbed.outputs[1])


async def test_a_fault_of_the_decoder_itself_costs_no_more(make: Make) -> None:
    session = with_a_chunk_in_the_decoder(make)
    session.engine.decode(RuntimeError("a device was lost"))
    session.step()
    session.step()
    assert (session.resets, session.ends) == ([("RuntimeError: a device was lost", True)], [])


async def test_pictures_of_before_a_reset_are_not_shown(make: Make) -> None:
    session = with_a_chunk_in_the_decoder(make)
    before = session.open_session.checkpoint
    session.loop.sessions.reset(session.open_session, "NaN in chunk 2")
    session.engine.decode()
    session.step()
    assert (list(session.outputs), session.open_session.checkpoint) == ([0], before)
    session.offer(1)
    assert session.candidates == [(0, 1)]


async def test_pictures_of_a_session_that_was_closed_are_nobodys(make: Make) -> None:
    session = with_a_chunk_in_the_decoder(make)
    session.loop.sessions.close("a")
    session.engine.decode(EngineFailure("a", "NaN"))
    session.step()
    assert (list(session.outputs), session.resets, session.ends) == ([0], [], [])


async def test_what_comes_between_looking_and_sleeping_is_not_slept_over(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make()
    session.generate(0)
    slept: list[float] = []
    sleep = EngineThread.sleep.__get__(session.loop.thread)
    monkeypatch.setattr(session.loop.thread.lock, "wait", slept.append)
    sleep(0.05)
    slept.clear()

    session.offer(1)
    sleep(0.05)
    assert slept == [], "an input chunk came"
    session.engine.is_slow = True
    session.step()
    session.step()
    sleep(0.05)
    slept.clear()
    session.engine.decode()
    sleep(0.05)
    assert slept == [], "pictures came, so that another chunk may end"
    sleep(0.05)
    assert slept == [0.05]


# -- answers that nobody asked for ------------------------------------------------------------------------------------


async def test_results_of_a_batch_that_is_not_under_way_are_dropped(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    session = make()
    session.generate(0)
    session.engine.extra = [BatchResult(77, ()), BatchResult(1, ())]
    session.step()
    assert "batch 77, which is not under way" in caplog.text
    assert "batch 1, which is not under way" in caplog.text
    session.generate(1)
    assert (list(session.outputs), session.resets) == ([0, 1], [])


async def test_a_row_without_an_answer_is_its_sessions_failure(make: Make) -> None:
    session = make()
    session.generate(0)
    session.offer(1)
    session.engine.holds = True
    session.step()
    session.engine.holds = False
    number = next(iter(session.loop._under_way._batches))
    session.engine.collect()
    session.engine.extra = [BatchResult(number, ())]
    session.step()
    session.step()
    assert session.resets == [("the engine gave no answer for row 0 of chunk 1", True)]
    session.generate(1)


async def test_a_last_row_without_pictures_is_its_sessions_failure(make: Make) -> None:
    session = make()
    session.generate(0)
    session.offer(1)
    session.step()
    session.engine.holds = True
    session.step()
    session.engine.holds = False
    number = next(iter(session.loop._under_way._batches))
    session.engine.collect()
    session.engine.extra = [BatchResult(number, (RowResult(Row("a#1", 1, 1)),))]
    session.step()
    session.step()
    assert session.resets == [("the engine gave no pictures of chunk 1", True)]
    session.generate(1)


async def test_a_session_that_is_given_up_over_it_is_told_nothing_more(make: Make) -> None:
    session = make()
    session.open_session.failures = MAX_FAILURES
    session.offer(0)
    session.step()
    session.engine.holds = True
    session.step()
    session.engine.holds = False
    number = next(iter(session.loop._under_way._batches))
    session.engine.collect()
    session.engine.extra = [BatchResult(number, (RowResult(Row("a#1", 1, 0)),))]
    session.step()
    assert session.ends == ["the engine gave no pictures of chunk 0"]
    session.step()


async def test_results_of_a_generation_that_was_closed_are_dropped(make: Make) -> None:
    session = make(depth=2)
    session.generate(0)
    session.offer(1)
    session.engine.holds = True
    session.step()
    session.loop.sessions.reset(session.open_session, "NaN")
    session.engine.holds = False
    session.step()
    session.step()
    assert (session.resets, session.open_session.rows.in_flight) == ([("NaN", True)], [])
    session.generate(1)


# -- what is asked for while a batch is under way ---------------------------------------------------------------------


def under_way(make: Make) -> Session:
    """The first row of chunk 1 is under way."""
    session = make()
    session.generate(0)
    session.offer(1)
    session.engine.holds = True
    session.step()
    return session


async def test_prompt_and_steps_that_change_meanwhile_are_the_next_chunks(make: Make) -> None:
    session = under_way(make)
    session.loop.sessions.change("a", Change(prompt="neon", steps=4))
    session.engine.holds = False
    undisturbed = make()
    undisturbed.generate(0)
    undisturbed.generate(1)
    session.generate(1)
    assert np.array_equal(session.outputs[1], undisturbed.outputs[1])
    session.generate(2)
    assert session.open_session.rows.running_steps == 4


async def test_a_fresh_start_that_is_asked_for_meanwhile_drops_what_is_under_way(make: Make) -> None:
    session = under_way(make)
    session.loop.sessions.change("a", Change(prompt="oil", reset="9-0"))
    session.engine.holds = False
    session.step()
    assert (session.fresh_starts, session.resets) == (["9-0"], [])
    session.outputs.clear()
    session.generate(0)
    assert list(session.outputs) == [0]


async def test_a_fresh_start_that_is_asked_for_during_a_restoration_follows_it(make: Make) -> None:
    session = two_chunks_in_one_forward(make)
    session.engine.holds = True
    session.loop.sessions.reset(session.open_session, "NaN")
    session.loop.sessions.change("a", Change(prompt="oil", reset="9-0"))
    session.loop.sessions.change("a", Change(noise_scale=0.4))
    assert session.fresh_starts == []
    session.engine.holds = False
    session.step()
    assert (session.fresh_starts, session.resets) == (["9-0"], [("NaN", True)])
    assert session.open_session.rows.next_chunk == 0
    assert session.open_session.settings.noise_scale == 0.4


async def test_a_damaged_checkpoint_costs_one_reset_and_says_why(make: Make) -> None:
    session = two_chunks_in_one_forward(make)
    found = session.open_session
    found.checkpoint = replace(found.checkpoint, state=replace(found.checkpoint.state, blocks={}))
    session.loop.sessions.reset(found, "NaN")
    session.step()
    ((reason, restored),) = session.resets
    assert not restored
    assert reason.startswith("NaN; its checkpoint cannot be used: the snapshot cannot be restored: ValueError: stored")
    session.outputs.clear()
    session.generate(0)


async def test_a_session_whose_checkpoint_is_damaged_is_not_opened_from_it(make: Make) -> None:
    good = two_chunks_in_one_forward(make).checkpoint
    assert good is not None
    session = make()
    session.loop.sessions.close("a")
    told: list[str | None] = []
    bad = replace(good, state=replace(good.state, blocks={}))
    session.loop.sessions.open(session_plan(), session, checkpoint=bad, opened=told.append)
    session.step()
    (failure,) = told
    assert failure is not None
    assert "stored frames are missing" in failure
    assert session.loop.sessions.is_idle("a")


def session_plan() -> SessionPlan:
    return SessionPlan("a", "m", StreamSettings("oil", 2, WIDTH, HEIGHT, 16, seed=1, noise_scale=0.7), 0.5, None)


async def test_a_session_that_is_closed_while_it_is_restored_is_told_so(make: Make) -> None:
    checkpoint = two_chunks_in_one_forward(make).checkpoint
    session = make()
    session.loop.sessions.close("a")
    told: list[str | None] = []
    session.loop.sessions.open(session_plan(), session, checkpoint=checkpoint, opened=told.append)
    session.loop.sessions.close("a")
    session.step()
    assert told == ["it was closed before it was open"]


async def test_a_state_that_cannot_be_taken_takes_the_session_back(make: Make) -> None:
    session = make()
    session.generate(0)
    broken: Future[Any] = Future()
    broken.set_exception(EngineFailure("a", "no memory for a copy"))
    session.engine.snapshot = lambda _: broken  # type: ignore[assignment, method-assign]
    session.offer(1)
    for _ in range(4):
        session.step()
    assert session.resets == [("no memory for a copy", True)]
    assert list(session.outputs) == [0]


async def test_rows_of_the_engine_carry_the_generation(make: Make) -> None:
    session = make()
    assert session.open_session.name == "a#1"
    session.loop.sessions.reset(session.open_session, "NaN")
    assert session.open_session.name == "a#2"
    with pytest.raises(ValueError, match="a#1 is not open"):
        session.engine.submit(99, [Row("a#1", 0, 0)])


async def test_a_loss_that_is_shared_is_nobodys_failure_yet(make: Make) -> None:
    session = make()
    other = another_session(session)
    session.loop._lose([session.open_session, other], "lost", is_alone=False)
    assert (session.open_session.failures, other.failures) == (0, 0)
    session.loop._lose([session.open_session], "lost again, alone", is_alone=True)
    assert session.open_session.failures == 1


def another_session(session: Session) -> Any:
    """A second session beside it."""
    plan = replace(session_plan(), session="b")
    session.loop.sessions.open(plan, session, checkpoint=None, opened=lambda _: None)
    return session.loop.sessions["b"]


async def test_of_batches_that_are_lost_with_one_device_none_is_known_to_be_at_fault(make: Make) -> None:
    session = make(depth=2)
    session.loop._cost = CostModel(StepTime(0.0, 0.0))
    other = another_session(session)
    session.engine.holds = True
    session.offer(0)
    session.step()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frames = tuple(SourceFrame(SourcePosition(1, n), picture, 0.0) for n in range(5))
    session.loop.offer("b", InputChunk(frames, 1.0))
    session.step()
    first, second = session.loop._under_way._batches
    session.engine.holds = False
    session.engine.collect()
    for number in (first, second):
        session.engine.extra = [BatchResult(number, lost="the device was lost")]
        session.step()
    assert (session.open_session.failures, other.failures) == (0, 0)
    assert session.loop._suspects.sessions == {"a", "b"}


async def test_a_session_that_had_the_device_alone_is_at_fault(make: Make) -> None:
    session = make()
    session.engine.holds = True
    session.offer(0)
    session.step()
    (number,) = session.loop._under_way._batches
    session.engine.holds = False
    session.engine.collect()
    session.engine.extra = [BatchResult(number, lost="the device was lost")]
    session.step()
    assert (session.open_session.failures, session.loop._suspects.sessions) == (1, frozenset())


async def test_a_state_that_is_refused_at_once_takes_the_session_back(make: Make) -> None:
    session = make()
    session.generate(0)

    def refuse(_: str) -> Any:
        raise ValueError("too many chunks")

    session.engine.snapshot = refuse  # type: ignore[assignment, method-assign]
    session.offer(1)
    session.step()
    session.step()
    session.step()
    assert session.resets == [("its state cannot be taken: too many chunks", True)]


async def test_who_waits_for_a_session_is_answered_also_where_it_fails_at_once(make: Make) -> None:
    checkpoint = two_chunks_in_one_forward(make).checkpoint
    session = make()
    session.loop.sessions.close("a")
    told: list[str | None] = []

    def refuse(name: str, _: Change) -> None:
        raise EngineFailure(name, "no such prompt")

    session.engine.apply = refuse  # type: ignore[assignment, method-assign]
    session.loop.sessions.open(session_plan(), session, checkpoint=checkpoint, opened=told.append)
    session.step()
    assert told == [None]
    assert len(session.resets) <= 1
