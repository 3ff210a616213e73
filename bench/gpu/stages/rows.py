"""The network alone: milliseconds of a forward by rows, the host's part of them, by every way to run it."""

import time

from bench.gpu.report import Figure, Report
from bench.gpu.subject import COMPILE, KERNELS, Way, components, row_works
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, free_memory, synchronize, timed
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.execution.forward import Forward, make_forward
from genlock_worker.engines.diffusion.options import ForwardOptions
from genlock_worker.engines.diffusion.streaming.row_work import assemble

EAGER = Way("eager")
ON_A_GPU = (
    Way("compiled", forward=COMPILE),
    Way("triton", load=KERNELS),
    Way("compiled, triton", load=KERNELS, forward=COMPILE),
    Way("compiled, triton, fp8", load={"fp8": True, **KERNELS}, forward=COMPILE),
    Way("compiled, flex", load={"attention": "flex"}, forward=COMPILE),
)
FIRST_FORWARDS = 6
"""Kernels are compiled in these."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """Every way to run a forward, at every size, with every number of rows."""
    for way in (EAGER, *(ON_A_GPU if task.on_gpu else ())):
        free_memory(task.device)
        with report.attempt("rows", way.name):
            parts = components(task, task.model, way.load)
            forward = make_forward(parts.transformer, ForwardOptions(**way.forward))
            for size in task.sizes:
                for count in task.rows:
                    budget.check()
                    _line(task, report, way, parts, forward, size, count)
                    free_memory(task.device)


def _line(task: Task, report: Report, way: Way, parts: Components, forward: Forward, size: Size, count: int) -> None:
    works = row_works(parts, count, size)
    began_s = time.perf_counter()
    for _ in range(FIRST_FORWARDS):
        forward(assemble(works))
    synchronize(task.device)
    first_s = time.perf_counter() - began_s

    took = timed(lambda: forward(assemble(works)), task, warm=1)
    width, height = size
    shape: dict[str, Figure] = {"size": f"{width}x{height}", "rows": count}
    report.line("rows", way.name, {**shape, "host_ms": took.host_ms, "ms": took.ms, "first_six_s": first_s})
