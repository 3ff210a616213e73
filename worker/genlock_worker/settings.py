"""What a worker is told: each field here is declared once, as an option of `genlock-worker`.

`--media-root` is also `GENLOCK_WORKER_MEDIA_ROOT`, and so on (`genlock_core.process.options`). The options of the
diffusion engine are declared with that engine.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from genlock_core.claims.identity import CAPACITY
from genlock_core.process import values
from genlock_core.process.address import MAX_PORT, Address
from genlock_core.process.logs import LogSettings
from genlock_core.process.options import Computed, Program, option, read, section
from genlock_core.process.values import Kind
from genlock_core.sizing import measured_steps
from genlock_core.sizing.measured import FpsBySize, InvalidFigures, parse
from genlock_core.sizing.measured_steps import StepTimeBySize
from genlock_core.spec.engines import MOST_GPUS, EngineKind
from genlock_worker.engines import ENGINES
from genlock_worker.engines.diffusion.options import DiffusionSettings

PRETENDED_GPUS: Final = 4
"""What the mock engine stands for where nobody says."""
PROGRAM: Final = Program(
    "genlock-worker", "GENLOCK_WORKER_", "Serves live generative video sessions with one resident model."
)


def _figures(text: str) -> FpsBySize:
    try:
        return parse(text)
    except InvalidFigures as error:
        raise ValueError(f"must be frames per second by size and steps: {error}") from error


def _step_times(text: str) -> StepTimeBySize:
    try:
        return measured_steps.parse(text)
    except InvalidFigures as error:
        raise ValueError(f"must be seconds of a forward's parts by size: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What `genlock-worker` is told."""

    name: str = option(
        values.text(r"\S+", must_be="one word"),
        Computed("the host's name", lambda _: socket.gethostname().lower()),
        "the worker's name, unique in the installation",
    )
    pool: str = option(values.text(r"\S+", must_be="one word"), "local", "the pool that it belongs to")
    redis: str = option(values.redis_url(), "redis://127.0.0.1:6379", "URL of Redis", secret=True)
    listen: Address = option(values.address(), "127.0.0.1:0", "address of the link server; port 0 takes a free one")
    advertise: Address | None = option(
        values.optional(values.address(reachable=True)),
        "",
        "address that gateways connect to, where it is not the one listened on; port 0 stands for that one's port",
    )
    engine: EngineKind = option(values.one_of(*ENGINES), ENGINES[0], "the engine")
    model: str = option(values.text(r"\S+", must_be="one word"), "wan2.1-1.3b", "the ModelProfile that it runs")
    gpu_product: str = option(
        values.text(r"\S+", must_be="one word"), "NVIDIA-H100", "what the GPUs are called in the profiles"
    )
    gpus: int | None = option(
        values.optional(values.whole(1, 1_024)),
        Computed("4 with the mock engine, else 1", lambda _: ""),
        "how many GPUs it computes on; more than the engine can is a mistake",
    )
    measured_fps: FpsBySize = option(
        Kind("JSON", _figures), "", "what was measured of the model on them, as JSON by size and steps"
    )
    """By whoever started the worker; empty: the seed profiles have to do."""
    measured_step_time: StepTimeBySize = option(
        Kind("JSON", _step_times), "", "what forwards of it were measured to take on them, as JSON by size"
    )
    """Likewise; empty: the frames per second have to do."""
    capacity: int = option(values.whole(1, 1_000_000), str(CAPACITY), "thousandths of a worker that sessions may take")
    media_root: Path | None = option(
        values.optional(values.path()), "", "folder below which sources of type file may lie; left out: there are none"
    )
    decode_process: bool = option(
        values.switch(),
        "no",
        "decode each session's input in a process of its own, with a memory limit (Linux): a picture that breaks the "
        "decoder ends that session's input for a moment, and not the worker",
    )
    metrics_port: int = option(values.whole(0, MAX_PORT), "0", "port of probes and metrics; 0: none")
    metrics_host: str = option(values.text(r"\S+", must_be="one word"), "127.0.0.1", "host of probes and metrics")
    drain_timeout_s: float = option(values.duration(), "60s", "how long SIGTERM may take to move the sessions")
    instant: bool = option(values.switch(), "no", "mock engine: as fast as it paints, without a model's timing")
    batches: int = option(values.whole(1, 4), "1", "mock engine: how many batches may be under way at once")
    slowness: float = option(
        values.number(1.0, 100.0),
        "1",
        "mock engine: so many times as long as was measured each batch takes, to see what comes of a slow machine",
    )
    log: LogSettings = section(LogSettings)
    diffusion: DiffusionSettings = section(DiffusionSettings, "the diffusion engine")
    """What the diffusion engine alone looks at."""

    @property
    def devices(self) -> int:
        """On how many GPUs it is to compute: as many as it was told, else as many as fit the engine."""
        return self.gpus or MOST_GPUS[self.engine] or PRETENDED_GPUS


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> WorkerSettings:
    """Read options and environment. A mistake is one line on stderr, and exit status 2."""
    return read(PROGRAM, WorkerSettings, arguments, os.environ if environment is None else environment)
