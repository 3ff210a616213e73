"""The mock engine: the Engine protocol with a painter in the model's place and a model's timing.

It needs no GPU and no weights, yet everything that the system promises of a stream (sinks, window, rows in flight,
prompt changes, exact snapshots, several batches under way) is real in it and visible in its pictures.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from genlock_core.clock import Clock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import (
    BatchResult,
    CapturedGraphs,
    Change,
    Chunk,
    Collected,
    DeviceSeconds,
    EngineFailure,
    EngineMemory,
    EngineState,
    Fed,
    RestoreResult,
    Row,
    RowResult,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.engines.input_check import check_chunk
from genlock_worker.engines.mock import state as states
from genlock_worker.engines.mock.device import Device, DeviceLost, Faults
from genlock_worker.engines.mock.effort import EffortPolicy, PaintEffort
from genlock_worker.engines.mock.session import MockSession, check_steps
from genlock_worker.engines.mock.textures import make_brushes
from genlock_worker.engines.mock.timing import StepTiming
from genlock_worker.engines.readiness import ChunkInFlight, Needs, may_run

logger = logging.getLogger(__name__)

MAX_DEPTH = 4
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, cv2.error)
"""What a damaged state raises while it is read."""


@dataclass(slots=True, eq=False)
class _Open:
    """A session as the caller's thread has it; `painter` and `broken` are the device's."""

    settings: StreamSettings
    painter: MockSession | None = None
    next_chunk: int = 0
    chunks: list[ChunkInFlight] = field(default_factory=list)
    broken: str | None = None
    """Why nothing of it can be computed any more."""

    def paint(self) -> MockSession:
        """Raises ValueError where there is nothing to paint with."""
        if self.broken is not None or self.painter is None:
            raise ValueError(self.broken or "it is not restored yet")
        return self.painter


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch that is under way; `lost` is the device's."""

    number: int
    rows: tuple[Row, ...]
    sessions: tuple[_Open, ...]
    """By row."""
    chunks: tuple[ChunkInFlight, ...]
    """By row."""
    lost: str | None = None
    """Why it is not computed: it was there when the device was lost."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(row.session for row in self.rows)


class MockEngine:
    """An Engine that paints on the CPU, on a thread of its own that stands for the device.

    `depth` batches may be under way. `wait` blocks that thread for the given seconds; with the system clock that is
    `time.sleep`, with a manual one its `advance`. OpenCV is held to one thread (for the whole process), so that one
    engine takes one core. `devices`: how many it stands for; the timing is theirs together. With `effort` pictures are
    plainer while the machine is too slow; without, each is worked in full. The thread ends with `stop`, or with the
    engine itself if nobody refers to it any more.

    Raises ValueError for a depth that it cannot have.
    """

    def __init__(
        self,
        model: str,
        timing: StepTiming,
        clock: Clock,
        wait: Callable[[float], None],
        *,
        devices: int = 1,
        depth: int = 1,
        faults: Faults | None = None,
        effort: EffortPolicy | None = None,
    ) -> None:
        if not 1 <= depth <= MAX_DEPTH:
            raise ValueError(f"1 to {MAX_DEPTH} batches may be under way, not {depth}")
        self._model = model
        self._devices = devices
        self._timing = timing
        self._clock = clock
        self._wait = wait
        self._depth = depth
        self._brushes = make_brushes()
        self.faults = faults or Faults()
        self._effort = effort
        self._sessions: dict[str, _Open] = {}
        self._under_way: dict[int, _Batch] = {}
        self._snapshots: list[Future[EngineState]] = []
        """Those that were not taken yet, when the last one was asked for."""
        self._device = Device()
        self._encode_s = 0.0
        """Of the chunks that were taken in since the last batch; the device's."""
        self._encoded = 0
        """How many those were; the device's."""
        cv2.setNumThreads(1)

    @property
    def model(self) -> str:
        """The name of the ModelProfile whose timing it follows."""
        return self._model

    @property
    def devices(self) -> int:
        """As many as it was told to stand for."""
        return self._devices

    @property
    def most_rows(self) -> int | None:
        """None: rows are painted one after the other."""
        return None

    @property
    def depth(self) -> int:
        """How many batches may be under way."""
        return self._depth

    @property
    def needs(self) -> Needs:
        """The device has an order: it is enough that a row's predecessors were submitted."""
        return Needs()

    @property
    def progress(self) -> int:
        """Rows that were painted, chunks that were taken in, sessions that were restored."""
        return self._device.parts

    @property
    def warms_each_size(self) -> bool:
        """No: every size is painted alike."""
        return False

    def capture_graphs(self, sizes: Sequence[Resolution], tell: Callable[[str], None]) -> CapturedGraphs:  # noqa: ARG002
        """None: nothing is launched."""
        return CapturedGraphs()

    @property
    def strained(self) -> bool:
        """Whether pictures are plainer, as this machine is too slow for the timing that it follows."""
        return self._effort is not None and self._effort.effort is not PaintEffort.FULL

    @property
    def memory(self) -> EngineMemory | None:
        """None: it admits whoever comes."""
        return None

    def session_memory(self, session: str) -> int | None:
        """None: nobody counts."""
        self._session(session)
        return None

    def call_when_ready(self, wake: Callable[[], None]) -> None:
        """Call `wake` on the device's thread when there is something to collect."""
        self._device.call_when_ready(wake)

    def prepare(self, prompt: str) -> None:
        """Nothing: a style is made of its prompt's digest in no time."""

    def open(self, session: str, settings: StreamSettings) -> None:
        """Start a session from nothing. Raises ValueError if it is open already or cannot be served."""
        self._check_free(session)
        self._sessions[session] = _Open(settings, MockSession.opened(settings, self._brushes))

    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:
        """Start a session from a snapshot; its next output is the one that the snapshot's session would have given."""
        self._check_free(session)
        opened = self._sessions[session] = _Open(settings, next_chunk=state.chunk + 1)
        opened.chunks = [
            ChunkInFlight(index=one.index, rows=one.rows, submitted=one.done, collected=one.done)
            for one in state.in_flight
        ]

        def work() -> None:
            try:
                opened.painter = states.from_state(state, settings, self._brushes, model=self._model)
            except DAMAGE as problem:
                opened.broken = f"the snapshot cannot be restored: {type(problem).__name__}: {problem}"
            else:
                logger.info("session restored", extra={"session": session, "chunk": state.chunk})
            self._device.parts += 1
            self._device.answer(RestoreResult(session, opened.broken))

        self._device.submit(work)

    def close(self, session: str) -> None:
        """Forget a session; unknown ones are ignored. The device lets go of it with its last batch."""
        self._sessions.pop(session, None)

    def apply(self, session: str, change: Change) -> None:
        """Change prompt or noise scale from the next chunk on."""
        opened = self._session(session)

        def work() -> None:
            if opened.painter is not None:
                opened.painter.apply(change)

        self._device.submit(work)

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        """Take the next chunk, in order. Raises ValueError for another one."""
        opened = self._session(session)
        check_steps(steps)
        check_chunk(chunk, opened.settings, expected=opened.next_chunk)
        opened.next_chunk += 1
        opened.chunks.append(ChunkInFlight(index=chunk.index, rows=steps))

        def work() -> None:
            began_s = self._clock.monotonic()
            try:
                opened.paint().feed(chunk, steps=steps)
            except DAMAGE as problem:
                opened.broken = f"chunk {chunk.index} cannot be taken in: {problem}"
            self._encode_s += self._clock.monotonic() - began_s
            self._encoded += 1
            self._device.parts += 1

        self._device.submit(work)
        return Fed(steps=steps, rows=steps)

    def submit(self, number: int, rows: Sequence[Row]) -> None:
        """Have rows painted one after the other, in the time of the hardware that the engine stands for."""
        if not rows:
            raise ValueError(f"batch {number} has no rows")
        if number in self._under_way:
            raise ValueError(f"a batch {number} is under way already")
        if len(self._under_way) >= self._depth:
            raise ValueError(f"{self._depth} batches are under way already")

        # All rows are checked before one is taken: one that may not run leaves everything as it was.
        chunks: list[ChunkInFlight] = []
        for row in rows:
            chunks.append(self._check_row(row, chunks))
        for chunk in chunks:
            chunk.submitted += 1

        sessions = tuple(self._session(row.session) for row in rows)
        batch = self._under_way[number] = _Batch(number, tuple(rows), sessions, tuple(chunks))
        self._device.submit(partial(self._run_batch, batch))

    def _check_row(self, row: Row, taken: Sequence[ChunkInFlight]) -> ChunkInFlight:
        chunks = self._session(row.session).chunks
        place = next((place for place, one in enumerate(chunks) if one.index == row.chunk), None)
        if place is None or any(chunks[place] is chunk for chunk in taken):
            raise EngineFailure(row.session, f"row {row.step} of chunk {row.chunk} is not in flight, or there twice")
        if not may_run(row.step, chunks[place], chunks[:place], self.needs):
            raise EngineFailure(row.session, f"row {row.step} of chunk {row.chunk} may not run yet")
        return chunks[place]

    def collect(self) -> Sequence[Collected]:
        """What has ended since the last call; of sessions that were closed meanwhile, too."""
        collected = self._device.collect()
        for one in collected:
            if isinstance(one, BatchResult):
                self._note_collected(self._under_way.pop(one.number))
            elif one.failure is not None:
                self._sessions.pop(one.session, None)
        return collected

    def _note_collected(self, batch: _Batch) -> None:
        for opened, chunk in zip(batch.sessions, batch.chunks, strict=True):
            chunk.collected += 1
            if chunk.is_complete:
                opened.chunks.remove(chunk)

    def snapshot(self, session: str) -> Future[EngineState]:
        """The state after what was submitted: references to arrays that are never written to again."""
        opened = self._session(session)
        state: Future[EngineState] = Future()

        def work() -> None:
            if not state.set_running_or_notify_cancel():
                return
            try:
                state.set_result(states.to_state(opened.paint(), model=self._model))
            except DAMAGE as problem:
                state.set_exception(EngineFailure(session, f"its state cannot be taken: {problem}"))

        self._snapshots = [*(one for one in self._snapshots if not one.done()), state]
        self._device.submit(work)
        return state

    def stop(self) -> None:
        """End the device's thread; what waits for it is not done, and snapshots that were not taken are cancelled."""
        self._device.stop()
        for state in self._snapshots:
            state.cancel()

    # -- on the device's thread ---------------------------------------------------------------------------------------

    def _run_batch(self, batch: _Batch) -> None:
        began_s = self._clock.monotonic()
        if batch.lost is None:
            try:
                self.faults.begins(batch.number, batch.rows)
            except DeviceLost as loss:
                self._lose_all(str(loss))
        if batch.lost is not None:
            self._device.parts += 1
            self._device.answer_batch(BatchResult(batch.number, lost=batch.lost), batch.names, held_back=False)
            return

        results = tuple(self._run_row(row, one) for row, one in zip(batch.rows, batch.sessions, strict=True))

        # Painting takes less than the GPU that it stands for; the rest of that time is waited for.
        painted_s = self._clock.monotonic() - began_s
        simulated_s = self._simulated_s(batch)
        if self._effort is not None and any(result.pictures is not None for result in results):
            self._effort.painted(now_s=began_s + painted_s, painted_s=painted_s, available_s=simulated_s)
        if simulated_s > painted_s:
            self._wait(simulated_s - painted_s)
        seconds = DeviceSeconds(rows=max(painted_s, simulated_s), encode=self._encode_s)
        result = BatchResult(batch.number, results, seconds, encoded=self._encoded)
        self._encode_s = 0.0
        self._encoded = 0
        self._device.answer_batch(result, batch.names, held_back=self.faults.held_back(batch.number))

    def _run_row(self, row: Row, opened: _Open) -> RowResult:
        try:
            effort = PaintEffort.FULL if self._effort is None else self._effort.effort
            frames = opened.paint().run_row(row.step, row.chunk, effort=effort)
        except DAMAGE as problem:
            opened.broken = str(problem)
        else:
            opened.broken = self.faults.verdict(row)
        self._device.parts += 1
        if opened.broken is not None:
            return RowResult(row, failure=opened.broken)
        if frames is None:
            return RowResult(row)
        pictures: Future[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = Future()
        pictures.set_result(frames)
        return RowResult(row, pictures=pictures)

    def _lose_all(self, reason: str) -> None:
        """A lost device takes along all that it has: the batches that were submitted, and what is open."""
        # Copies: the caller's thread may add to both at any time.
        for batch in list(self._under_way.values()):
            batch.lost = reason
        for opened in list(self._sessions.values()):
            opened.broken = reason

    def _simulated_s(self, batch: _Batch) -> float:
        """The largest shape among the rows decides: a forward is as long as its longest member."""
        return max(
            self._timing.seconds(
                rows=len(batch.rows),
                width=one.settings.width,
                height=one.settings.height,
                frames=chunk_frames(row.chunk),
            )
            for row, one in zip(batch.rows, batch.sessions, strict=True)
        )

    # -- on the caller's ----------------------------------------------------------------------------------------------

    def _session(self, session: str) -> _Open:
        try:
            return self._sessions[session]
        except KeyError:
            raise ValueError(f"session {session} is not open") from None

    def _check_free(self, session: str) -> None:
        if session in self._sessions:
            raise ValueError(f"session {session} is open already")
