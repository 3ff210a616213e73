"""A report of a run on a card that nobody has, and a row of what was measured there."""

from pathlib import Path

from bench.gpu.receipt import Receipt
from bench.gpu.report import Report
from genlock_core.clock import Clock, ManualClock
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.engines import Coders
from genlock_worker.profiling.measure import Measurement
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.rows import row_of

RECEIPT = Receipt(
    command="run --only streams",
    commit="0123456789ab",
    began="2026-11-28T05:19:30+00:00",
    card="NVIDIA H100 80GB HBM3",
    driver="580.1, 1980 MHz, 700 W",
    versions={"torch": "2.11.0"},
)


def report(folder: Path, clock: Clock | None = None) -> Report:
    return Report(folder, RECEIPT, clock or ManualClock())


def row(steps: int = 2) -> ProfileRow:
    measured = Measurement(
        Combination(512, 512, steps, 1),
        micro_step_ms=20.0,
        fps_per_session=24.02,
        latencies_ms=(150.0, 160.0),
        first_frame_ms=500.0,
        bytes_per_session=3_000_000_000,
        bytes_resident=9_000_000_000,
    )
    return row_of(
        measured,
        engine="diffusion",
        coders=Coders(),
        model="wan2.1-1.3b",
        gpu_product=RECEIPT.product,
        gpus=1,
        source=RECEIPT.short,
    )
