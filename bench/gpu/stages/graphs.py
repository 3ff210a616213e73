"""Forwards as CUDA graphs: whether they give what plain ones give, what they save, and what they take.

On a CPU the tests' stand-in captures, over the tests' static operations: all but CUDA's own part is tried there.
"""

import time

from torch import Tensor

from bench.gpu.report import Figure, Report
from bench.gpu.subject import KERNELS, components, row_works
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, free_memory, timed
from genlock_core.spec.session import Resolution
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.execution.capture import CudaCapture
from genlock_worker.engines.diffusion.execution.capturing import capture_all, graph_bytes
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.streaming.row_work import assemble
from tests.worker.engines.diffusion.repeated_capture import RepeatedCapture
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps

MOST_GAP = 0.02
"""Relative, of the flow: rows that fill a batch change the shapes of products, and with them how sums are rounded."""


class NotAsPlain(Exception):
    """A replayed forward gives something else than the same forward launched kernel by kernel."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """Captured at every size; then forwards that fill a graph and some that do not, beside the same as they are."""
    free_memory(task.device)
    parts = components(task, task.model, KERNELS if task.on_gpu else None)
    if not task.on_gpu:
        parts.transformer.ops = StaticRingOps()
    for width, height in task.sizes:
        forward = GraphForward(parts.transformer, CudaCapture(task.device) if task.on_gpu else RepeatedCapture())
        with report.attempt("graphs", f"{width}x{height}"):
            _size(task, report, budget, parts, forward, (width, height))
        del forward
        free_memory(task.device)


def _size(task: Task, report: Report, budget: Budget, parts: Components, forward: GraphForward, size: Size) -> None:
    # The pools have grown as far as they will before anything is captured.
    works = row_works(parts, max(task.graph_rows), size)
    width, height = size
    where: dict[str, Figure] = {"size": f"{width}x{height}"}
    sizes = [Resolution(width=width, height=height)]

    began_s = time.perf_counter()
    pool, texts = works[0].ring.pool, works[0].text.pool
    captured = capture_all(forward, sizes, pool=pool, text_pool=texts, tell=lambda _: budget.check())
    took: dict[str, Figure] = {"seconds": time.perf_counter() - began_s, "graphs": captured.count}
    took |= {"mib": captured.bytes / 2**20, "set_aside_mib": graph_bytes(parts.transformer, sizes) / 2**20}
    report.line("graphs", "captured", {**where, **took, **({"lacks": str(captured.lacks)} if captured.lacks else {})})

    for count in task.graph_rows:
        budget.check()
        batch = assemble(works[:count])
        plain = parts.transformer(batch).flow.clone()
        replayed = forward.replayed
        gap = _relative(forward(batch).flow, plain)

        launched = timed(lambda batch=batch: parts.transformer(batch), task)  # type: ignore[misc]
        repeated = timed(lambda batch=batch: forward(batch), task)  # type: ignore[misc]
        figures: dict[str, Figure] = {"rows": count, "relative": gap, "is_replayed": forward.replayed > replayed}
        figures |= {"ms": repeated.ms, "host_ms": repeated.host_ms}
        figures |= {"plain_ms": launched.ms, "plain_host_ms": launched.host_ms}
        report.line("graphs", "a forward", {**where, **figures})
        if not gap < MOST_GAP:
            raise NotAsPlain(f"{count} rows of {width}x{height} are off by {gap:.1e}")


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())
