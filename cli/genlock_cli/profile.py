"""`genlock profile`: measure a model on this machine and write the ModelProfile that sizing goes by."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from genlock_cli.options import duration_option
from genlock_cli.up.hardware import EngineName, gpu_names, hardware
from genlock_cli.worker_options import worker_arguments, worker_option, worker_switch
from genlock_core.approximation.levels import Level
from genlock_core.clock import Clock, SystemClock
from genlock_core.errors import BadInput, GenlockError
from genlock_core.sizing.measured_steps import step_times
from genlock_core.sizing.profile import ProfileRow, ProfileSpec, parse_profiles
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.engines import Coders
from genlock_core.spec.session import Resolution
from genlock_worker.engines import create_engine
from genlock_worker.engines.contract import Engine
from genlock_worker.engines.mock import StepTiming
from genlock_worker.profiling import rows as profile_rows
from genlock_worker.profiling.measure import Effort, Measurement, MemoryMeter, Skipped, measure_all
from genlock_worker.profiling.plan import MAX_STEPS, Combination, combinations, parse_counts, parse_resolution
from genlock_worker.profiling.quality import LevelQuality, contradictions, measure_quality
from genlock_worker.profiling.streams import FRAME_RATE
from genlock_worker.rows.scheduler import MAX_ROWS
from genlock_worker.settings import parse_settings

MEASURES: Final = "diffusion"
"""The engine that is measured: the mock has no speed of its own."""


class NothingMeasured(GenlockError):
    """No combination could be measured."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: an engine that is loaded, and how its figures are signed."""

    engine: Engine
    memory: MemoryMeter
    does_not_fit: tuple[type[Exception], ...]
    gpu_product: str
    source: str
    coders: Coders = Coders()  # noqa: RUF009 - it is frozen


@dataclass(slots=True)
class Outcomes:
    """What was measured so far; grows while measuring."""

    qualities: dict[tuple[Resolution, int], float] = field(default_factory=dict)
    """By size and steps."""
    rows: list[ProfileRow] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    interrupted: bool = False


def profile(
    model: Annotated[str, typer.Option(help="The model, such as wan2.1-1.3b.")],
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the models' weights.", exists=True, file_okay=False)
    ] = None,
    random_weights: Annotated[bool, worker_switch("random-weights")] = False,
    steps: Annotated[str, typer.Option(help="Denoising steps: 1-4, or 1,2.")] = "1-4",
    resolution: Annotated[list[str] | None, typer.Option(help="Size of the picture; may be given repeatedly.")] = None,
    sessions: Annotated[str, typer.Option(help="How many equal sessions at once.")] = "1,2,4,8",
    device: Annotated[str | None, worker_option("device")] = None,
    dtype: Annotated[str | None, worker_option("dtype")] = None,
    decoder: Annotated[str | None, worker_option("decoder")] = None,
    kernels: Annotated[str | None, worker_option("kernels")] = None,
    compile_blocks: Annotated[str | None, worker_option("compile")] = None,
    cuda_graphs: Annotated[str | None, worker_option("cuda-graphs")] = None,
    fp8: Annotated[str | None, worker_option("fp8")] = None,
    gpu_product: Annotated[
        str | None, typer.Option(help="What the rows call the GPU; its own name if left out.")
    ] = None,
    duration: Annotated[
        float, duration_option("How long each combination is measured.", at_least_s=0.1, default="5s")
    ] = 5.0,
    quality: Annotated[
        bool, typer.Option("--quality", help="Measure first how like each step count's picture is to that of the most.")
    ] = False,
    note: Annotated[str, typer.Option(help="What else the rows' source shall say.")] = "",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; rows of other machines in it stay.", dir_okay=False)
    ] = Path("profile.yaml"),
) -> None:
    """Measure a model on this machine: frame rate, latency, first frame and memory for every combination.

    The file is a ModelProfile: `kubectl apply -f` takes it. It is written after every combination, so that Ctrl-C keeps
    what was measured. With --quality it also says how like each step count's picture is to that of the most steps:
    a proxy of how good it looks. Every option of the engine may also be set as for the worker, by the environment
    (GENLOCK_WORKER_...).
    """
    sizes = [parse_resolution(text) for text in resolution or ("512x512", "832x480")]
    plan = combinations(
        sizes,
        parse_counts(steps, name="steps", most=MAX_STEPS),
        parse_counts(sessions, name="sessions", most=MAX_ROWS),
    )
    before = read_profile(output, model)
    arguments = worker_arguments(
        weights=None if weights is None else str(weights),
        random_weights="yes" if random_weights else None,
        device=device,
        dtype=dtype,
        decoder=decoder,
        kernels=kernels,
        compile=compile_blocks,
        cuda_graphs=cuda_graphs,
        fp8=fp8,
    )
    console = Console(stderr=True)
    with console.status(f"loading {model} ...") as status:
        subject = load(model, arguments, sizes=sizes, gpu_product=gpu_product, note=note, tell=status.update)

    def keep(rows: Sequence[ProfileRow]) -> None:
        all_rows = profile_rows.merged(before.rows, rows)
        write(output, profile_rows.document(model, all_rows, description=before.description))

    outcomes = run(
        subject,
        plan,
        with_quality=quality,
        effort=Effort(seconds=duration),
        clock=SystemClock(),
        console=console,
        keep=keep,
    )
    if not outcomes.rows:
        raise NothingMeasured("nothing was measured" + "".join(f"; {one.reason}" for one in outcomes.skipped[:1]))
    Console().print(table(outcomes.rows))
    for told in parts_told(outcomes.rows):
        typer.echo(told)
    kept = " (interrupted: what was measured until then)" if outcomes.interrupted else ""
    typer.echo(f"{output}: {len(outcomes.rows)} rows of {subject.gpu_product}{kept}")


