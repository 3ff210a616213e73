"""The VAE alone: milliseconds to encode and to decode a chunk, by memory layout and decoder."""

from bench.gpu.report import Figure, Report
from bench.gpu.subject import Way, components, frames, latents
from bench.gpu.task import Size, Task
from bench.gpu.timing import Budget, free_memory, timed
from genlock_worker.engines.diffusion.network.vae import StreamingVae

WAYS = (
    Way("channels last"),
    Way("plain layout", load={"channels_last": False}),
    Way("tiny encoder and decoder", load={"encoder": "tiny", "decoder": "tiny"}),
)


def run(task: Task, report: Report, budget: Budget) -> None:
    """A stream's later chunks at every size: 4 pictures in, 1 latent frame out, and back."""
    for way in WAYS:
        free_memory(task.device)
        with report.attempt("vae", way.name):
            vae = components(task, task.model, way.load).vae
            for size in task.sizes:
                budget.check()
                _lines(task, report, way, vae, size)


def _lines(task: Task, report: Report, way: Way, vae: StreamingVae, size: Size) -> None:
    stream = vae.open()
    vae.encode(stream, frames(task, 5, size))
    vae.decode(stream, latents(task, 2, size))

    later = frames(task, 4, size)
    one = latents(task, 1, size)
    width, height = size
    for piece, took in (
        ("encode", timed(lambda: vae.encode(stream, later), task)),
        ("decode", timed(lambda: vae.decode(stream, one), task)),
    ):
        where: dict[str, Figure] = {"size": f"{width}x{height}"}
        report.line("vae", f"{way.name}, {piece}", {**where, "host_ms": took.host_ms, "ms": took.ms})
