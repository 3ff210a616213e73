"""A publisher's process is killed: whoever comes next gets in within seconds, without a header to help itself with."""

import asyncio
import sys
from pathlib import Path

import pytest

from genlock_cli.clients.whip import WhipPublisher
from genlock_gateway.sessions.publisher_slot import QUIET_S
from tests.process.local import local_genlock

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


async def test_a_killed_publisher_is_followed_by_the_next_one(tmp_path: Path) -> None:
    async with local_genlock(tmp_path, workers=1) as local:
        command = (sys.executable, "-m", "genlock_cli.main", "publish", "testsrc", "demo", "--gateway", local.urls[0])
        first = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await local.when(lambda session: session["publisher"], what="somebody publishes")
        finally:
            first.kill()
            await first.wait()

        clock = asyncio.get_running_loop()
        killed_s = clock.time()
        async with WhipPublisher(f"{local.urls[0]}/whip/default/demo") as second:
            await second.publish(on_key_frame_wanted=lambda: None)  # a 409 would be raised
            print(f"connected {clock.time() - killed_s:.1f} s after the kill")  # noqa: T201 - measured with -s
            assert clock.time() - killed_s >= QUIET_S - 1, "the one that was killed was not given its time"
