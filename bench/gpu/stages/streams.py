"""The whole engine as `genlock profile` drives it: frames per second, beside the published ones, as profile rows."""

from collections.abc import Sequence
from statistics import median

from bench.engine_tables import PUBLISHED
from bench.gpu.report import Figure, Report
from bench.gpu.subject import COMPILE, GRAPHS, KERNELS, Way, engine
from bench.gpu.task import Task
from bench.gpu.timing import Budget, free_memory
from genlock_core.clock import SystemClock
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.profiling.device import DOES_NOT_FIT, DeviceMemory, conditions
from genlock_worker.profiling.measure import Measurement, measure
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.rows import row_of
from genlock_worker.profiling.streams import FRAME_RATE

DEFAULTS = Way("defaults")
COMPILED = Way("compiled", forward=COMPILE)
ON_A_GPU = (
    COMPILED,
    Way("compiled, triton, graphs", load=KERNELS, forward=GRAPHS),
    Way("compiled, triton", load=KERNELS, forward=COMPILE),
    Way("compiled, triton, graphs, no overlap", load=KERNELS, forward=GRAPHS, overlap=False),
    Way("compiled, tiny decoder", load={"decoder": "tiny"}, forward=COMPILE),
    Way("compiled, tiny encoder and decoder", load={"encoder": "tiny", "decoder": "tiny"}, forward=COMPILE),
)
MOST_SOURCE_CHARS = 1024
"""Of a profile row."""


def run(task: Task, report: Report, budget: Budget) -> None:
    """A profile row for some steps and sessions in each way to run the engine; then the defaults' other ones."""
    others = tuple(stream for stream in task.streams if stream not in task.few_streams)
    ways = (DEFAULTS, *(ON_A_GPU if task.on_gpu else ()))
    for way, streams in (*((way, task.few_streams) for way in ways), (DEFAULTS, others)):
        free_memory(task.device)
        with report.attempt("streams", way.name):
            one = engine(task, way)
            try:
                _way(task, report, budget, way, one, streams)
            finally:
                one.stop()
            del one


def _way(
    task: Task,
    report: Report,
    budget: Budget,
    way: Way,
    one: DiffusionEngine,
    streams: Sequence[tuple[int, int]],
) -> None:
    memory = DeviceMemory(one)
    for width, height in task.sizes:
        for steps, sessions in streams:
            budget.check()
            combination = Combination(width, height, steps, sessions)
            try:
                measured = measure(one, combination, clock=SystemClock(), memory=memory, effort=task.effort)
            except DOES_NOT_FIT as problem:
                report.line("streams", f"{way.name}, {combination}", {"lacks": str(problem).splitlines()[0]})
                continue
            report.line("streams", f"{way.name}, {combination}", _figures(task, measured))
            row = row_of(
                measured,
                engine="diffusion",
                coders=LoadOptions(**way.load).coders,  # type: ignore[arg-type]  # as `subject.components` has them
                model=task.model,
                gpu_product=report.receipt.product,
                gpus=one.devices,
                source=_source(report, way, one),
            )
            report.profile_row(way.name, row)


def _figures(task: Task, measured: Measurement) -> dict[str, Figure]:
    one = measured.combination
    in_all = measured.fps_per_session * one.sessions
    figures: dict[str, Figure] = {"fps_in_all": in_all}
    published = PUBLISHED.get((task.model, one.width, one.height))
    if published is not None:
        figures["of_published"] = in_all / published[one.steps - 1]
    return {**figures, "chunk_ms": median(measured.latencies_ms), "first_frame_ms": measured.first_frame_ms}


def _source(report: Report, way: Way, one: DiffusionEngine) -> str:
    """As `genlock profile` writes it, and where it comes from."""
    words = [*conditions(one, way.switches), "random weights", f"first frame with {FRAME_RATE} fps input"]
    source = f"make gpu, {report.receipt.began[:10]}: {', '.join(words)}; {report.receipt.short}"
    return source[:MOST_SOURCE_CHARS]