def read_profile(path: Path, model: str) -> ProfileSpec:
    """What the file says of the model already. Raises GenlockError for a file that is no profile of it, and for one
    that could not be written: known before anything is measured."""
    unfinished = _unfinished(path)
    try:
        unfinished.touch()
        unfinished.unlink()
    except (OSError, ValueError):
        raise BadInput(
            f"{path} cannot be written: is {path.parent} a folder of yours? name another file with -o"
        ) from None
    if not path.exists():
        return ProfileSpec(description=f"{model}, measured with genlock profile", rows=())
    profiles = parse_profiles(path.read_text(encoding="utf-8"), origin=str(path))
    if [one.metadata.name for one in profiles] != [model]:
        raise BadInput(f"{path} holds something else than the profile of {model}; name another file with -o")
    return profiles[0].spec


def write(path: Path, text: str) -> None:
    """Replace the file as a whole, so that there is never half of one."""
    unfinished = _unfinished(path)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def load(
    model: str,
    arguments: Sequence[str],
    *,
    gpu_product: str | None,
    note: str,
    sizes: Sequence[Resolution] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Subject:
    """Load the engine as a worker with these arguments would; takes as long. `sizes`: those for which forwards are
    captured, where that is wanted; `tell` is told which.

    Raises what the loading raises.
    """
    settings = parse_settings(arguments, os.environ).diffusion
    engine = create_engine(
        MEASURES,
        model=model,
        clock=SystemClock(),
        devices=1,
        timing=StepTiming.instant,
        diffusion=settings,
        sizes=sizes,
    )
    engine.capture_graphs(sizes, tell)
    # torch is there now, or the line before had said so; it is no requirement of the command line.
    from genlock_worker.profiling.device import DOES_NOT_FIT, DeviceMemory, conditions

    found = hardware(EngineName.DIFFUSION, settings.device, model=model, rows=(), names=gpu_names())
    on = {"compile": settings.forward.compile, "cuda-graphs": settings.forward.cuda_graphs, "fp8": settings.load.fp8}
    switches = [name for name, is_on in on.items() if is_on]
    switches += [] if settings.load.kernels == "torch" else [f"kernels {settings.load.kernels}"]
    weights = "random weights" if settings.load.random_weights or settings.weights is None else "published weights"
    coders = settings.load.coders
    words = [*conditions(engine, switches), f"encoder {coders.encoder}", f"decoder {coders.decoder}", weights]
    words += [f"first frame with {FRAME_RATE} fps input", *([note] if note else [])]
    return Subject(
        engine=engine,
        memory=DeviceMemory(engine),
        does_not_fit=DOES_NOT_FIT,
        coders=coders,
        gpu_product=gpu_product or found.gpu_product,
        source=f"genlock profile, {time.strftime('%Y-%m-%d')}: {', '.join(words)}",
    )


def run(
    subject: Subject,
    plan: Sequence[Combination],
    *,
    with_quality: bool,
    effort: Effort,
    clock: Clock,
    console: Console,
    keep: Callable[[Sequence[ProfileRow]], None],
) -> Outcomes:
    """Measure the plan, a line for each combination; `keep` is given all rows after each of them."""
    outcomes = Outcomes()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console) as progress:
        if with_quality:
            try:
                look(subject, plan, outcomes, progress)
            except KeyboardInterrupt:
                outcomes.interrupted = True
                return outcomes

        task = progress.add_task("", total=len(plan), left="")

        def begins(combination: Combination, left_s: float | None) -> None:
            left = "" if left_s is None else f"about {_duration(left_s)} left"
            progress.update(task, description=str(combination), left=left)

        measuring = measure_all(
            subject.engine,
            plan,
            clock=clock,
            memory=subject.memory,
            effort=effort,
            does_not_fit=subject.does_not_fit,
            begins=begins,
        )
        try:
            for outcome in measuring:
                if isinstance(outcome, Measurement):
                    row = profile_rows.row_of(
                        outcome,
                        engine=MEASURES,
                        coders=subject.coders,
                        model=subject.engine.model,
                        gpu_product=subject.gpu_product,
                        gpus=subject.engine.devices,
                        quality=outcomes.qualities.get((outcome.combination.resolution, outcome.combination.steps)),
                        source=subject.source,
                    )
                    outcomes.rows.append(row)
                    keep(outcomes.rows)
                    progress.console.print(f"{outcome.combination}: {_figures(row)}", highlight=False)
                else:
                    outcomes.skipped.append(outcome)
                    progress.console.print(f"{outcome.combination}: skipped, {outcome.reason}", highlight=False)
                progress.advance(task)
        except KeyboardInterrupt:
            outcomes.interrupted = True
        progress.update(task, left="")
    return outcomes


