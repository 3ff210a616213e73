"""Kernels of our own: whether they compute what was recorded, and whether they launch what they say.

What is recorded is float32 and small. The true network in the dtype of use has no recording: there, ours must be as
near to float32 as PyTorch's operations are.
"""

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
from bench.gpu.stages.parity import judge, relative, widened, words
from bench.gpu.subject import KERNELS, Way, components, row_works
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, free_memory, synchronize
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.config import MODELS, TransformerConfig
from genlock_worker.engines.diffusion.network import kernels
from genlock_worker.engines.diffusion.network.kernels import choice
from genlock_worker.engines.diffusion.network.kernels.declared import NAMESPACE
from genlock_worker.engines.diffusion.network.pointwise import Pointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.streaming.row_work import assemble
from genlock_worker.engines.diffusion.weights import skeletons
from tests.worker.engines.diffusion import recorded

MOST_FURTHER = 1.5
"""How many times as far from float32 ours may be. The order of sums differs, and where products are rounded."""
FLOAT32_GAP = 1e-5
"""Relative: how far apart the two may be in float32 itself."""
WAYS = (Way("torch"), Way("triton", load=KERNELS))


class FartherThanPytorch(Exception):
    """Our kernels lose more than PyTorch's operations do."""


class NotAsDeclared(Exception):
    """Kernels of ours ran another number of times than they say."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """The recorded streams; the true network; a forward's launches by count and, on a GPU, as the profiler saw them."""
    with report.attempt("kernels", "recordings, triton"):
        ops, pointwise = _ours(task, recorded.CONFIG, torch.float32)
        deviations = replay.deviations(task.device, torch.float32, ops=ops, pointwise=pointwise)
        for played, worst in deviations.items():
            report.line("kernels", f"{played}, triton", dict(sorted(worst.items())))
        judge(max(gap for worst in deviations.values() for gap in worst.values()), torch.float32)

    with report.attempt("kernels", "the true network, triton"):
        budget.check()
        _beside_pytorch(task, report)

    for way in WAYS:
        free_memory(task.device)
        with report.attempt("kernels", f"launches, {way.name}"):
            parts = components(task, task.model, way.load)
            for count in task.rows:
                budget.check()
                _launches(task, report, way, parts, count)


def _ours(task: Task, config: TransformerConfig, dtype: torch.dtype) -> tuple[RingOps, Pointwise]:
    """Raises KernelsMissing."""
    ops = choice.ring_ops("triton", "auto", config, device=task.device, dtype=dtype)
    return ops, choice.pointwise("triton", config, device=task.device)


def _beside_pytorch(task: Task, report: Report) -> None:
    """Two rows through the same weights, each way beside float32."""
    ops, pointwise = _ours(task, MODELS[task.model].transformer, task.dtype)
    parts = components(task, task.model)
    plain = parts.transformer
    ours = skeletons.transformer(plain.config, layout=plain.layout, ops=ops, pointwise=pointwise)
    ours.load_state_dict(plain.state_dict(), assign=True)

    works = [row_works(parts, 2, size) for size in task.sizes]
    flows = [(ours(assemble(some)).flow, plain(assemble(some)).flow) for some in works]
    wide = plain.float()
    for (width, height), some, (mine, theirs) in zip(task.sizes, works, flows, strict=True):
        exact = wide(assemble(widened(some))).flow
        gaps = relative(mine, exact), relative(theirs, exact)
        figures: dict[str, Figure] = {"size": f"{width}x{height}", "relative": gaps[0], "relative_of_torch": gaps[1]}
        report.line("kernels", f"{words(task.dtype)} against float32, triton", figures)
        if not gaps[0] <= MOST_FURTHER * gaps[1] + FLOAT32_GAP:
            raise FartherThanPytorch(f"{gaps[0]:.1e} from float32, PyTorch's operations {gaps[1]:.1e}")


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
