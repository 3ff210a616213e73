"""What `genlock up` starts: pure, from the options and the manifest to the command lines of the child processes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genlock_cli.up.lan import Lan
from genlock_core.claims.identity import CAPACITY
from genlock_core.process.address import Address
from genlock_core.sizing import measured_steps
from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.measured import measured_fps, to_json
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.engines import Coders, EngineKind
from genlock_core.spec.session import ResolvedSession

FIRST_DELAY_S = 0.1
YIELDS_S = 2.0
"""A worker that died is started again a little later where others take its streams over: loading a model at that very
moment would cost their viewers more than the worker is missed."""
READY_WITHIN_S = 30.0
LOADED_WITHIN_S = 1_800.0
"""A large model is read from disk for minutes, and compiled for more."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `genlock up` that shape the processes."""

    workers: int
    gateways: int
    engine: EngineKind
    host: str
    port: int
    """HTTP port of the first gateway, the next ones count up; media goes over the UDP port of the same number."""
    gpu_product: str
    gpus: int
    media_hosts: tuple[str, ...]
    """IP addresses that media goes over, beside those of HTTP; `::` stands for each of this machine's own."""
    media_root: Path
    drain_timeout_s: float
    engine_arguments: tuple[str, ...] = ()
    """What the workers are told of their engine besides its name."""
    coders: Coders = Coders()  # noqa: RUF009 - it is frozen
    """What the workers code pictures with, as the environment says that they share."""
    profiles: tuple[Path, ...] = ()
    """The user's own profiles, which size sessions beside those that come with Genlock."""
    own_rows: tuple[ProfileRow, ...] = ()
    """The rows of these files: each worker is told what they say of its model on its GPUs."""
    lan: Lan | None = None
    """Where phones of the same network are served; None: nowhere."""


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One child process: its name in the table, what it is, its command line, and how long it may take to serve."""

    name: str
    role: str
    argv: tuple[str, ...]
    ready_within_s: float = READY_WITHIN_S
    first_delay_s: float = FIRST_DELAY_S
    """How long it waits, at least, before it is started again."""


def pool_of(model: str) -> str:
    """One pool per model: a worker keeps one model resident."""
    return f"local-{model}"


def pool_shapes(options: UpOptions, sessions: Sequence[ResolvedSession]) -> tuple[PoolShape, ...]:
    """The pools that this machine offers to the sessions of a manifest."""
    return tuple(
        PoolShape(
            name=pool_of(model),
            model=model,
            gpu_product=options.gpu_product,
            gpus=options.gpus,
            engine=options.engine,
            coders=options.coders,
        )
        for model in models_of(sessions)
    )


def plan_workers(options: UpOptions, sessions: Sequence[ResolvedSession], *, redis_url: str) -> tuple[ChildPlan, ...]:
    """`options.workers` workers for each model of the manifest: w0, w1, ..."""
    models = [model for model in models_of(sessions) for _ in range(options.workers)]
    return tuple(
        ChildPlan(
            name=f"w{index}",
            role="worker",
            argv=(
                *(sys.executable, "-m", "genlock_worker.main", "--name", f"w{index}", "--pool", pool_of(model)),
                *("--redis", redis_url, "--listen", "127.0.0.1:0", "--engine", options.engine, "--model", model),
                *("--gpu-product", options.gpu_product, "--gpus", str(options.gpus), "--capacity", str(CAPACITY)),
                *("--media-root", str(options.media_root), "--drain-timeout", f"{options.drain_timeout_s:g}s"),
                *_figures(options, model),
                *options.engine_arguments,
            ),
            first_delay_s=YIELDS_S if options.workers > 1 else FIRST_DELAY_S,
            ready_within_s=READY_WITHIN_S if options.engine == "mock" else LOADED_WITHIN_S,
        )
        for index, model in enumerate(models)
    )


def _figures(options: UpOptions, model: str) -> tuple[str, ...]:
    """What the user's own profiles say of the model on this hardware, as a pool's worker is told by the operator."""
    measured = measured_fps(
        options.own_rows,
        engine=options.engine,
        model=model,
        gpu_product=options.gpu_product,
        gpus=options.gpus,
        coders=options.coders,
    )
    times = measured_steps.measured_step_times(
        options.own_rows,
        engine=options.engine,
        model=model,
        gpu_product=options.gpu_product,
        gpus=options.gpus,
        coders=options.coders,
    )
    return (
        *(("--measured-fps", to_json(measured)) if measured else ()),
        *(("--measured-step-time", measured_steps.to_json(times)) if times else ()),
    )


def plan_gateways(options: UpOptions, *, redis_url: str) -> tuple[ChildPlan, ...]:
    """The gateways g0, g1, ... on neighbouring ports."""
    return tuple(
        ChildPlan(
            name=f"g{index}",
            role="gateway",
            argv=(
                *(sys.executable, "-m", "genlock_gateway.main", "--name", f"g{index}", "--redis", redis_url),
                *("--http", str(Address(options.host, options.port + index))),
                *(word for host in options.media_hosts for word in ("--udp", str(Address(host, options.port + index)))),
                *("--advertise-http", gateway_url(options, index)),
                *_https(options.lan, index),
                *(word for path in options.profiles for word in ("--profile", str(path.resolve()))),
            ),
        )
        for index in range(options.gateways)
    )


def _https(lan: Lan | None, index: int) -> tuple[str, ...]:
    if lan is None:
        return ()
    files = ("--https-certificate", str(lan.files.certificate), "--https-key", str(lan.files.key))
    # Figures are not for the network: they get a port on this machine, which the log names.
    private = ("--health", str(Address("127.0.0.1", 0)))
    return (*(word for address in lan.listens(index) for word in ("--https", address)), *files, *private)


def gateway_url(options: UpOptions, index: int = 0) -> str:
    return f"http://{Address(options.host, options.port + index)}"


def models_of(sessions: Sequence[ResolvedSession]) -> tuple[str, ...]:
    """The models that the sessions run with: their own, then those that may stand in."""
    own = [session.model for session in sessions]
    return tuple(dict.fromkeys([*own, *(model for session in sessions for model in session.approximation.models)]))
