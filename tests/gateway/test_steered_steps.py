"""Who asks for more steps pays for them, or is told what there is room for: a real gateway, worker and Redis.

Two sessions fill the worker. The first is steered from 1 step to 4, of which it has room for 2.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from genlock_core import store as stores
from genlock_core.claims import keys, liveness
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.clock import SystemClock
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.tokens import Role
from genlock_worker.probes.health import WorkerHealth
from genlock_worker.probes.start_up import StartPhase, StartUp
from genlock_worker.worker import Worker, make_engine
from tests.gateway.installation import Installation, Peer, Running, until
from tests.worker.house import worker_settings

NOISY, QUIET = "default/noisy", "default/quiet"
LEVELS = (500, 500, 1_000, 1_000)
"""In thousandths of a worker, at 1, 2, 3 and 4 steps."""
GIVE_BACK_MS = 600


class Pair:
    """The gateway, the worker, and both sessions on it, each with a viewer; that of the noisy one may steer."""

    def __init__(self, installation: Installation, gateway: Running, worker: Worker, steering: Peer) -> None:
        self.installation = installation
        self.gateway = gateway
        self.worker = worker
        self.steering = steering

    async def ask(self, **change: object) -> dict[str, Any]:
        """What PATCH answers."""
        answer = await self.gateway.http.patch(
            f"/api/v1/sessions/{NOISY}/control", json=change, headers=self.installation.token(NOISY)
        )
        return {"status": answer.status_code, **answer.json()}

    async def say(self, **change: object) -> dict[str, Any]:
        """What the data channel answers."""
        client = self.steering.client
        await until(lambda: bool(client.messages))
        assert client.channel is not None
        client.channel.send(json.dumps({"type": "control", "number": 1, **change}))

        def answers() -> list[dict[str, Any]]:
            return [one for text in client.messages if (one := json.loads(text))["type"] in ("ack", "error")]

        await until(lambda: bool(answers()))
        return answers()[-1]

    async def shown(self) -> dict[str, Any]:
        answer = await self.gateway.http.get(f"/api/v1/sessions/{NOISY}")
        return dict(answer.json())

    async def costs(self) -> tuple[int, int, int]:
        """Of both sessions, and what the worker has free."""
        records = [await self.installation.claims.record(name) for name in (NOISY, QUIET)]
        (view,) = await self.installation.claims.workers()
        noisy, quiet = (0 if record is None else record.cost for record in records)
        return noisy, quiet, view.free

    async def runs(self, steps: int) -> None:
        """Wait until that is what the engine runs."""

        def running() -> int | None:
            live = self.worker.agent.sessions.get(NOISY)
            opened = None if live is None else self.worker.engine_loop.sessions.get(live._engine_name)
            return None if opened is None else opened.rows.running_steps

        await until(lambda: running() == steps)

    async def ends(self) -> None:
        """The quiet one goes."""
        answer = await self.gateway.http.delete(
            f"/api/v1/sessions/{QUIET}", headers=self.installation.token(QUIET, Role.ADMIN)
        )
        assert answer.status_code == 204


async def real_worker(installation: Installation) -> Worker:
    settings = worker_settings("w0", installation.redis_url)
    clock, metrics = SystemClock(), WorkerMetrics(CollectorRegistry())
    worker = Worker(
        settings,
        store=stores.connect(installation.redis_url),
        link_secrets=installation.keyring.link_secrets(),
        engine=make_engine(settings, clock),
        clock=clock,
        metrics=metrics,
        health=WorkerHealth(StartUp(clock, metrics, import_s=0.0), clock),
    )
    worker.health.start_up.reached(StartPhase.REDIS)
    await worker.start()
    return worker


async def add(installation: Installation, name: str) -> None:
    spec = {
        "steps": 1,
        "frameRate": 16,
        "resolution": {"width": 128, "height": 96},
        "source": {"type": "testPattern"},
    }
    session = resolve(SessionKey.parse(name), StreamSessionSpec.model_validate(spec))
    await installation.claims.create(SessionRecord(session, (PoolChoice("local", LEVELS[0], LEVELS),)))


@pytest.fixture
async def pair(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(liveness, "GIVE_BACK_MS", GIVE_BACK_MS)
    worker = await real_worker(installation)
    gateway = await installation.gateway()
    for name in (NOISY, QUIET):
        await add(installation, name)
    steering = await installation.view(gateway, NOISY, **installation.token(NOISY))
    await installation.view(gateway, QUIET)
    yield Pair(installation, gateway, worker, steering)
    await worker.stop()
    await worker._store.aclose()


async def test_who_asks_for_more_gets_what_there_is_room_for_and_the_rest_when_there_is_more(pair: Pair) -> None:
    await pair.runs(1)
    assert await pair.costs() == (500, 500, 0)

    # Over HTTP, and over the data channel: both are told what is granted.
    asked = await pair.ask(steps=4)
    words = "no room: 2 of 4 steps, until its worker has room for more"
    assert (asked["status"], asked["level"]) == (
        202,
        {"steps": 2, "requested": 4, "reason": "no-room", "detail": words},
    )
    said = await pair.say(steps=3)
    assert (said["type"], said["level"]["steps"], said["level"]["reason"]) == ("ack", 2, "no-room")

    await pair.runs(2)
    assert await pair.costs() == (500, 500, 0)
    shown = await pair.shown()
    assert (shown["steps"], shown["level"]["steps"]) == (3, 2)

    # The neighbour ends: the wish is granted, and it pays before it runs.
    await pair.ends()
    await pair.runs(3)
    assert await pair.costs() == (1_000, 0, 0)
    assert (await pair.shown())["level"] == {
        "steps": 3,
        "requested": 3,
        "frameRate": 16,
        "reason": None,
        "detail": "",
        "since": None,
    }


async def test_who_asks_for_fewer_gives_the_room_back_once_the_worker_runs_no_more(pair: Pair) -> None:
    await pair.ends()
    assert (await pair.ask(steps=4))["level"]["steps"] == 4
    await pair.runs(4)
    assert await pair.costs() == (1_000, 0, 0)

    await pair.ask(steps=1)
    await pair.runs(1)
    async with asyncio.timeout(10):
        while await pair.costs() != (500, 0, 500):
            await asyncio.sleep(0.05)


async def test_a_worker_of_the_release_before_is_not_asked_for_what_it_has_no_room_for(pair: Pair) -> None:
    """It knows no ceilings and would run what it is asked for; so nothing is written down."""
    await pair.installation.store.hdel(f"{keys.PREFIX}worker:w0", "ceilings")

    asked = await pair.ask(steps=4)

    assert (asked["status"], asked["reason"]) == (409, "no-room")
    assert "no room for 4 steps" in asked["detail"]
    refused = await pair.say(steps=4)
    assert (refused["type"], "no room for 4 steps" in refused["detail"]) == ("error", True)
    assert (await pair.shown())["steps"] == 1
    assert (await pair.ask(steps=2))["level"]["reason"] is None