def look(subject: Subject, plan: Sequence[Combination], outcomes: Outcomes, progress: Progress) -> None:
    """Measure how good each step count of the plan looks at each size, a line for each."""
    wanted = {size: {one.steps for one in plan if one.resolution == size} for size in (one.resolution for one in plan)}
    task = progress.add_task("", total=sum(len({MAX_STEPS, *steps}) for steps in wanted.values()), left="")
    for size, steps in wanted.items():

        def begins(number: int, size: Resolution = size) -> None:
            progress.update(task, description=f"quality of {size}, {Level(number)}")

        found: list[LevelQuality] = []
        try:
            for one in measure_quality(subject.engine, size, sorted(steps), begins=begins):
                found.append(one)
                outcomes.qualities[size, one.steps] = one.quality
                figures = f"quality {one.quality:.3f} (SSIM {one.ssim:.3f}, flicker {one.flicker:.4f})"
                progress.console.print(f"{size}, {Level(one.steps)}: {figures}", highlight=False)
                progress.advance(task)
        except subject.does_not_fit as error:
            # Without the most steps there is nothing to compare with; what is missing stays unprofiled.
            progress.console.print(f"{size}: no quality, {error}", highlight=False)
        for told in contradictions(found):
            progress.console.print(f"{size}: {told}", highlight=False)
    progress.remove_task(task)


def table(rows: Sequence[ProfileRow]) -> Table:
    """What was measured, for people."""
    found = Table(box=None, pad_edge=False)
    speed = ("fps each", "in all", "chunk ms", "p95", "p99", "first ms")
    quality = ("quality",) if any(row.quality is not None for row in rows) else ()
    for name in ("size", "steps", "sessions", *speed, "MB each", *quality):
        found.add_column(name, justify="right")
    for row in rows:
        latency = row.chunk_latency_ms
        found.add_row(
            str(row.resolution),
            str(row.steps),
            str(row.sessions),
            f"{row.fps_per_session:g}",
            f"{row.fps_per_session * row.sessions:.3g}",
            *(("", "", "") if latency is None else (f"{latency.p50:g}", f"{latency.p95:g}", f"{latency.p99:g}")),
            "" if row.first_frame_ms is None else f"{row.first_frame_ms:g}",
            "" if row.bytes_per_session is None else f"{row.bytes_per_session / 1e6:.0f}",
            *("" if row.quality is None else f"{row.quality:g}" for _ in quality),
        )
    return found


def parts_told(rows: Sequence[ProfileRow]) -> list[str]:
    """Of each size the parts of a forward's time, and from how many rows on another one makes none of them cheaper."""
    return [f"{size}: {_parts_told(time)}" for size, time in step_times(rows).items()]


def _parts_told(time: StepTime) -> str:
    memory = f"a forward takes {time.base_s * 1000:.3g} ms and {time.row_s * 1000:.3g} ms for each row"
    compute = f", {time.compute_s * 1000:.3g} ms for each row at least" if time.compute_s else ""
    if time.knee is None:
        return f"{memory}{compute}; the more rows share it the better"
    return f"{memory}{compute}; beyond {time.knee} rows nothing is gained by more"


def _figures(row: ProfileRow) -> str:
    latency = "" if row.chunk_latency_ms is None else f", chunk {row.chunk_latency_ms.p50:g} ms"
    return f"{row.fps_per_session:g} fps each{latency}, first frame {row.first_frame_ms:g} ms"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
