"""What the host pays for a batch: the engine loop over a null device, which answers at once and computes nothing.

One session for each row (1, 8, 16), each of one step, always with a chunk that waits: so every turn of the loop takes
chunks in, chooses a batch, submits it, collects it, and tells every session. CPU time of the loop's thread, which a
busy machine does not falsify. A device that is to be kept busy needs a batch every few milliseconds.

Twice: with an engine that keeps nothing, which is the loop alone, and with the diffusion engine over a null device.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
from prometheus_client import CollectorRegistry

from bench.null_device import null_engine
from bench.result import Series, Table, save
from genlock_core.clock import SystemClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import (
    BatchResult,
    CapturedGraphs,
    Change,
    Chunk,
    Collected,
    DeviceSeconds,
    Engine,
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
ENGINE_TURNS = 40
WARM = 8
"""Turns until rings are full."""
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

    def capture_graphs(self, sizes: Sequence[Resolution], tell: Callable[[str], None]) -> CapturedGraphs:  # noqa: ARG002
        return CapturedGraphs()

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
    """A session that listens and only counts."""

    def __init__(self) -> None:
        self.chunks = 0

    def generated(self, chunk: GeneratedChunk) -> None:  # noqa: ARG002
        self.chunks += 1

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


class Turns:
    """A loop with `rows` sessions of one step each: a turn makes one chunk of every one of them."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self._loop = EngineLoop(
            engine,
            clock=SystemClock(),
            cost=CostModel(StepTime(0.0001, 0.0)),
            metrics=WorkerMetrics(CollectorRegistry()),
            loop=asyncio.get_running_loop(),
        )
        self._loop.thread.tell = lambda callback: callback()  # type: ignore[assignment, method-assign]
        self._listeners = {f"s{number}": Quiet() for number in range(rows)}
        settings = StreamSettings("oil", 1, SIZE, SIZE, 16, seed=1, noise_scale=0.7)
        for session, listener in self._listeners.items():
            plan = SessionPlan(session, engine.model, settings, 0.5, None)
            self._loop.sessions.open(plan, listener, checkpoint=None, opened=lambda _: None)
        self._turn = 0

    def offer(self) -> None:
        """A chunk of every session waits."""
        for session in self._listeners:
            self._loop.offer(session, chunk(self._turn))
        self._turn += 1

    def take(self) -> None:
        """As many turns of the loop as it takes until all chunks are there."""
        while any(listener.chunks < self._turn for listener in self._listeners.values()):
            self._loop._step()  # noqa: SLF001 - the turn is what is measured


async def milliseconds(make: Callable[[], Engine], rows: int, turns: int) -> float:
    """CPU milliseconds of one turn of the loop with a batch of `rows` rows."""
    engine = make()
    loop = Turns(engine, rows)
    # The first chunks are longer, and fill rings.
    for _ in range(WARM):
        loop.offer()
        loop.take()

    spent_s = 0.0
    for _ in range(turns):
        loop.offer()
        began_s = time.thread_time()
        loop.take()
        spent_s += time.thread_time() - began_s
    engine.stop()
    return 1000 * spent_s / turns


def measured(make: Callable[[], Engine], turns: int) -> dict[int, float]:
    """Milliseconds by rows, the best of some rounds."""
    return {rows: min(asyncio.run(milliseconds(make, rows, turns)) for _ in range(ROUNDS)) for rows in ROWS}


def table(title: str, values: Mapping[int, float], note: str) -> Table:
    one = values[ROWS[0]]
    return Table(
        title=title,
        columns=("rows", "CPU ms per batch", "CPU ms per row", "of a batch of one row"),
        rows=tuple((str(n), f"{ms:.2f}", f"{ms / n:.3f}", f"{ms / one:.1f}x") for n, ms in values.items()),
        note=note,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the result goes; without it the tables are printed")
    target = parser.parse_args().json

    loop = measured(NullEngine, TURNS)
    torch.set_num_threads(1)
    engine = measured(lambda: null_engine(SystemClock()), ENGINE_TURNS)
    tables = [
        table(
            "Host time of a batch, with a device that takes none",
            loop,
            "The engine loop takes a chunk of every session in, chooses a batch, submits it to an engine that answers "
            "at once, collects it, and hands each session its pictures and its checkpoint. CPU time of that thread, "
            f"the best of {ROUNDS} rounds of {TURNS} batches.",
        ),
        table(
            "Host time of a batch, with the diffusion engine over a device that takes none",
            engine,
            "The same loop with the diffusion engine, whose forward, encoder and decoder answer at once with zeros: "
            f"pictures of {SIZE}x{SIZE}, one step, a snapshot after each chunk. What is left is what Python costs, the "
            f"launching of a forward's own kernels not in it. The best of {ROUNDS} rounds of {ENGINE_TURNS} batches.",
        ),
    ]
    plots = [
        Series("host CPU per batch", tuple(map(str, loop)), tuple(loop.values()), "ms"),
        Series("host CPU per batch, diffusion engine", tuple(map(str, engine)), tuple(engine.values()), "ms"),
    ]
    if target:
        save(target, tables, plots)
    else:
        print("\n".join(one.markdown() for one in tables))


if __name__ == "__main__":
    main()
