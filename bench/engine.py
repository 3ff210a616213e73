"""How fast the diffusion engine is, against the same network run plainly: one session after the other, row by row.

Without a GPU it measures the model `tiny`, which says what batching is worth to this code, not how fast a GPU is. With
one it measures the real sizes with random weights, since speed does not depend on their values.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch

from bench.engine_tables import published_table, rate_table, restore_table, switch_table
from bench.result import Series, save
from genlock_cli.profile import Subject, load
from genlock_core.clock import Clock, SystemClock
from genlock_worker.engines.contract import CHUNK_FRAMES, Chunk, Engine, Frames, Row, RowResult
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.profiling.measure import Effort, measure
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.streams import first_pictures, later_pictures, opened

PLAIN = {"compile": "no", "cuda-graphs": "no", "overlap": "no"}
BEST = {"compile": "yes", "cuda-graphs": "yes", "overlap": "yes"}
FILL_CHUNKS = 5
"""A ring is full after four chunks."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is measured where: a model, its sizes, and for how long each combination."""

    model: str
    sizes: tuple[tuple[int, int], ...]
    steps: tuple[int, ...]
    sessions: tuple[int, ...]
    effort: Effort


CPU = (Subjects("tiny", ((128, 128),), (1, 2, 4), (1, 2, 4, 8), Effort(seconds=0.0, chunks=4, warm=FILL_CHUNKS)),)
GPU = (
    Subjects("wan2.1-1.3b", ((512, 512), (832, 480)), (1, 2, 3, 4), (1, 2, 4, 8), Effort(seconds=2.0, chunks=8)),
    Subjects("wan2.1-14b", ((512, 512), (832, 480)), (1, 2, 3, 4), (1, 2), Effort(seconds=3.0, chunks=6)),
)


class CpuClock(SystemClock):
    """CPU seconds of this process, which runs on one thread: a busy machine does not falsify them."""

    def monotonic(self) -> float:
        return time.process_time()


@dataclass(frozen=True, slots=True)
class Plainly:
    """The baseline, of one session: frames per second, and seconds from a complete first chunk to its pictures."""

    fps: float
    first_s: float


def plainly(engine: Engine, combination: Combination, *, clock: Clock, effort: Effort) -> Plainly:
    """One session, each chunk's steps in sequence with batch 1: what one gets without any of this engine's batching."""
    driven = Stepwise(engine)
    with opened(driven, combination) as sessions:
        (name,) = sessions
        first_s = first_frames(driven, combination, [name], clock, together=False)
        pictures = later_pictures(combination)
        for number in range(1, 1 + FILL_CHUNKS):
            run_chunk(driven, name, number, pictures)
        began_s, done = clock.monotonic(), 0
        while done < effort.chunks or clock.monotonic() - began_s < effort.seconds:
            run_chunk(driven, name, 1 + FILL_CHUNKS + done, pictures)
            done += 1
        return Plainly(done * CHUNK_FRAMES / (clock.monotonic() - began_s), first_s)


def run_chunk(engine: Stepwise, name: str, number: int, pictures: Sequence[Frames]) -> None:
    """A chunk and its steps, one after the other, until its pictures are there."""
    engine.show(name, Chunk(number, pictures[number % len(pictures)]))


def await_pictures(results: Sequence[RowResult]) -> None:
    """Wait for the pictures of those that have any. Raises EngineFailure for a chunk that cannot be shown."""
    for result in results:
        if result.pictures is not None:
            result.pictures.result()


def first_frames(
    engine: Stepwise, combination: Combination, names: Sequence[str], clock: Clock, *, together: bool
) -> float:
    """Seconds until all of these sessions, whose first chunks are complete, have their first pictures."""
    pictures = first_pictures(combination)
    began_s = clock.monotonic()
    for name in names:
        engine.feed(name, Chunk(0, pictures))
        for step in range(0 if together else combination.steps):
            await_pictures(engine.run([Row(name, step, 0)]))
    for step in range(combination.steps if together else 0):
        await_pictures(engine.run([Row(name, step, 0) for name in names]))
    return clock.monotonic() - began_s


