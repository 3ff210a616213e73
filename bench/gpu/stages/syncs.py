"""Whether the host waits for the device where it should only queue work: a wait leaves the card idle."""

from collections.abc import Callable

from bench.gpu.report import Report
from bench.gpu.subject import components, frames, latents, row_works
from bench.gpu.task import Task
from bench.gpu.timing import Budget, free_memory
from genlock_worker.engines.diffusion.streaming.row_work import assemble
from tests.worker.engines.diffusion.sync_check import no_host_sync

WORDS = 200
"""Characters of what the check says."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """Assembling a batch, a forward, the VAE both ways; each ran once before, as the first call may wait."""
    parts = components(task, task.model)
    size = task.sizes[0]
    works = row_works(parts, 2, size)
    batch = assemble(works)
    stream = parts.vae.open()
    first = frames(task, 5, size)
    later = frames(task, 4, size)
    two = latents(task, 2, size)
    one = latents(task, 1, size)
    parts.vae.encode(stream, first)
    parts.vae.decode(stream, two)

    pieces: dict[str, Callable[[], object]] = {
        "assemble": lambda: assemble(works),
        "forward": lambda: parts.transformer(batch),
        "encode": lambda: parts.vae.encode(stream, later),
        "decode": lambda: parts.vae.decode(stream, one),
    }
    for name, work in pieces.items():
        budget.check()
        with report.attempt("syncs", name):
            work()
            _line(task, report, name, work)
    free_memory(task.device)


def _line(task: Task, report: Report, name: str, work: Callable[[], object]) -> None:
    try:
        with no_host_sync(task.device):
            work()
    except RuntimeError as wait:
        report.line("syncs", name, {"waits": True, "where": str(wait)[:WORDS]})
    else:
        report.line("syncs", name, {"waits": False})
