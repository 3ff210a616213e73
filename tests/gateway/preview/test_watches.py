"""Previews of a gateway are bounded whoever asks, and forgotten when nobody does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import ManualClock
from genlock_core.link.events import PictureReceived
from genlock_core.metrics import GatewayMetrics
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.subscriptions.preview import PREVIEW_TTL_S
from genlock_gateway.access.problems import Problem
from genlock_gateway.preview import watch as watches
from genlock_gateway.preview import watches as rooms
from genlock_gateway.preview.watches import PreviewWatches
from genlock_gateway.sessions.upstream.links import Links
from tests.gateway.preview.test_watch import FakeLinks, still


def record(name: str = "demo", *, owned: bool = True) -> SessionRecord:
    made = SessionRecord(session=resolve(SessionKey(name=name), StreamSessionSpec()), pools=())
    if not owned:
        return made
    return replace(made, epoch=3, owner=WorkerIdentity("w0", "a"), address="w0:1", pool="local", cost=500)


class Scene:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.links = FakeLinks()
        self.metrics = GatewayMetrics(CollectorRegistry())
        self.previews = PreviewWatches(
            gateway="g0", links=cast(Links, self.links), clock=self.clock, metrics=self.metrics
        )

    async def reason(self, record: SessionRecord) -> str:
        """Why there is no picture."""
        with pytest.raises(Problem) as problem:
            await self.previews.picture(record)
        assert problem.value.status == 503
        assert int(problem.value.headers["Retry-After"]) >= 1
        return str(problem.value.extra["reason"])

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(watches, "WAIT_S", 0.02)
    made = Scene()
    yield made
    made.previews.close()


async def test_a_session_without_a_worker_has_no_picture_and_nothing_is_asked(scene: Scene) -> None:
    assert await scene.reason(record(owned=False)) == "no-worker"
    assert scene.links.asked == []


async def test_whoever_waits_gets_the_first_picture(scene: Scene) -> None:
    looking = [asyncio.create_task(scene.previews.picture(record())) for _ in range(3)]
    while not scene.links.channels:
        await asyncio.sleep(0)
    scene.links.say(PictureReceived(1, "default/demo", 3, still(1)))
    assert await asyncio.gather(*looking) == [still(1)] * 3
    assert scene.metric("genlock_preview_requests_total", result="picture") == 3
    assert scene.metric("genlock_preview_watches") == 1


async def test_sessions_that_are_previewed_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MAX_WATCHES", 2)
    for name in ("one", "two"):
        assert await scene.reason(record(name)) == "no-picture"
    assert await scene.reason(record("three")) == "gateway-full"
    assert await scene.reason(record("one")) == "no-picture", "one that has its place may be looked at"
    assert len(scene.links.asked) == 2


async def test_a_place_is_free_again_when_nobody_has_looked_for_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MAX_WATCHES", 1)
    await scene.reason(record("one"))
    scene.clock.advance(PREVIEW_TTL_S + 0.1)
    assert await scene.reason(record("two")) == "no-picture"
    assert scene.links.channels[0].closed == "nobody looks"
    assert scene.metric("genlock_preview_watches") == 1


async def test_requests_that_wait_are_bounded_and_take_nothing_from_those_that_need_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MAX_WAITING", 1)
    await scene.reason(record("shown"))
    scene.links.say(PictureReceived(1, "default/shown", 3, still(1)))
    waiting = asyncio.create_task(scene.reason(record("one")))
    await asyncio.sleep(0)
    assert await scene.reason(record("two")) == "gateway-full"
    assert await scene.previews.picture(record("shown")) == still(1)
    assert await waiting == "no-picture"


async def test_closing_leaves_every_worker(scene: Scene) -> None:
    await scene.reason(record("one"))
    scene.previews.close()
    assert scene.links.channels[0].closed == "the gateway stops"
    assert scene.metric("genlock_preview_watches") == 0
