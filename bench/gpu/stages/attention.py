"""All layers' attention over a full ring: PyTorch's kernels alone, and what is done with a row's ring in all.

That is the write of a new frame (norms, rotation, scatter, means), then its reading, which turns the sinks in PyTorch's
operations, and the prompt's.
"""

import contextlib
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench import engine_rows
from bench.gpu.report import Report
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, Timed, timed
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions, TransformerConfig
from genlock_worker.engines.diffusion.network.attention import sdpa
from genlock_worker.engines.diffusion.network.kernels import choice
from genlock_worker.engines.diffusion.network.ring_ops import RingOps, TorchRingOps
from genlock_worker.engines.diffusion.network.transformer import Block, CausalWan
from genlock_worker.engines.diffusion.streaming.row_work import assemble

DEFAULT = "default"
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
TORCH = "torch"
ON_A_GPU = ("torch, compiled", "triton")


def run(task: Task, report: Report, budget: Budget) -> None:
    """Every kernel of PyTorch at every size, for as many calls as the model has layers; then each `RingOps`."""
    config = MODELS[task.model].transformer
    layout = StreamOptions().ring
    for size in task.sizes:
        for name in (DEFAULT, *(KERNELS if task.on_gpu else ())):
            budget.check()
            with report.attempt("attention", name):
                _attended(task, report, config, layout, size, name)

    network = engine_rows.network(task.model, device=task.device, dtype=task.dtype)
    for name in (TORCH, *(ON_A_GPU if task.on_gpu else ())):
        with report.attempt("attention", name):
            ops = _ring_ops(task, config, name)
            for size in task.sizes:
                budget.check()
                _ring(task, report, network, ops, size, name)


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


def _ring_ops(task: Task, config: TransformerConfig, name: str) -> RingOps:
    """Raises KernelsMissing."""
    kernels, _, is_compiled = name.partition(", ")
    ops = choice.ring_ops(kernels, "auto", config, device=task.device, dtype=task.dtype)
    if is_compiled and isinstance(ops, TorchRingOps):
        ops.normed = torch.compile(ops.normed, dynamic=True)
    return ops


def _ring(task: Task, report: Report, network: CausalWan, ops: RingOps, size: Size, name: str) -> None:
    """One row, whose sinks stand nearer to it than its index says."""
    width, height = size
    config, pools = network.config, engine_rows.Pools.of(network)
    batch = assemble([engine_rows.session_row(network, pools, 0, width=width, height=height)])
    blocks = cast("list[Block]", list(network.blocks))
    q, k, v = torch.randn(
        3, 1, config.frame_tokens(height, width), config.dim, device=task.device, dtype=task.dtype
    ).unbind()
    high, wide = (side // config.patch for side in batch.hidden.shape[-2:])
    grid = high, wide

    def write() -> None:
        forward = ops.enter(batch, grid=grid, sinks=network.layout.sinks)
        for layer, block in enumerate(blocks):
            forward.write(layer, q, k, v, block.self_attn)

    forward = ops.enter(batch, grid=grid, sinks=network.layout.sinks)
    queries = forward.write(0, q, k, v, blocks[0].self_attn)

    def read() -> None:
        for layer in range(config.layers):
            forward.attend(layer, queries)

    def read_prompt() -> None:
        for layer, block in enumerate(blocks):
            forward.attend_to_prompt(layer, q, block.cross_attn)

    pieces: dict[str, Callable[[], None]] = {"write": write, "read": read, "prompt": read_prompt}
    for piece, work in pieces.items():
        took = timed(work, task)
        figures = {"ms_of_all_layers": took.ms, "host_ms": took.host_ms}
        report.line("attention", f"{piece}, {name}", {"size": f"{width}x{height}", **figures})


def _replayed(work: Callable[[], None], task: Task) -> Timed:
    """As a CUDA graph, so that launches do not count."""
    work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return timed(graph.replay, task)


def _heads(task: Task, config: TransformerConfig, tokens: int) -> Tensor:
    return torch.randn(tokens, config.heads, config.head_dim, device=task.device, dtype=task.dtype)
