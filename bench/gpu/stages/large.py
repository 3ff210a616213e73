"""The large model: its network alone, by rows."""

from bench.gpu.report import Report
from bench.gpu.subject import components, row_works
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, Timed, free_memory, timed
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.streaming.row_work import assemble


def run(task: Task, report: Report, budget: Budget) -> None:
    """Forwards without any switch, at every size."""
    free_memory(task.device)
    parts = components(task, task.large_model)
    for width, height in task.sizes:
        for count in task.large_rows:
            budget.check()
            took = _forward(task, parts, (width, height), count)
            figures = {"rows": count, "host_ms": took.host_ms, "ms": took.ms}
            report.line("large", f"{task.large_model} eager", {"size": f"{width}x{height}", **figures})
            free_memory(task.device)


def _forward(task: Task, parts: Components, size: Size, count: int) -> Timed:
    batch = assemble(row_works(parts, count, size))
    return timed(lambda: parts.transformer(batch), task, warm=2)
