"""A gateway dies or drains: its clients come back by themselves, and the same publisher's key takes over."""

import os
import signal
from pathlib import Path

import pytest

from genlock_cli.up.children import ChildState
from tests.process.eyes import Eyes, publishing
from tests.process.local import Local, eventually, local_genlock
from tests.process.pages import browser, playing

pytestmark = [pytest.mark.process, pytest.mark.browser, pytest.mark.timeout(240)]


async def restarted(local: Local, name: str, *, pid: int) -> None:
    child = local.child(name)

    async def ready() -> bool:
        return child.pid not in {None, pid} and child.state is ChildState.READY

    await eventually(ready, what=f"{name} started again")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_page_and_publisher_come_back_to_a_restarted_gateway(
    tmp_path: Path, browser_executable: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no other gateway to go to: the clients stay as long as they may.
    monkeypatch.setenv("GENLOCK_GATEWAY_DRAIN_TIMEOUT", "4s")
    async with local_genlock(tmp_path) as local, browser(browser_executable) as context:
        async with publishing(local.urls[0], "--publisher-id", "me"):
            page = await context.new_page()
            await page.goto(f"{local.urls[0]}/watch/default/demo")
            await playing(page)
            before = await local.session()
            pid = local.child("g0").pid
            assert pid is not None
            os.kill(pid, number)
            await restarted(local, "g0", pid=pid)
            await playing(page)
            after = await local.when(lambda s: s["phase"] == "Live" and s["publisher"], what="the publisher is back")
    assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]


async def test_viewers_of_another_gateway_notice_only_the_publishers_absence(tmp_path: Path) -> None:
    async with local_genlock(tmp_path, gateways=2) as local:
        async with Eyes(f"{local.urls[1]}/whep/default/demo") as eyes:
            async with publishing(local.urls[0], "--publisher-id", "me"):
                await eyes.until(24)
                pid = local.child("g0").pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await restarted(local, "g0", pid=pid)
                seen = len(eyes.seen)
                await eyes.until(seen + 24)
        assert eyes.undecodable == 0
        assert [one.media_s for one in eyes.seen] == sorted(one.media_s for one in eyes.seen)