def compare(
    batched: Subject, baseline_of: Callable[[Combination], Plainly], subjects: Subjects, clock: Clock
) -> Iterator[tuple[str, ...]]:
    """A row of the table for each combination that fits. `baseline_of` is asked for one session of each shape."""
    for shape in shapes(subjects):
        for sessions in subjects.sessions:
            combination = replace(shape, sessions=sessions)
            try:
                yield _row(batched, combination, baseline_of(shape), subjects, clock)
            except batched.does_not_fit as problem:
                say(f"{subjects.model} {combination}: does not fit: {str(problem).splitlines()[0]}")
                break


def shapes(subjects: Subjects) -> list[Combination]:
    """One session of each size and number of steps."""
    return [Combination(width, height, steps, 1) for width, height in subjects.sizes for steps in subjects.steps]


def _row(
    batched: Subject, combination: Combination, baseline: Plainly, subjects: Subjects, clock: Clock
) -> tuple[str, ...]:
    driven = Stepwise(batched.engine)
    with opened(driven, combination) as sessions:
        first_s = first_frames(driven, combination, list(sessions), clock, together=True)
    measured = measure(batched.engine, combination, clock=clock, memory=batched.memory, effort=subjects.effort)
    in_all = measured.fps_per_session * combination.sessions
    say(f"{subjects.model} {combination}: {in_all:.2f} frames/s, {in_all / baseline.fps:.2f} of the baseline")
    return (
        f"{subjects.model} {combination.width}x{combination.height}",
        str(combination.steps),
        str(combination.sessions),
        f"{baseline.fps:.3g}",
        f"{in_all:.3g}",
        f"{in_all / baseline.fps:.2f}",
        f"{median(measured.latencies_ms):.0f}",
        f"{combination.sessions * baseline.first_s * 1000:.0f}",
        f"{first_s * 1000:.0f}",
        f"{combination.sessions * baseline.first_s / first_s:.2f}",
    )


def switches(subjects: Subjects, clock: Clock, *, on_gpu: bool, device: str) -> Iterator[tuple[str, ...]]:
    """The engine with each switch on, against all of them off: frames per second of two sessions of two steps."""
    width, height = subjects.sizes[0]
    combination = Combination(width, height, 2, 2)
    kinds = {"all off": PLAIN, "compile": {**PLAIN, "compile": "yes"}}
    if on_gpu:
        kinds["CUDA graphs"] = {**PLAIN, "cuda-graphs": "yes"}
        kinds["decoding beside forwards"] = {**PLAIN, "overlap": "yes"}
        kinds["all of these"] = BEST
        kinds["all of these and FP8"] = {**BEST, "fp8": "yes"}
    baseline = 0.0
    for name, options in kinds.items():
        subject = subject_of(subjects.model, options, device=device)
        began_s = time.monotonic()  # a compiler's processes are not this one's
        warm = Effort(seconds=0.0, chunks=1, warm=1)
        measure(subject.engine, combination, clock=clock, memory=subject.memory, effort=warm)
        warm_s = time.monotonic() - began_s
        runs = [
            measure(subject.engine, combination, clock=clock, memory=subject.memory, effort=subjects.effort)
            for _ in range(2)
        ]
        fps = max(run.fps_per_session for run in runs) * combination.sessions
        baseline = baseline or fps
        say(f"{name}: {fps:.2f} frames/s, first run {warm_s:.1f} s")
        yield name, f"{fps:.3g}", f"{fps / baseline:.2f}", f"{warm_s:.1f}"


