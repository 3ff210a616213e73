"""One layer's attention over a full ring: which kernel, and how fast; and the rotation of the keys before it."""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.gpu.report import Report
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, Timed, timed
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions, TransformerConfig
from genlock_worker.engines.diffusion.network.attention import sdpa
from genlock_worker.engines.diffusion.network.rope import Rotations, rotate

DEFAULT = "default"
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def run(task: Task, report: Report, budget: Budget) -> None:
    """Every kernel of PyTorch at every size, for as many calls as the model has layers."""
    config = MODELS[task.model].transformer
    layout = StreamOptions().ring
    for size in task.sizes:
        for name in (DEFAULT, *(KERNELS if task.on_gpu else ())):
            budget.check()
            with report.attempt("attention", name):
                _attended(task, report, config, layout, size, name)
        with report.attempt("attention", "rotation"):
            _rotated(task, report, config, layout, size)


def _attended(task: Task, report: Report, config: TransformerConfig, layout: RingLayout, size: Size, name: str) -> None:
    width, height = size
    tokens = config.frame_tokens(height, width)
    queries = _heads(task, config, tokens)
    keys = _heads(task, config, layout.slots * tokens)
    values = _heads(task, config, layout.slots * tokens)

    def layers() -> None:
        for _ in range(config.layers):
            sdpa(queries, keys, values)

    try:
        with contextlib.nullcontext() if name == DEFAULT else sdpa_kernel(KERNELS[name]):
            took = _replayed(layers, task) if task.on_gpu else timed(layers, task)
    except RuntimeError as refusal:  # a kernel that does not take these
        report.line("attention", name, {"size": f"{width}x{height}", "lacks": str(refusal).strip().splitlines()[0]})
        return
    operations = 4 * tokens * layout.slots * tokens * config.dim * config.layers
    figures = {"ms_of_all_layers": took.ms, "tflops": operations / took.ms / 1e9}
    report.line("attention", name, {"size": f"{width}x{height}", **figures})


def _rotated(task: Task, report: Report, config: TransformerConfig, layout: RingLayout, size: Size) -> None:
    width, height = size
    tokens = layout.slots * config.frame_tokens(height, width)
    keys = _heads(task, config, tokens)
    by = Rotations(*(torch.rand(tokens, 1, config.head_dim // 2, device=task.device) for _ in range(2)))
    ways = {"rotation": rotate}
    if task.on_gpu:
        ways["rotation, compiled"] = torch.compile(rotate, dynamic=True)
    for name, way in ways.items():
        took = timed(_repeated(way, keys, by, config.layers), task)
        report.line("attention", name, {"size": f"{width}x{height}", "ms_of_all_layers": took.ms})


def _repeated(
    rotated: Callable[[Tensor, Rotations], Tensor], keys: Tensor, by: Rotations, times: int
) -> Callable[[], None]:
    def work() -> None:
        for _ in range(times):
            rotated(keys, by)

    return work


def _replayed(work: Callable[[], None], task: Task) -> Timed:
    """As a CUDA graph, so that launches do not count."""
    work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return timed(graph.replay, task)


def _heads(task: Task, config: TransformerConfig, tokens: int) -> Tensor:
    return torch.randn(tokens, config.heads, config.head_dim, device=task.device, dtype=task.dtype)
