import asyncio

from e2e.watcher import Watcher
from tests.cli.whep_gateway import whep_gateway


async def test_a_watcher_that_ends_while_it_changes_over_leaves_both_connections() -> None:
    async with whep_gateway() as gateway:
        async with Watcher.watching(gateway.url, numbered=1024) as watcher:
            (screen,) = watcher._open
            screen.viewer.asked_to_leave.set()
            async with asyncio.timeout(20):
                while len(watcher._open) < 2:
                    await asyncio.sleep(0.01)
        assert sorted(gateway.deleted) == ["0", "1"]
    assert watcher.total.reconnects == 0
