"""The Redis that the tests get is what the fixtures promise."""

import pytest
from redis.asyncio import Redis, RedisCluster

from tests.redis_servers import CLUSTER_MASTERS


@pytest.mark.parametrize("run", ["first", "second"])
async def test_every_test_finds_an_empty_redis(redis_url: str, run: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", run)


@pytest.mark.parametrize("run", ["first", "second"])
async def test_every_test_finds_an_empty_cluster(redis_cluster: list[str], run: str) -> None:
    assert len(redis_cluster) == CLUSTER_MASTERS
    async with RedisCluster.from_url(redis_cluster[0]) as client:
        assert len(client.get_primaries()) == CLUSTER_MASTERS
        for index in range(32):
            assert await client.get(f"key-{index}") is None
            await client.set(f"key-{index}", run)
