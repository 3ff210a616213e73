"""Which kernels take the time of a micro-step, and how many launches it has."""

import gzip

from torch.profiler import ProfilerActivity
from torch.profiler import profile as record

from bench.gpu.report import Report
from bench.gpu.subject import OneStream, Way, engine
from bench.gpu.task import Task
from bench.gpu.timing import Budget, free_memory, synchronize
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.streams import opened

STEPS = 2
WARM = 8
RECORDED = 3
KERNELS = 30
"""Lines of the table."""
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")


def run(task: Task, report: Report, budget: Budget) -> None:
    """Three micro-steps of a session of two steps; the table of kernels and a trace lie beside the results."""
    free_memory(task.device)
    width, height = task.sizes[0]
    combination = Combination(width, height, STEPS, 1)
    one = engine(task, Way("defaults"))
    try:
        driven = Stepwise(one)
        with opened(driven, combination) as sessions:
            (session,) = sessions
            stream = OneStream(driven, session, combination)
            stream.first_chunk()
            for _ in range(WARM):
                stream.micro_step()
            stream.wait()
            budget.check()
            _record(task, report, stream)
    finally:
        one.stop()


def _record(task: Task, report: Report, stream: OneStream) -> None:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if task.on_gpu else [])]
    with record(activities=activities) as trace:
        for _ in range(RECORDED):
            stream.micro_step()
        stream.wait()
        synchronize(task.device)

    events = trace.key_averages()
    order = "self_device_time_total" if task.on_gpu else "self_cpu_time_total"
    table = events.table(sort_by=order, row_limit=KERNELS, max_name_column_width=70)
    report.attach("kernels.txt", table)
    launches = sum(event.count for event in events if event.key in LAUNCHES)
    report.line("profile", "a micro-step of 2 rows", {"launches": launches / RECORDED})

    # The trace is large; a browser's trace viewer opens it compressed.
    raw = report.attach("trace.json", "")
    trace.export_chrome_trace(str(raw))
    with gzip.open(raw.with_suffix(".json.gz"), "wb") as packed:
        packed.write(raw.read_bytes())
    raw.unlink()
