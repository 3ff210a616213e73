"""What the host pays for a batch: the engine loop over a null device, which answers at once and computes nothing.

One session for each row (1, 8, 16), each of one step, always with a chunk that waits: so every turn of the loop takes
chunks in, chooses a batch, submits it, collects it, and tells every session. CPU time of the loop's thread, which a
busy machine does not falsify. A device that is to be kept busy needs a batch every few milliseconds.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from bench.result import Series, Table, save
from genlock_core.clock import SystemClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Chunk,
    Collected,
    DeviceSeconds,
    EngineMemory,
    EngineState,
    Fed,
    Frames,
    RestoreResult,
    Row,
    RowResult,
    StreamSettings,
    chunk_frames,
)
from genlock_worker.engines.readiness import Needs
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.engine_loop import EngineLoop
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionPlan

ROWS = (1, 8, 16)
TURNS = 400
ROUNDS = 5
SIZE = 64


class NullEngine:
    """An Engine whose device takes no time and gives black pictures; it keeps nothing."""

    model = "null"
    devices = 1
    depth = 1
    most_rows: int | None = None
    needs = Needs()
    progress = 0
    memory: EngineMemory | None = None
    strained: bool = False
    warms_each_size: bool = False

    def __init__(self) -> None:
        self._answers: list[Collected] = []
        self._fed: dict[str, int] = {}
        self._frames: Frames = np.zeros((5, SIZE, SIZE, 3), np.uint8)

    def call_when_ready(self, wake: Callable[[], None]) -> None:
        pass

    def session_memory(self, session: str) -> int | None:  # noqa: ARG002
        return None

    def prepare(self, prompt: str) -> None:
        pass

    def open(self, session: str, settings: StreamSettings) -> None:  # noqa: ARG002
        self._fed[session] = -1

    def restore(self, session: str, settings: StreamSettings, state: EngineState) -> None:  # noqa: ARG002
        self._answers.append(RestoreResult(session))

    def close(self, session: str) -> None:
        self._fed.pop(session, None)

    def apply(self, session: str, change: Change) -> None:
        pass

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        self._fed[session] = chunk.index
        return Fed(steps, steps)

    def submit(self, number: int, rows: Sequence[Row]) -> None:
        results = []
        for row in rows:
            pictures: Future[Frames] = Future()
            pictures.set_result(self._frames[: chunk_frames(row.chunk)])
            results.append(RowResult(row, pictures=pictures))
        self._answers.append(BatchResult(number, tuple(results), DeviceSeconds(rows=0.001)))

    def collect(self) -> Sequence[Collected]:
        collected = list(self._answers)
        self._answers.clear()
        return collected

    def snapshot(self, session: str) -> Future[EngineState]:
        state: Future[EngineState] = Future()
        state.set_result(EngineState(self._fed[session], (), {}, {}))
        return state

    def stop(self) -> None:
        pass


class Quiet:
    """A session that listens and does nothing."""

    def generated(self, chunk: GeneratedChunk) -> None:
        pass

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        pass

    def paced(self, every: int) -> None:
        pass

    def memory(self, size_bytes: int | None) -> None:
        pass

    def was_reset(self, reason: str, *, restored: bool) -> None:  # noqa: ARG002
        raise AssertionError(reason)

    def began_anew(self, request: str | None) -> None:
        raise AssertionError(request)

    def gave_up(self, reason: str) -> None:
        raise AssertionError(reason)


def chunk(index: int) -> InputChunk:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    frames = tuple(SourceFrame(SourcePosition(1, 10 * index + n), picture, 0.0) for n in range(chunk_frames(index)))
    return InputChunk(frames, time.monotonic())


async def milliseconds(rows: int) -> float:
    """CPU milliseconds of one turn of the loop with a batch of `rows` rows."""
    loop = EngineLoop(
        NullEngine(),
        clock=SystemClock(),
        cost=CostModel(StepTime(0.0001, 0.0)),
        metrics=WorkerMetrics(CollectorRegistry()),
        loop=asyncio.get_running_loop(),
    )
    loop.thread.tell = lambda callback: callback()  # type: ignore[assignment, method-assign]
    sessions = [f"s{number}" for number in range(rows)]
    settings = StreamSettings("oil", 1, SIZE, SIZE, 16, seed=1, noise_scale=0.7)
    for session in sessions:
        loop.sessions.open(
            SessionPlan(session, "null", settings, 0.5, None), Quiet(), checkpoint=None, opened=lambda _: None
        )

    spent_s = 0.0
    for turn in range(TURNS):
        for session in sessions:
            loop.offer(session, chunk(turn))
        began_s = time.thread_time()
        loop._step()  # noqa: SLF001 - the turn is what is measured
        spent_s += time.thread_time() - began_s
    return 1000 * spent_s / TURNS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the result goes; without it the table is printed")
    target = parser.parse_args().json

    values = {rows: min(asyncio.run(milliseconds(rows)) for _ in range(ROUNDS)) for rows in ROWS}
    one = values[ROWS[0]]
    table = Table(
        title="Host time of a batch, with a device that takes none",
        columns=("rows", "CPU ms per batch", "CPU ms per row", "of a batch of one row"),
        rows=tuple((str(n), f"{ms:.2f}", f"{ms / n:.3f}", f"{ms / one:.1f}x") for n, ms in values.items()),
        note=(
            "The engine loop takes a chunk of every session in, chooses a batch, submits it to an engine that answers "
            "at once, collects it, and hands each session its pictures and its checkpoint. CPU time of that thread, "
            f"the best of {ROUNDS} rounds of {TURNS} batches."
        ),
    )
    series = Series("host CPU per batch", tuple(map(str, values)), tuple(values.values()), "ms")
    if target:
        save(target, [table], [series])
    else:
        print(table.markdown())


if __name__ == "__main__":
    main()