def restores(subject: Subject, subjects: Subjects, clock: Clock) -> Iterator[tuple[str, ...]]:
    """How long a snapshot of a stream in full flow takes to be alive again, and to give its next pictures."""
    for width, height in subjects.sizes:
        for steps in subjects.steps:
            combination = Combination(width, height, steps, 1)
            times = [_restore(Stepwise(subject.engine), combination, clock) for _ in range(3)]
            restore_s, next_s = (median(values) for values in zip(*times, strict=True))
            say(f"{combination}: restored in {restore_s * 1000:.0f} ms")
            yield (
                f"{subjects.model} {width}x{height}",
                str(steps),
                f"{restore_s * 1000:.0f}",
                f"{next_s * 1000:.0f}",
                f"{restore_s / next_s:.1f}",
            )


def _restore(engine: Stepwise, combination: Combination, clock: Clock) -> tuple[float, float]:
    """(seconds to restore, seconds of the next chunk)."""
    with opened(engine, combination) as sessions:
        ((name, settings),) = sessions.items()
        first_frames(engine, combination, [name], clock, together=False)
        pictures = later_pictures(combination)
        for number in range(1, 1 + FILL_CHUNKS):
            run_chunk(engine, name, number, pictures)
        state = engine.snapshot(name)
        engine.close(name)
        began_s = clock.monotonic()
        engine.restore(name, settings, state)
        restored_s = clock.monotonic()
        run_chunk(engine, name, 1 + FILL_CHUNKS, pictures)
        return restored_s - began_s, clock.monotonic() - restored_s


def subject_of(model: str, options: Mapping[str, str], *, device: str) -> Subject:
    """The model with random weights; on one thread where it runs on a CPU, whose cores are shared."""
    given = {"device": device, "dtype": "auto", "decoder": "vae", "fp8": "no", "random-weights": "yes", **options}
    given |= {"threads": "1"} if device == "cpu" else {}
    return load(model, [f"--{name}={value}" for name, value in given.items()], gpu_product=None, note="")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the result goes; without it the tables are printed")
    parser.add_argument("--device", default="auto", help="auto: the GPU where there is one")
    parser.add_argument("--model", action="append", help="measure this model alone; may be given repeatedly")
    options = parser.parse_args()
    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    device = options.device if on_gpu else "cpu"
    wanted = [one for one in (GPU if on_gpu else CPU) if options.model is None or one.model in options.model]
    if not wanted:
        parser.error(f"there is nothing to measure of {', '.join(options.model)} on this device")
    clock = SystemClock() if on_gpu else CpuClock()
    rates: list[tuple[str, ...]] = []
    restored: list[tuple[str, ...]] = []
    for subjects in wanted:
        plain = subject_of(subjects.model, PLAIN, device=device)
        plainly(plain.engine, shapes(subjects)[0], clock=clock, effort=subjects.effort)  # the process warms up
        measure_plainly = partial(plainly, plain.engine, clock=clock, effort=subjects.effort)
        if on_gpu:  # two of the large model would not fit beside each other
            baselines = {shape: measure_plainly(shape) for shape in shapes(subjects)}
            del plain, measure_plainly
            batched = subject_of(subjects.model, BEST, device=device)
            rates += compare(batched, baselines.__getitem__, subjects, clock)
        else:  # a shared machine changes its pace: what is compared is measured one right after the other
            batched = plain
            rates += compare(batched, measure_plainly, subjects, clock)
        restored += restores(batched, subjects, clock)
        del batched
    switched = list(switches(wanted[0], clock, on_gpu=on_gpu, device=device))
    width, height = wanted[0].sizes[0]
    tables = [
        rate_table(rates, on_gpu=on_gpu),
        published_table(rates, on_gpu=on_gpu),
        switch_table(switched, subject=f"{wanted[0].model} at {width}x{height}"),
        restore_table(restored),
    ]
    shown = [row for row in rates if row[0] == rates[0][0]]
    series = Series(
        f"{rates[0][0]}, steps x sessions: all frames per second against the baseline",
        tuple(f"{steps} x {sessions}" for _, steps, sessions, *_ in shown),
        tuple(float(row[5]) for row in shown),
        "times the baseline",
    )
    if options.json is None:
        print("\n".join(table.markdown() for table in tables))
    else:
        save(options.json, tables, [series])


if __name__ == "__main__":
    main()
