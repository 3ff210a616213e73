"""Whether the figures are right: the recordings of the tests on this device, and the true network beside itself.

What is recorded is float32, so TF32 is off. In bfloat16 the same replay says how far rounding alone goes.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from bench.gpu import replay
from bench.gpu.report import Report
from bench.gpu.subject import components, row_works
from bench.gpu.task import Task
from bench.gpu.timing import Budget, free_memory
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.streaming.row_work import RowWork, assemble
from tests.worker.engines.diffusion import recorded, recorded_vae


class NotAsRecorded(Exception):
    """In float32 this device gives something else than what was recorded."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """The recorded streams and VAE in float32 and, on a GPU, in bfloat16; then rows together against each alone."""
    for dtype in (torch.float32, torch.bfloat16) if task.on_gpu else (torch.float32,):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            with report.attempt("parity", f"streams in {words(dtype)}"):
                _streams(task, report, dtype)
            budget.check()
            with report.attempt("parity", f"VAE in {words(dtype)}"):
                _vae(task, report, dtype)
            budget.check()
    with report.attempt("parity", "the true network"):
        _true_network(task, report)
    free_memory(task.device)


def _streams(task: Task, report: Report, dtype: torch.dtype) -> None:
    deviations = replay.deviations(task.device, dtype)
    for played, worst in deviations.items():
        report.line("parity", f"{played}, {words(dtype)}", dict(sorted(worst.items())))
    judge(max(gap for worst in deviations.values() for gap in worst.values()), dtype)


def _vae(task: Task, report: Report, dtype: torch.dtype) -> None:
    worst = {
        "latents": recorded_vae.latent_deviation(task.device, dtype),
        "frames": recorded_vae.frame_deviation(task.device, dtype),
    }
    report.line("parity", f"VAE, {words(dtype)}", worst)
    judge(max(worst.values()), dtype)


def judge(worst: float, dtype: torch.dtype) -> None:
    """Raise NotAsRecorded for a deviation that float32 does not explain."""
    if dtype == torch.float32 and not worst < recorded.TOLERANCE:
        raise NotAsRecorded(f"the largest deviation is {worst:.2e}; at most {recorded.TOLERANCE:g} is allowed")


def _true_network(task: Task, report: Report) -> None:
    # A kernel that takes both types.
    parts = components(task, task.model, {"attention": "sdpa"})
    works = row_works(parts, 2, task.sizes[0])
    together = parts.transformer(assemble(works)).flow.float()
    alone = torch.cat([parts.transformer(assemble([work])).flow.float() for work in works])
    gap = {"relative": relative(together, alone)}
    report.line("parity", f"two rows together against each alone, {words(task.dtype)}", gap)

    # On a CPU both would be float32.
    if task.on_gpu:
        wide = parts.transformer.float()
        full = wide(assemble(widened(works))).flow
        report.line("parity", "bfloat16 against float32", {"relative": relative(together, full)})


def widened(works: Sequence[RowWork]) -> list[RowWork]:
    """The same rows over pools in float32."""
    pool, texts = works[0].ring.pool, works[0].text.pool
    rings = KvPool(pool.config, device=pool.device, dtype=torch.float32)
    rings.keys, rings.values, rings.means = pool.keys.float(), pool.values.float(), pool.means
    prompts = TextPool(texts.config, device=texts.device, dtype=torch.float32)
    return [
        replace(
            work,
            hidden=work.hidden.float(),
            ring=replace(work.ring, pool=rings),
            text=prompts.put(work.text.keys.float(), work.text.values.float()),
        )
        for work in works
    ]


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """How far one is from the other, of its own size."""
    return float((ours - theirs).norm() / theirs.norm())


def words(dtype: torch.dtype) -> str:
    """`bfloat16`."""
    return str(dtype).removeprefix("torch.")
