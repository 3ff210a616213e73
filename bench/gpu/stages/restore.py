"""A snapshot of a stream in full flow and its restoration: how long they take, and whether the sinks are the same."""

import time

from bench.gpu.report import Report
from bench.gpu.subject import OneStream, Way, engine
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, free_memory, synchronize
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.streams import opened

STEPS = 2
CHUNKS = 8
"""The ring is full before the snapshot."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """At every size; the session goes on afterwards, so that a restored one is known to run."""
    free_memory(task.device)
    one = engine(task, Way("defaults"))
    try:
        for size in task.sizes:
            budget.check()
            with report.attempt("restore", f"{size[0]}x{size[1]}"):
                _line(task, report, one, size)
    finally:
        one.stop()


def _line(task: Task, report: Report, one: DiffusionEngine, size: Size) -> None:
    width, height = size
    combination = Combination(width, height, STEPS, 1)
    driven = Stepwise(one)
    with opened(driven, combination) as sessions:
        ((session, settings),) = sessions.items()
        stream = OneStream(driven, session, combination)
        stream.first_chunk()
        for _ in range(CHUNKS):
            stream.micro_step()
        stream.wait()

        began_s = time.perf_counter()
        state = driven.snapshot(session)
        snapshot_s = time.perf_counter() - began_s
        driven.close(session)

        began_s = time.perf_counter()
        driven.restore(session, settings, state)
        synchronize(task.device)
        restore_s = time.perf_counter() - began_s

        again = driven.snapshot(session)
        stream.micro_step()
        stream.wait()
        figures = {"restore_s": restore_s, "snapshot_ms": snapshot_s * 1000}
        is_same = bool(state.sink_digest) and again.sink_digests == state.sink_digests
        report.line("restore", f"{combination}", {**figures, "same_sinks": is_same})
        if not is_same:
            raise SinksLost(f"{combination}: {again.sink_digests} after {state.sink_digests}")


class SinksLost(Exception):
    """A restored session has other sinks than the snapshot."""
