"""What decoding beside the next forwards is worth: the engine with and without it, by the clock, in turns.

On a CPU the decoder's thread needs a core that nobody else uses: with one core alone the ratio is 1.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

from bench.engine import PLAIN, subject_of
from bench.result import Series, Table, save
from genlock_cli.profile import Subject
from genlock_core.clock import SystemClock
from genlock_worker.profiling.measure import Effort, measure
from genlock_worker.profiling.plan import Combination

TURNS = 5
EFFORT = Effort(seconds=2.0, chunks=8, warm=6)
STEPS_AND_SESSIONS = ((1, 1), (2, 1), (4, 1), (2, 2), (4, 4))


def compared(subjects: dict[str, Subject], width: int, height: int) -> Iterator[tuple[str, ...]]:
    """A row of the table for each number of steps and sessions."""
    clock = SystemClock()
    for steps, sessions in STEPS_AND_SESSIONS:
        combination = Combination(width, height, steps, sessions)
        rates: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(TURNS):
            for name, subject in subjects.items():
                run = measure(subject.engine, combination, clock=clock, memory=subject.memory, effort=EFFORT)
                rates[name].append(run.fps_per_session * sessions)
        ratios = sorted(beside / before for before, beside in zip(rates["no"], rates["yes"], strict=True))
        print(f"{combination}: {median(ratios):.2f}", file=sys.stderr, flush=True)
        yield (
            str(steps),
            str(sessions),
            f"{median(rates['no']):.3g}",
            f"{median(rates['yes']):.3g}",
            f"{median(ratios):.2f}",
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the result goes; without it the table is printed")
    parser.add_argument("--device", default="auto", help="auto: the GPU where there is one")
    options = parser.parse_args()
    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    device = options.device if on_gpu else "cpu"
    model, (width, height) = ("wan2.1-1.3b", (832, 480)) if on_gpu else ("tiny", (128, 128))
    subjects = {overlap: subject_of(model, {**PLAIN, "overlap": overlap}, device=device) for overlap in ("no", "yes")}
    rows = tuple(compared(subjects, width, height))
    where = torch.cuda.get_device_name() if on_gpu else f"{os.cpu_count()} cores, one thread for each part"
    table = Table(
        title="Diffusion engine: decoding beside the next forwards",
        columns=("steps", "sessions", "before frames/s", "beside frames/s", "ratio", "of the turns"),
        rows=rows,
        note=(
            f"{model} at {width}x{height}, {where}, by the clock; all sessions together, as fast as they go. Before: "
            f"each chunk is decoded before the next forward begins. Medians of {TURNS} turns, and of each turn's ratio."
        ),
    )
    series = Series(
        f"{model}, steps x sessions: decoding beside forwards against before them",
        tuple(f"{row[0]} x {row[1]}" for row in rows),
        tuple(float(row[4]) for row in rows),
        "times the frames per second",
    )
    if options.json is None:
        print(table.markdown())
    else:
        save(options.json, [table], [series])


if __name__ == "__main__":
    main()
