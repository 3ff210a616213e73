"""Redis restarts, with and without its data, under a live stream: viewers see nothing of it."""

import shutil
from pathlib import Path

import pytest

from tests.process.eyes import Eyes, publishing
from tests.process.local import local_genlock

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


@pytest.mark.parametrize("keeps_data", [True, False], ids=["keeps its data", "loses its data"])
async def test_a_live_stream_outlives_redis(tmp_path: Path, keeps_data: bool) -> None:
    async with local_genlock(tmp_path) as local, publishing(local.urls[0]):
        async with Eyes(f"{local.urls[0]}/whep/default/demo") as eyes:
            await eyes.until(48)
            before = await local.session()
            redis = local.genlock._redis
            assert redis is not None
            redis.kill()
            if not keeps_data:
                shutil.rmtree(tmp_path / "state" / "redis")
            await eyes.more(48)
            after = await local.when(
                lambda s: s["phase"] == "Live" and bool(s["worker"]), what="the session in Redis again"
            )
            assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])
            assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
            await eyes.more(16)
    counters = eyes.counters()
    assert counters == sorted(counters)
