"""An engine driven one batch at a time by somebody who waits for each: warm-up, profiling, benchmarks, tests.

The engine loop does not use it: it has several sessions to serve and never waits.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Chunk,
    DeviceSeconds,
    Engine,
    EngineFailure,
    EngineState,
    Fed,
    Frames,
    RestoreResult,
    Row,
    RowResult,
    StreamSettings,
)

C = TypeVar("C", BatchResult, RestoreResult)


class BatchLost(Exception):
    """A batch gave no results; the message says why."""


class Stepwise:
    """Sessions of one engine, each with the steps that its next chunk is to have."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seconds = DeviceSeconds()
        """Of the last batch."""
        self._ready = threading.Event()
        self._numbers = count(1)
        self._steps: dict[str, int] = {}
        engine.call_when_ready(self._ready.set)

    def open(self, session: str, settings: StreamSettings) -> None:
        """Raises EngineFailure, ValueError."""
        self.engine.prepare(settings.prompt)
        self.engine.open(session, settings)
        self._steps[session] = settings.steps

    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:
        """Waits for the end of it. Raises EngineFailure if the state cannot be used, ValueError."""
        self.engine.restore(session, settings, state)
        ended = self._wait(RestoreResult, lambda one: one.session == session)
        if ended.failure is not None:
            raise EngineFailure(session, ended.failure)
        self._steps[session] = settings.steps

    def close(self, session: str) -> None:
        self.engine.close(session)
        self._steps.pop(session, None)

    def apply(self, session: str, change: Change) -> None:
        """Raises EngineFailure, ValueError."""
        if change.steps is not None:
            self._steps[session] = change.steps
        if change.prompt is not None:
            self.engine.prepare(change.prompt)
        self.engine.apply(session, change)

    def feed(self, session: str, chunk: Chunk) -> int:
        """The rows that the chunk will run, once they may. Raises EngineFailure, ValueError."""
        return self.taken_in(session, chunk, steps=self._steps.get(session, 1)).rows

    def taken_in(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        """Feed a chunk and wait until its first row may run. Raises EngineFailure, ValueError."""
        fed = self.engine.feed(session, chunk, steps=steps)
        fed.encoded.result()
        return fed

    def run(self, rows: Sequence[Row]) -> Sequence[RowResult]:
        """One batch, waited for. Raises EngineFailure for its first row that failed, BatchLost."""
        number = next(self._numbers)
        self.engine.submit(number, rows)
        result = self._wait(BatchResult, lambda one: one.number == number)
        if result.lost is not None:
            raise BatchLost(result.lost)
        self.seconds = result.seconds
        for row in result.rows:
            if row.failure is not None:
                raise EngineFailure(row.row.session, row.failure)
        return result.rows

    def show(self, session: str, chunk: Chunk) -> Frames:
        """Feed a chunk and run its rows one by one; its pictures. Raises what `feed` and `run` raise."""
        return self.pictures(session, chunk, rows=self.feed(session, chunk))

    def pictures(self, session: str, chunk: Chunk, *, rows: int) -> Frames:
        """Run the rows of a chunk that was fed, one by one; its pictures. Raises what `run` raises."""
        for step in range(rows):
            (result,) = self.run([Row(session, step, chunk.index)])
        if result.pictures is None:
            raise EngineFailure(session, f"chunk {chunk.index} has no pictures after its last row")
        return result.pictures.result()

    def snapshot(self, session: str) -> EngineState:
        """Raises EngineFailure, ValueError."""
        return self.engine.snapshot(session).result()

    def sink_digest(self, session: str) -> str:
        return self.snapshot(session).sink_digest

    def _wait(self, kind: type[C], is_wanted: Callable[[C], bool]) -> C:
        while True:
            self._ready.clear()
            for one in self.engine.collect():
                if isinstance(one, kind) and is_wanted(one):
                    return one
            self._ready.wait()
