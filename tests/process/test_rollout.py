"""A rollout and its rollback: streams move between workers of the release before and of this one, both ways."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aioice.ice
import pytest

from genlock_core.tokens import Keyring, Role, generate_secrets
from tests.gateway.installation import Installation, Running
from tests.process.eyes import Eyes, publishing
from tests.process.local import eventually
from tests.releases.worker_process import BEFORE_SUBMISSIONS, Surroundings, WorkerProcess, unpack

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

SESSION = "default/demo"
STEADY_CHUNK = 6
"""All sinks are there by then."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine, and a session for it. `fps` is the camera's; without one the worker makes the source itself."""

    name: str
    arguments: tuple[str, ...]
    spec: dict[str, Any] = field(hash=False)
    fps: int | None = None


MOCK = Kind(
    "mock",
    ("--engine", "mock", "--model", "wan2.1-1.3b"),
    {"resolution": {"width": 640, "height": 384}, "frameRate": 16, "steps": 2},
    fps=16,
)
TINY = Kind(
    "diffusion",
    (
        *("--engine", "diffusion", "--model", "tiny", "--gpu-product", "CPU", "--gpus", "1"),
        # Sinks that stay, so that a lost one shows.
        *("--device", "cpu", "--threads", "1", "--sink-threshold", "off"),
    ),
    {
        "model": "tiny",
        "resolution": {"width": 128, "height": 128},
        "frameRate": 8,
        "steps": 2,
        "slo": {"frameDeadline": "2s"},
        "source": {"type": "testPattern"},
    },
)


@dataclass(slots=True)
class Stream:
    """A live stream and what its viewer sees."""

    installation: Installation
    gateway: Running
    eyes: Eyes

    async def when(self, holds: Callable[[dict[str, Any]], bool], *, what: str) -> dict[str, Any]:
        """The session as soon as `holds` says so, with the report of its worker."""
        info: dict[str, Any] = {}

        async def look() -> bool:
            nonlocal info
            headers = self.installation.token(SESSION, Role.VIEW)
            response = await self.gateway.http.get(f"/api/v1/sessions/{SESSION}", headers=headers)
            response.raise_for_status()
            info = response.json()
            return holds(info)

        await eventually(look, what=lambda: f"{what}; the session is {info}")
        return info

    async def steady_on(self, worker: WorkerProcess) -> dict[str, Any]:
        """The worker makes the stream, its sinks are complete, and a snapshot holds them."""
        return await self.when(
            lambda one: (
                (one["worker"], one["phase"]) == (worker.name, "Live")
                and bool((one.get("stats") or {}).get("sinkDigest"))
                and one["stats"]["snapshot"]["chunk"] >= STEADY_CHUNK
            ),
            what=f"a steady stream on {worker.name}",
        )

    async def is_stored_in(self, version: int) -> None:
        """Wait until the record names that format for its snapshot."""

        async def look() -> bool:
            record = await self.installation.claims.record(SESSION)
            return record is not None and record.snapshot_format == version

        await eventually(look, what=f"the snapshot in format {version}")

    async def moves(self, leaving: WorkerProcess, coming: WorkerProcess) -> None:
        """The one worker leaves, the other goes on with the stream: nothing is lost, nothing is shown twice."""
        before = await self.steady_on(leaving)
        await leaving.leave()
        after = await self.steady_on(coming)
        await self.eyes.more(8)

        assert after["epoch"] > before["epoch"]
        assert after["stats"]["restored"]
        assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
        assert after["stats"]["chunk"] >= before["stats"]["chunk"]
        assert self.eyes.undecodable == 0
        media = [seen.media_s for seen in self.eyes.seen]
        assert media == sorted(set(media))


@dataclass(slots=True)
class Processes:
    """Starts the workers of one test, and ends those that it leaves."""

    surroundings: Surroundings
    release: Path
    started: list[WorkerProcess] = field(default_factory=list)

    async def new(self, name: str) -> WorkerProcess:
        return await self._start(name, code=None)

    async def old(self, name: str) -> WorkerProcess:
        return await self._start(name, code=self.release)

    async def _start(self, name: str, *, code: Path | None) -> WorkerProcess:
        worker = await self.surroundings.start(name, code=code)
        self.started.append(worker)
        return worker

    async def close(self) -> None:
        for worker in self.started:
            await worker.kill()


@pytest.fixture(autouse=True)
def loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@asynccontextmanager
async def processes(redis_url: str, tmp_path: Path, kind: Kind, secrets: str) -> AsyncIterator[Processes]:
    made = Processes(
        Surroundings(redis_url, secrets, tmp_path, kind.arguments), unpack(BEFORE_SUBMISSIONS, into=tmp_path)
    )
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def stream(redis_url: str, kind: Kind, secrets: str) -> AsyncIterator[Stream]:
    """A session that some worker has claimed, its camera and a viewer."""
    async with contextlib.AsyncExitStack() as stack:
        installation = Installation(redis_url, keyring=Keyring.parse(secrets))
        stack.push_async_callback(installation.close)
        gateway = await installation.gateway()
        await installation.session(access={"publish": "Public", "view": "Public"}, **kind.spec)
        if kind.fps is not None:
            await stack.enter_async_context(publishing(gateway.url, "--fps", str(kind.fps)))
        eyes = await stack.enter_async_context(Eyes(f"{gateway.url}/whep/{SESSION}"))
        yield Stream(installation, gateway, eyes)


async def test_a_stream_moves_to_the_new_release_and_back_with_the_diffusion_engine(
    redis_url: str, tmp_path: Path
) -> None:
    secrets = generate_secrets()
    async with processes(redis_url, tmp_path, TINY, secrets) as workers:
        # They start together, as each imports torch for seconds. Of equal workers the first by name takes a session.
        old, new, old_again = await asyncio.gather(workers.old("w0"), workers.new("w1"), workers.old("w2"))
        async with stream(redis_url, TINY, secrets) as one:
            await one.moves(old, new)
            await one.moves(new, old_again)


async def test_a_stream_that_the_new_release_alone_has_served_moves_to_an_old_worker_and_back_with_the_mock(
    redis_url: str, tmp_path: Path
) -> None:
    secrets = generate_secrets()
    async with processes(redis_url, tmp_path, MOCK, secrets) as workers:
        new = await workers.new("w0")
        async with stream(redis_url, MOCK, secrets) as one:
            await one.steady_on(new)
            await one.is_stored_in(2)
            old, new_again = await asyncio.gather(workers.old("w1"), workers.new("w2"))
            await one.is_stored_in(1)  # for the old one, which could not take it before
            await one.moves(new, old)
            await one.moves(old, new_again)
            await one.is_stored_in(2)
            counters = one.eyes.counters()
            assert counters
            assert counters == sorted(counters), counters
