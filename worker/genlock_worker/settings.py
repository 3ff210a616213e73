"""The worker's settings: each an option of `genlock-worker` and an environment variable `GENLOCK_WORKER_*`."""

import argparse
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from genlock_core.claims.identity import CAPACITY
from genlock_core.durations import parse_duration_ms
from genlock_core.sizing.measured import FpsBySize, InvalidFigures, parse
from genlock_worker.engines import ENGINES
from genlock_worker.engines.diffusion.options import DiffusionSettings, add_options, one_of, optional_path, yes

PREFIX = "GENLOCK_WORKER_"


@dataclass(frozen=True, slots=True)
class Address:
    """host:port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`127.0.0.1:7000` or `[::1]:0`. Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"{text!r} is not host:port")
        return cls(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What `genlock-worker` is told.

    `advertise`: the address that gateways connect to, where it is not the one listened on (a pod's); its port 0 stands
    for the port listened on. `measured_fps`: what was measured of the model on such GPUs, by whoever started the
    worker; empty: the seed profiles have to do. `metrics_port` 0: no metrics. `drain_timeout_s`: how long SIGTERM may
    take.
    """

    name: str
    pool: str
    redis: str
    listen: Address
    advertise: Address | None
    engine: str
    model: str
    gpu_product: str
    gpus: int
    measured_fps: FpsBySize
    capacity: int
    media_root: Path | None
    metrics_port: int
    metrics_host: str
    drain_timeout_s: float
    instant: bool
    diffusion: DiffusionSettings
    """What the diffusion engine alone looks at."""
    log_format: str
    log_level: str


def parse_settings(arguments: Sequence[str] | None, environ: Mapping[str, str] | None = None) -> WorkerSettings:
    """Options win over the environment. Exits with a message like any command for a mistake."""
    parser = _parser(os.environ if environ is None else environ)
    given = parser.parse_args(arguments)
    if given.gpus < 1 or not 1 <= given.capacity <= 1_000_000:
        parser.error("--gpus and --capacity must be positive")
    if not 0 <= given.sink_frames < given.ring_frames:
        parser.error(f"--sink-frames must be less than --ring-frames, which is {given.ring_frames}, and not negative")
    values = vars(given)
    diffusion = DiffusionSettings(**{field.name: values.pop(field.name) for field in fields(DiffusionSettings)})
    return WorkerSettings(**values, diffusion=diffusion)


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genlock-worker",
        usage="%(prog)s [--OPTION VALUE ...]; --help lists the options",
        description="Serves live generative video sessions with one resident model.",
        epilog=f"Each option is also an environment variable: --media-root is {PREFIX}MEDIA_ROOT.",
    )

    def option(name: str, default: str, meaning: str, kind: Callable[[str], object] = str) -> None:
        value = environ.get(PREFIX + name.upper().replace("-", "_"), default)
        # argparse converts a default that is text with `type`, so a mistake in the environment is told like any other.
        group.add_argument(f"--{name}", type=kind, default=value, help=meaning)

    group = parser.add_argument_group("the worker")
    option("name", socket.gethostname().lower(), "the worker's name, unique in the installation")
    option("pool", "local", "the pool that it belongs to")
    option("redis", "redis://127.0.0.1:6379", "address of Redis")
    option("listen", "127.0.0.1:0", "host:port of the link server; port 0 takes a free one", _address)
    option("advertise", "", "host:port that gateways connect to, if it is another one", _optional_address)
    option("engine", ENGINES[0], f"the engine: {' or '.join(ENGINES)}", one_of(*ENGINES))
    option("model", "wan2.1-1.3b", "the ModelProfile that it runs")
    option("gpu-product", "NVIDIA-H100", "what the GPUs are called in the profiles")
    option("gpus", "4", "how many GPUs it has", int)
    option("measured-fps", "", "what was measured of the model on them, as JSON by size and steps", _figures)
    option("capacity", str(CAPACITY), "thousandths of a worker that sessions may take", int)
    option("media-root", "", "folder below which sources of type file may lie", optional_path)
    option("metrics-port", "0", "port of /metrics; 0: none", int)
    option("metrics-host", "127.0.0.1", "address of /metrics")
    option("drain-timeout", "60s", "how long SIGTERM may take to move the sessions", _duration)
    option("instant", "no", "mock engine: yes: as fast as it paints, without a model's timing", yes)
    option("log-format", "text", "text or json", one_of("text", "json"))
    option("log-level", "INFO", "least level that is logged", one_of("DEBUG", "INFO", "WARNING", "ERROR"))
    group = parser.add_argument_group("the diffusion engine")
    add_options(option)
    with_unit = {"drain_timeout": "drain_timeout_s", "memory_limit": "memory_limit_bytes"}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to name a field
        action.dest = with_unit.get(action.dest, action.dest)
    return parser


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _optional_address(text: str) -> Address | None:
    return _address(text) if text else None


def _figures(text: str) -> FpsBySize:
    try:
        return parse(text)
    except InvalidFigures as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _duration(text: str) -> float:
    """`60s`, or a plain number of seconds."""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_duration_ms(text) / 1000
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
