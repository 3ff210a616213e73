"""How the figures of `bench.engine` are shown: what each table compares, and what it does not say."""

from collections.abc import Sequence

import torch

from bench.result import Table

PUBLISHED = {
    ("wan2.1-1.3b", 512, 512): (26.21, 24.02, 21.51, 19.43),
    ("wan2.1-1.3b", 832, 480): (20.47, 17.97, 15.68, 13.95),
    ("wan2.1-14b", 512, 512): (18.71, 13.01, 10.09, 8.26),
    ("wan2.1-14b", 832, 480): (12.68, 8.64, 6.49, 5.28),
}
"""Frames per second of one session at 1 to 4 steps on one H100 (StreamDiffusionV2, arXiv 2511.07399)."""
NOT_MEASURED = "not measured"
CPU_NOTE = (
    "A CPU is bound by arithmetic and this model by its VAE, so that batching can save little here; and on shared "
    "cores a ratio was seen to differ by a third from run to run. Whether batching pays on a GPU these figures "
    "do not say; what it does where the transformer takes the time, the next section shows."
)


def rate_table(rows: Sequence[tuple[str, ...]], *, on_gpu: bool) -> Table:
    where = torch.cuda.get_device_name() if on_gpu else "One CPU thread, its CPU time"
    of_a_cpu = "" if on_gpu else f" {CPU_NOTE}"
    return Table(
        title="Diffusion engine: sessions and steps in one batch",
        columns=(
            "model and size",
            "steps",
            "sessions",
            "plain frames/s",
            "batched frames/s",
            "ratio",
            "chunk p50 ms",
            "plain first frames ms",
            "together ms",
            "ratio",
        ),
        rows=tuple(rows),
        note=(
            f"{where}, torch {torch.__version__}, random weights. Frames per second of all sessions together, VAE "
            "included. Plain: the same network one session after the other, each chunk's steps in sequence with batch "
            "1, then its pictures, without graphs, in the same run. First frames: sessions whose first chunks are "
            "complete at once, until the last of them has its first picture; the camera's 250 ms come on top. One step "
            "of one session is the same work both ways: how far its ratios are from 1 is what the others are uncertain "
            f"by.{of_a_cpu}"
        ),
    )


def published_table(rates: Sequence[tuple[str, ...]], *, on_gpu: bool) -> Table:
    """What was published for each size, and what was measured here of one session."""
    ours = {(row[0], row[1]): row[4] for row in rates if row[2] == "1"}
    where = (
        torch.cuda.get_device_name() if on_gpu else "No GPU was there when this page was written, so ours are missing"
    )
    return Table(
        title="Diffusion engine: beside the published figures",
        columns=("model and size", "whose", *(f"{steps} step{'s' if steps > 1 else ''}" for steps in (1, 2, 3, 4))),
        rows=tuple(
            row
            for (model, width, height), known in PUBLISHED.items()
            for name in (f"{model} {width}x{height}",)
            for row in (
                (name, "published", *(f"{fps:.2f}" for fps in known)),
                ("", "ours", *(ours.get((name, str(steps)), NOT_MEASURED) for steps in (1, 2, 3, 4))),
            )
        ),
        note=(
            "Frames per second of one session at 1 to 4 steps: those of StreamDiffusionV2 (arXiv 2511.07399) on one "
            f"H100 with their own weights, and ours. {where}."
        ),
    )


def switch_table(rows: Sequence[tuple[str, ...]], *, subject: str) -> Table:
    return Table(
        title="Diffusion engine: what each switch is worth",
        columns=("switches", "frames/s", "of all off", "first run s"),
        rows=tuple(rows),
        note=(
            f"{subject}, two sessions of two steps in one batch; the better of two runs. "
            "The first run includes compiling and capturing."
        ),
    )


def restore_table(rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(
        title="Diffusion engine: restoring a session",
        columns=("model and size", "steps", "restore ms", "next chunk ms", "restore / a chunk"),
        rows=tuple(rows),
        note=(
            "From a snapshot in memory to a session that can run, sinks and window rebuilt from their stored inputs; "
            "the baseline is the time that the session's next chunk then takes, row by row. Median of three."
        ),
    )
