"""Workers die, hang and drain under a live stream: viewers stay connected, sinks stay intact, time never goes back."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from genlock_cli.clients.whep import WhepViewer
from genlock_cli.up.children import ChildState
from tests.process.eyes import Eyes, publishing
from tests.process.local import MOCK, SEVERAL, TINY, Local, Workers, eventually, local_genlock
from tests.process.pages import SHOWN, browser, playing, until

pytestmark = [pytest.mark.process, pytest.mark.browser, pytest.mark.timeout(240)]

# The publisher of the failover tests never helps: it ignores PLI and sends a key frame every 10 s.
STUBBORN = ("--ignore-pli", "--key-frame-every", "10s")


@dataclass(slots=True)
class Scene:
    """A stream whose publisher is on the first of two gateways, and its viewers on both; `page` is a real browser's.

    `is_legible`: the pictures still show the source's counter.
    """

    local: Local
    eyes: list[Eyes]
    page: Page | None
    is_legible: bool = True

    async def steady(self) -> dict[str, Any]:
        """Everybody sees pictures and the sinks are complete."""
        await asyncio.gather(*(one.more(24) for one in self.eyes))
        return await self.local.when(
            lambda s: s["phase"] == "Live" and s["stats"].get("chunk", 0) >= 6 and bool(s["stats"].get("sinkDigest")),
            what="a steady stream",
        )

    def pid_of(self, worker: str) -> int:
        pid = self.local.child(worker).pid
        assert pid is not None
        return pid

    async def all_workers_ready(self) -> None:
        """Those that were started again serve again."""

        async def ready() -> bool:
            return all(child.state is ChildState.READY for child in self.local.genlock.children)

        await eventually(ready, what="all workers ready again")

    async def shown_on_page(self) -> int:
        if self.page is None:
            return 0
        return int(await self.page.evaluate(SHOWN))


@asynccontextmanager
async def scene(tmp_path: Path, executable: Path, kind: Workers = MOCK) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        local = await stack.enter_async_context(local_genlock(tmp_path, kind=kind, gateways=2))
        await stack.enter_async_context(publishing(local.urls[0], *STUBBORN))
        eyes = [await stack.enter_async_context(Eyes(f"{url}/whep/default/demo")) for url in local.urls]
        context = await stack.enter_async_context(browser(executable))
        page = await context.new_page()
        await page.goto(f"{local.urls[1]}/watch/default/demo")
        await playing(page)
        yield Scene(local, eyes, page, is_legible=kind is not TINY)  # a random network repaints blocks as it likes


def stats(session: dict[str, Any], name: str) -> bool:
    """Whether the worker has told this, with its first chunk at the latest."""
    return bool((session.get("stats") or {}).get(name))


async def recovered(one: Scene, before: dict[str, Any]) -> dict[str, Any]:
    """Another worker serves, everybody sees new pictures, and nothing was lost or shown twice."""
    shown = await one.shown_on_page()
    counts = [len(eyes.seen) for eyes in one.eyes]
    after = await one.local.when(
        lambda s: (
            s["epoch"] > before["epoch"] and s["phase"] == "Live" and stats(s, "restored") and stats(s, "sinkDigest")
        ),
        what="the stream on another worker",
    )
    await asyncio.gather(*(eyes.until(count + 24) for eyes, count in zip(one.eyes, counts, strict=True)))
    if one.page is not None:
        await until(one.page, f"{SHOWN} > {shown + 24}", what="new pictures on the page")
    assert after["worker"] != before["worker"]
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
    for eyes in one.eyes:
        assert eyes.connection_state == "connected"
        assert eyes.undecodable == 0
        counters = eyes.counters()
        assert counters == sorted(counters) or not one.is_legible
        media = [seen.media_s for seen in eyes.seen]
        assert media == sorted(set(media))
    return after


async def metric(one: Scene, name: str) -> float:
    """The sum of a metric over its label sets, over both gateways."""
    total = 0.0
    for http in one.local.http:
        text = (await http.get("/metrics")).text
        total += sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))
    return total


@pytest.mark.parametrize("kind", [MOCK, TINY, SEVERAL], ids=["mock", "diffusion", "mock-three-batches"])
async def test_a_killed_worker_costs_a_gap_and_nothing_else(
    tmp_path: Path, browser_executable: Path, kind: Workers
) -> None:
    async with scene(tmp_path, browser_executable, kind) as one:
        before = await one.steady()
        os.kill(one.pid_of(before["worker"]), signal.SIGKILL)
        after = await recovered(one, before)
        assert after["stats"]["lastRecoveryGapMs"] > 0
        assert await metric(one, "genlock_recovery_gap_seconds_count") > 0


async def test_a_stopped_worker_is_left_and_its_zombie_harms_nobody(tmp_path: Path, browser_executable: Path) -> None:
    async with scene(tmp_path, browser_executable) as one:
        before = await one.steady()
        zombie = one.pid_of(before["worker"])
        os.kill(zombie, signal.SIGSTOP)
        try:
            after = await recovered(one, before)
        finally:
            os.kill(zombie, signal.SIGCONT)
        await asyncio.gather(*(eyes.more(48) for eyes in one.eyes))
        later = await one.local.session()
        assert (later["epoch"], later["worker"]) == (after["epoch"], after["worker"])
        for eyes in one.eyes:
            counters = eyes.counters()
            assert counters == sorted(counters)
            assert eyes.connection_state == "connected"


async def test_a_polite_drain_freezes_nobody(tmp_path: Path) -> None:
    """A drain must be able to go by unseen; a busy machine may freeze a stream by itself, so it gets three tries."""
    froze = []
    async with contextlib.AsyncExitStack() as stack:
        local = await stack.enter_async_context(local_genlock(tmp_path, gateways=2))
        await stack.enter_async_context(publishing(local.urls[0], "--fps", "16"))
        eyes = await stack.enter_async_context(Eyes(f"{local.urls[1]}/whep/default/demo"))
        for url in local.urls:
            viewer = await stack.enter_async_context(WhepViewer(f"{url}/whep/default/demo"))
            await viewer.watch()
        one = Scene(local, [eyes], None)
        for _ in range(3):
            before = await one.steady()
            freezes = await metric(one, "genlock_freezes_total")
            os.kill(one.pid_of(before["worker"]), signal.SIGTERM)
            await recovered(one, before)
            froze.append(await metric(one, "genlock_freezes_total") - freezes)
            if froze[-1] == 0:
                return
            await one.all_workers_ready()
    pytest.fail(f"each of three drains froze the stream: {froze} times")
