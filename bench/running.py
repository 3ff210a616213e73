"""A running Genlock for the benchmarks: real processes on free ports, a publisher, and viewers that time frames."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from genlock_cli.state_dir import StateDir
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import UpOptions
from genlock_cli.up.ports import choose_ports
from genlock_core.clock import SystemClock
from genlock_core.spec.engines import EngineKind
from genlock_core.spec.session import ResolvedSession, SessionKey, StreamSessionSpec, resolve

SESSION = SessionKey(name="bench")
STATE = "state"
SPEC = {
    "prompt": "thick oil paint",
    "source": {"type": "webrtc"},
    "access": {"publish": "Public", "view": "Public"},
}


@dataclass(frozen=True, slots=True)
class Workers:
    """What two workers run, what they are taken for, and what the session's spec has besides SPEC."""

    engine: EngineKind
    gpu_product: str
    gpus: int
    spec: Mapping[str, object] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


MOCK = Workers("mock", "NVIDIA-H100", 4)
APART = replace(MOCK, arguments=("--decode-process",))
"""Each session's input is decoded in a process of its own."""
TINY = Workers(
    "diffusion",
    "CPU",
    1,
    {"model": "tiny", "resolution": {"width": 128, "height": 128}, "frameRate": 16, "slo": {"frameDeadline": "1s"}},
    ("--device", "cpu", "--threads", "1"),
)


def local_genlock(
    kind: Workers,
    sessions: Sequence[ResolvedSession],
    folder: Path,
    *,
    workers: int = 2,
    gateways: int = 1,
    redis_url: str | None = None,
    make: Callable[..., LocalGenlock] = LocalGenlock,
) -> LocalGenlock:
    """A Genlock that is not started yet, on free ports; what it keeps lies in `folder`. Without `redis_url` it starts a
    Redis of its own. `make` takes what LocalGenlock takes."""
    options = UpOptions(
        workers=workers,
        gateways=gateways,
        engine=kind.engine,
        host="127.0.0.1",
        port=choose_ports("127.0.0.1", gateways, media=["127.0.0.1"]),
        media_hosts=("127.0.0.1",),
        gpu_product=kind.gpu_product,
        gpus=kind.gpus,
        engine_arguments=kind.arguments,
        media_root=folder,
        drain_timeout_s=10.0,
    )
    return make(
        options,
        sessions,
        state=StateDir(folder / STATE),
        redis_url=redis_url,
        clock=SystemClock(),
        progress=lambda _words: None,
        on_change=lambda _child: None,
    )


def state_of(genlock: LocalGenlock) -> Path:
    """Where it keeps its secrets: whoever takes others from the user's own folder has wrong tokens."""
    return genlock.options.media_root / STATE


@asynccontextmanager
async def running(workers: Workers = MOCK, *, gateways: int = 1) -> AsyncIterator[LocalGenlock]:
    """Two workers, the session `default/bench`."""
    session: ResolvedSession = resolve(SESSION, StreamSessionSpec.model_validate({**SPEC, **workers.spec}))
    with tempfile.TemporaryDirectory() as folder:
        genlock = local_genlock(workers, [session], Path(folder), gateways=gateways)
        try:
            await genlock.start()
            yield genlock
        finally:
            await genlock.stop()


@asynccontextmanager
async def publisher(genlock: LocalGenlock) -> AsyncIterator[None]:
    """The test card at 16 frames per second, by `genlock publish`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genlock_cli.main", "publish", "testsrc", str(SESSION), "--fps", "16"),
        *("--gateway", genlock.gateway_urls[0], "--state-dir", str(state_of(genlock)), "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def session_info(http: httpx.AsyncClient) -> dict[str, Any]:
    response = await http.get(f"/api/v1/sessions/{SESSION}")
    response.raise_for_status()
    return dict(response.json())
