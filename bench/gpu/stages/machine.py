"""What the machine itself can do: figures that every other one is read beside."""

from statistics import median

import numpy as np
import torch

from bench.gpu.report import Figure, Report
from bench.gpu.task import Task
from bench.gpu.timing import Budget, Timed, timed
from genlock_core.clock import SystemClock

COPIED_BYTES = 2**30
SIDE = 8192
"""Of the matrices that are multiplied."""
CHUNK_PICTURES = (4, 480, 832, 3)
ENCODED_PICTURES = 30


def run(task: Task, report: Report, _: Budget) -> None:
    """Copies, a multiplication and an upload on the card; an encoder on the processor."""
    report.line("machine", "receipt", {**report.receipt.versions, "card": report.receipt.card})
    if task.on_gpu:
        report.line("machine", "card", {"driver": report.receipt.driver, **_card(task)})
    with report.attempt("machine", "encoder"):
        report.line("machine", "encoder", _encoder())


def _card(task: Task) -> dict[str, Figure]:
    free_bytes, _ = torch.cuda.mem_get_info(task.device)
    return {
        "free_gib": round(free_bytes / 2**30, 1),
        "copy_tb_per_s": _tera(2 * COPIED_BYTES, _copied(task)),
        "bf16_tflops": _tera(2 * SIDE**3, _multiplied(task)),
        "upload_480p_chunk_ms": _uploaded(task).ms,
    }


def _copied(task: Task) -> Timed:
    """Within the card's memory: every byte is read and written."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=task.device).random_()
    target = torch.empty_like(source)
    return timed(lambda: target.copy_(source), task)


def _multiplied(task: Task) -> Timed:
    left, right = (torch.randn(SIDE, SIDE, device=task.device, dtype=torch.bfloat16) for _ in range(2))
    return timed(lambda: left @ right, task)


def _uploaded(task: Task) -> Timed:
    pinned = torch.empty(CHUNK_PICTURES, dtype=torch.uint8, pin_memory=True)
    return timed(lambda: pinned.to(task.device, non_blocking=True), task)


def _tera(work: float, took: Timed) -> float:
    return work / took.ms / 1e9


def _encoder() -> dict[str, Figure]:
    """Milliseconds of a picture at 480p; H100 and H200 have no NVENC."""
    # Only here: a machine without PyAV measures everything else.
    try:
        from genlock_worker.output.encode import AvEncoder, EncoderSettings, choose_h264
    except ModuleNotFoundError as missing:
        return {"lacks": f"{missing.name} (pack it with --encoder)"}

    _, height, width, _ = CHUNK_PICTURES
    name = choose_h264()
    encoder = AvEncoder(name, EncoderSettings(width=width, height=height, frame_rate=16, bitrate=1_500_000))
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    clock = SystemClock()
    times_ms = []
    for number in range(ENCODED_PICTURES):
        moved = np.roll(picture, number, axis=1)
        began_s = clock.monotonic()
        encoder.encode(moved, capture_us=number, idr=False)
        times_ms.append((clock.monotonic() - began_s) * 1000)
    return {"name": name, "ms": median(times_ms)}
