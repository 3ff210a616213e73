"""A whole Genlock of real processes for one test: Redis, workers, gateways, started as `genlock up` starts them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from genlock_cli.state_dir import StateDir
from genlock_cli.up.children import Child, ChildState
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import UpOptions
from genlock_cli.up.ports import choose_ports
from genlock_cli.up.sessions import read_sessions
from genlock_core.clock import SystemClock
from genlock_core.sizing.profile import own_rows
from genlock_core.spec.engines import EngineKind
from genlock_core.spec.session import SessionKey
from genlock_core.tokens import Role

PATIENCE_S = 60.0
"""How long a test waits for something to become true before it fails; never how long something may take."""

MANIFEST = """
apiVersion: genlock.dev/v1alpha1
kind: StreamSession
metadata: {name: demo}
spec:
  model: wan2.1-1.3b
  qualityMode: balanced
  prompt: thick oil paint, impressionist
  seed: 7
  source: {type: webrtc}
  access: {publish: Public, view: Public}
"""


TINY_MANIFEST = MANIFEST.replace(
    "model: wan2.1-1.3b",
    "model: tiny\n  resolution: {width: 128, height: 128}\n  frameRate: 8\n  slo: {frameDeadline: 2s}",
)


@dataclass(frozen=True, slots=True)
class Workers:
    """What the workers of a test run, and what they are taken for."""

    engine: EngineKind
    gpu_product: str
    gpus: int
    manifest: str
    arguments: tuple[str, ...] = ()


MOCK = Workers("mock", "NVIDIA-H100", 4, MANIFEST)
SEVERAL = Workers("mock", "NVIDIA-H100", 4, MANIFEST, ("--batches", "3"))
# One thread each, as two of them share two cores with a browser; sinks that stay, so that a lost one shows.
TINY = Workers("diffusion", "CPU", 1, TINY_MANIFEST, ("--device", "cpu", "--threads", "1", "--sink-threshold", "off"))


@dataclass(slots=True)
class Local:
    """What a test holds of a running Genlock."""

    genlock: LocalGenlock
    state: StateDir
    http: tuple[httpx.AsyncClient, ...]
    """One client per gateway."""

    @property
    def urls(self) -> tuple[str, ...]:
        return self.genlock.gateway_urls

    def child(self, name: str) -> Child:
        return next(child for child in self.genlock.children if child.plan.name == name)

    def token(self, role: Role, session: str = "default/demo") -> dict[str, str]:
        subject = "*" if role is Role.ADMIN else SessionKey.parse(session)
        return {"Authorization": f"Bearer {self.state.keyring().token(subject, role)}"}

    async def session(self, name: str = "default/demo", *, gateway: int = 0) -> dict[str, Any]:
        response = await self.http[gateway].get(f"/api/v1/sessions/{name}", headers=self.token(Role.VIEW, name))
        response.raise_for_status()
        return dict(response.json())

    async def when(
        self, holds: Callable[[dict[str, Any]], bool], *, what: str, name: str = "default/demo", gateway: int = 0
    ) -> dict[str, Any]:
        """The session as soon as `holds` says so; fails with its last state when patience ends."""
        info: dict[str, Any] = {}

        async def look() -> bool:
            nonlocal info
            info = await self.session(name, gateway=gateway)
            return holds(info)

        await eventually(look, what=lambda: f"{what}; the session is {info}")
        return info


async def eventually(holds: Callable[[], Awaitable[bool]], *, what: Callable[[], str] | str) -> None:
    """Wait until `holds`; fail saying `what` when patience ends."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not await holds():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"never happened: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def local_genlock(
    tmp_path: Path,
    *,
    kind: Workers = MOCK,
    manifest: str | None = None,
    workers: int = 2,
    gateways: int = 1,
    drain_timeout_s: float = 20.0,
    profiles: tuple[Path, ...] = (),
) -> AsyncIterator[Local]:
    """Start everything on free ports; stop it, and fail if a child did not end, when the test is over."""
    path = tmp_path / "session.yaml"
    path.write_text(kind.manifest if manifest is None else manifest)
    state = StateDir(tmp_path / "state")
    options = UpOptions(
        workers=workers,
        gateways=gateways,
        engine=kind.engine,
        engine_arguments=kind.arguments,
        host="127.0.0.1",
        port=choose_ports("127.0.0.1", gateways, media=["127.0.0.1"]),
        media_hosts=("127.0.0.1",),
        gpu_product=kind.gpu_product,
        gpus=kind.gpus,
        media_root=tmp_path,
        drain_timeout_s=drain_timeout_s,
        profiles=profiles,
        own_rows=own_rows(profiles),
    )
    genlock = LocalGenlock(
        options,
        read_sessions(path),
        state=state,
        redis_url=None,
        clock=SystemClock(),
        progress=logging.getLogger(__name__).info,
        on_change=lambda _child: None,
    )
    clients = tuple(httpx.AsyncClient(base_url=url, timeout=10.0) for url in genlock.gateway_urls)
    try:
        await genlock.start()
        assert not genlock.refused
        yield Local(genlock, state, clients)
    finally:
        for client in clients:
            await client.aclose()
        await genlock.stop()
    assert {child.state for child in genlock.children} == {ChildState.STOPPED}
