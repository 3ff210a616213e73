"""Kernels of our own: whether they compute what was recorded, and whether they launch what they say."""

import importlib
import pkgutil
from collections import Counter

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]  # the library's own name for it
from torch.profiler import ProfilerActivity
from torch.profiler import profile as record

from bench.counted.counter import counted
from bench.engine_rows import Pools, session_row
from bench.gpu import replay
from bench.gpu.report import Figure, Report
from bench.gpu.stages.parity import judge
from bench.gpu.subject import KERNELS, Way, components, row_works
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, free_memory, synchronize
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.network import kernels
from genlock_worker.engines.diffusion.network.kernels import choice
from genlock_worker.engines.diffusion.network.kernels.declared import NAMESPACE
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.streaming.row_work import assemble
from tests.worker.engines.diffusion import recorded

WAYS = (Way("torch"), Way("triton", load=KERNELS))


class NotAsDeclared(Exception):
    """Kernels of ours ran another number of times than they say."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """The recorded streams in float32; then a forward's launches by count and, on a GPU, as the profiler saw them."""
    with report.attempt("kernels", "recordings, triton"):
        ops = choice.ring_ops("triton", "auto", recorded.CONFIG, device=task.device, dtype=torch.float32)
        deviations = replay.deviations(task.device, torch.float32, ops=ops)
        for played, worst in deviations.items():
            report.line("kernels", f"{played}, triton", dict(sorted(worst.items())))
        judge(max(gap for worst in deviations.values() for gap in worst.values()), torch.float32)

    for way in WAYS:
        free_memory(task.device)
        with report.attempt("kernels", f"launches, {way.name}"):
            parts = components(task, task.model, way.load)
            for count in task.rows:
                budget.check()
                _launches(task, report, way, parts, count)


def _launches(task: Task, report: Report, way: Way, parts: Components, count: int) -> None:
    size = task.sizes[0]
    by_name = _counted(parts.transformer, size, count)
    declared = sum(kernels for name, kernels in by_name.items() if name.startswith(f"{NAMESPACE}::"))
    figures: dict[str, Figure] = {"rows": count, "counted": sum(by_name.values()), "declared": declared}
    seen = _seen(task, parts, size, count) if task.on_gpu else None
    if seen is not None:
        ours = sum(times for name, times in seen.items() if name in _own_kernels())
        figures |= {"seen": sum(seen.values()), "seen_of_ours": ours}
    report.line("kernels", f"launches of a forward, {way.name}", figures)
    if seen is not None and figures["seen_of_ours"] != declared:
        raise NotAsDeclared(f"{declared} launches of our kernels are declared: {figures}")


def _counted(model: CausalWan, size: Size, count: int) -> Counter[str]:
    """Launches by operation, on tensors without memory."""
    with torch.device("meta"):
        twin = CausalWan(model.config, layout=model.layout, ops=model.ops, pointwise=model.pointwise)
    twin.to(model.patch_embedding.weight.dtype)
    width, height = size
    pools = Pools.of(twin)
    batch = assemble([session_row(twin, pools, number, width=width, height=height) for number in range(count)])
    with counted() as tally:
        twin(batch)
    return tally.kernels_by_name()


def _seen(task: Task, parts: Components, size: Size, count: int) -> Counter[str]:
    """Kernels by name, as the device ran them. Copies are none."""
    batch = assemble(row_works(parts, count, size))
    parts.transformer(batch)
    synchronize(task.device)
    with record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        parts.transformer(batch)
        synchronize(task.device)
    ran = (event for event in trace.events() or () if event.device_type == DeviceType.CUDA)
    return Counter(event.name for event in ran if not event.name.startswith(("Memcpy", "Memset")))


def _own_kernels() -> set[str]:
    """The names of all that Triton compiles of ours."""
    modules = pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}.")
    parts = [vars(importlib.import_module(one.name)) for one in modules]
    return {name for part in parts for name, value in part.items() if type(value).__name__ == "JITFunction"}
