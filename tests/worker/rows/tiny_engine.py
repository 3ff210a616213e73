"""An engine that generates what it was given, and remembers everything that it was told, for the tests of the rows.

It has no threads: a batch is done when it is submitted, unless `running` is cleared; then when that is set again.
Sessions are remembered by their own names, without their generation.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import (
    BatchResult,
    CapturedGraphs,
    Change,
    Chunk,
    ChunkState,
    Collected,
    DeviceSeconds,
    EngineFailure,
    EngineMemory,
    EngineState,
    Fed,
    Frames,
    RestoreResult,
    Row,
    RowResult,
    StreamSettings,
)
from genlock_worker.engines.readiness import ChunkInFlight, Needs


def plain(session: str) -> str:
    """A session's own name."""
    return session.partition("#")[0]


class Gate(threading.Event):
    """Calls back when it is set."""

    def __init__(self, opened: Callable[[], None]) -> None:
        super().__init__()
        self._opened = opened

    def set(self) -> None:
        super().set()
        self._opened()


@dataclass(slots=True)
class TinyEngine:
    """An Engine."""

    model: str = "tiny"
    devices: int = 1
    depth: int = 1
    most_rows: int | None = None
    warms_each_size: bool = False
    graphs: CapturedGraphs = field(default_factory=CapturedGraphs)
    """What comes of capturing."""
    captured: list[Resolution] = field(default_factory=list)
    """The sizes for which it was asked to."""
    needs: Needs = field(default_factory=Needs)
    open_sessions: dict[str, StreamSettings] = field(default_factory=dict)
    """By the name of the generation."""
    fed: dict[tuple[str, int], Chunk] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, list[ChunkInFlight]] = field(default_factory=dict)
    given_steps: dict[tuple[str, int], int] = field(default_factory=dict)
    encodings: dict[tuple[str, int], Future[None]] = field(default_factory=dict)
    """Chunks that it encodes beside the rows, if its needs say so: each until the test says that it is encoded."""
    changes: list[tuple[str, Change]] = field(default_factory=list)
    taken: list[tuple[Row, ...]] = field(default_factory=list)
    """What it was given to run; in `batches` it is once it has run."""
    batches: list[tuple[Row, ...]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    """What becomes of the next batches: a failure of a session's row, or the loss of the batch."""
    late_failures: dict[tuple[str, int], str] = field(default_factory=dict)
    """By session and chunk, the verdict on its rows."""
    unusable: bool = False
    """Whether it refuses every snapshot."""
    restored: list[str] = field(default_factory=list)
    restoring: list[str] = field(default_factory=list)
    """Sessions whose restoration waits until `running` is set."""
    poison: str = ""
    """A session whose batches are lost."""
    encoding: threading.Event = field(default_factory=threading.Event)
    prepared: list[str] = field(default_factory=list)
    unspeakable: str = ""
    most_steps: int = 4
    progress: int = 0
    memory: EngineMemory | None = None
    strained: bool = False
    refusals: int = 0
    """Sessions that it will not open."""
    sizes: int | None = None
    """What each step takes, if it counts."""
    undecoded: Future[Frames] | None = None
    """The pictures of what runs next, if they come later."""
    pending_state: Future[EngineState] | None = None
    """The next snapshot, if it comes later."""
    answers: list[Collected] = field(default_factory=list)
    stopped: bool = False
    running: Gate = field(init=False)
    _wake: Callable[[], None] = field(default=lambda: None)
    _waiting: list[tuple[int, tuple[Row, ...]]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.running = Gate(self._run_waiting)
        self.running.set()
        self.encoding.set()

    def session_memory(self, session: str) -> int | None:
        return self.sizes and self.sizes * self.given_steps.get((session, self.last[session]), 2)

    def capture_graphs(self, sizes: Sequence[Resolution], tell: Callable[[str], None]) -> CapturedGraphs:
        tell("graphs")
        self.captured += sizes
        return self.graphs

    def call_when_ready(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def prepare(self, prompt: str) -> None:
        self.prepared.append(prompt)
        self.encoding.wait(20)
        if prompt == self.unspeakable:
            raise RuntimeError("no such words")

    def open(self, session: str, settings: StreamSettings) -> None:
        if session in self.open_sessions:
            raise ValueError(f"{session} is open")
        if self.refusals:
            self.refusals -= 1
            raise EngineFailure(session, "no memory")
        self._begin(session, settings, -1, [])

    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:
        self.restored.append(session)
        in_flight = [
            ChunkInFlight(index=one.index, rows=one.rows, submitted=one.done, collected=one.done)
            for one in state.in_flight
        ]
        self._begin(session, settings, state.chunk, in_flight)
        for one in state.in_flight:
            self.fed[session, one.index] = Chunk(one.index, np.zeros((4, 64, 64, 3), np.uint8))
        self.restoring.append(session)
        if self.running.is_set():
            self._run_waiting()

    def _begin(self, session: str, settings: StreamSettings, last: int, in_flight: list[ChunkInFlight]) -> None:
        self.open_sessions[session] = settings
        self.last[session] = self.last[plain(session)] = last
        self.in_flight[session] = in_flight

    def close(self, session: str) -> None:
        self.open_sessions.pop(session, None)
        self.in_flight.pop(session, None)

    @property
    def wanted(self) -> list[tuple[str, Change]]:
        """The changes that users asked for, without those that follow a restoration."""
        return [(session, change) for session, change in self.changes if change != Change(noise_scale=0.7)]

    def apply(self, session: str, change: Change) -> None:
        if session not in self.open_sessions:
            raise ValueError(f"{session} is not open")
        self.changes.append((plain(session), change))

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        assert chunk.index == self.last[session] + 1
        given = min(self.most_steps, steps)
        self.last[session] = self.last[plain(session)] = chunk.index
        self.fed[session, chunk.index] = self.fed[plain(session), chunk.index] = chunk
        self.given_steps[session, chunk.index] = given
        self.in_flight[session].append(ChunkInFlight(index=chunk.index, rows=given))
        if not self.needs.encoded:
            return Fed(given, given)
        encoded = self.encodings[plain(session), chunk.index] = Future[None]()
        return Fed(given, given, encoded)

    def submit(self, number: int, rows: Sequence[Row]) -> None:
        assert len(self._waiting) < self.depth
        with self._lock:
            for row in rows:
                chunk = next(one for one in self.in_flight[row.session] if one.index == row.chunk)
                assert chunk.submitted == row.step
                encoded = self.encodings.get((plain(row.session), row.chunk))
                assert encoded is None or encoded.done()
                chunk.submitted += 1
            self.taken.append(tuple(Row(plain(row.session), row.step, row.chunk) for row in rows))
            self._waiting.append((number, tuple(rows)))
        if self.running.is_set():
            self._run_waiting()

    def _run_waiting(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
            for number, rows in waiting:
                self.answers.append(self._run(number, rows))
            for session in self.restoring:
                self.answers.append(RestoreResult(session, "the state is damaged" if self.unusable else None))
                if self.unusable:
                    self.close(session)
            self.restoring.clear()
        self._wake()

    def _run(self, number: int, rows: Sequence[Row]) -> BatchResult:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and not isinstance(failure, EngineFailure):
            return BatchResult(number, lost=f"{type(failure).__name__}: {failure}")
        if self.poison in {plain(row.session) for row in rows}:
            return BatchResult(number, lost="RuntimeError: illegal memory access")

        self.progress += 1
        self.batches.append(tuple(Row(plain(row.session), row.step, row.chunk) for row in rows))
        results = tuple(self._result(row, failure) for row in rows)
        return BatchResult(number, results, DeviceSeconds(rows=0.001 * len(rows)))

    def _result(self, row: Row, failure: EngineFailure | None) -> RowResult:
        name = plain(row.session)
        if failure is not None and failure.session == name:
            return RowResult(row, failure=failure.reason)
        if (verdict := self.late_failures.get((name, row.chunk))) is not None:
            return RowResult(row, failure=verdict)

        chunks = self.in_flight.get(row.session, [])
        chunk = next((one for one in chunks if one.index == row.chunk), None)
        if chunk is None:
            return RowResult(row)
        chunk.collected += 1
        if not chunk.is_complete:
            return RowResult(row)
        chunks.remove(chunk)
        if self.undecoded is not None:
            return RowResult(row, pictures=self.undecoded)
        pictures: Future[Frames] = Future()
        frames = self.fed[row.session, row.chunk].frames
        assert frames is not None
        pictures.set_result(frames)
        return RowResult(row, pictures=pictures)

    def collect(self) -> Sequence[Collected]:
        with self._lock:
            collected = list(self.answers)
            self.answers.clear()
        return collected

    def snapshot(self, session: str) -> Future[EngineState]:
        if self.pending_state is not None:
            return self.pending_state
        in_flight = tuple(
            ChunkState(one.index, one.rows, one.rows, one.submitted, one.index + 1, 1, 4, {})
            for one in self.in_flight[session]
            if one.submitted < one.rows
        )
        state: Future[EngineState] = Future()
        state.set_result(EngineState(self.last[session], in_flight, {}, {}, {}, ("digest",)))
        return state

    def stop(self) -> None:
        self.stopped = True
