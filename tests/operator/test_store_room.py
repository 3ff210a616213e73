"""The operator settles the budget of snapshots, and measures how full Redis is."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_cli.redis_server import RedisProcess
from genlock_core import store as stores
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.metrics.operator import OperatorMetrics
from genlock_operator.store_room import StoreRoom


class Scene:
    def __init__(self, url: str, budget_bytes: int | None) -> None:
        self.store = stores.connect(url)
        self.budget = SnapshotBudget(self.store)
        self.leads = True
        self.registry = CollectorRegistry()
        self.room = StoreRoom(
            self.store,
            budget_bytes=budget_bytes,
            metrics=OperatorMetrics(self.registry),
            leads=lambda: self.leads,
        )

    async def told(self) -> int:
        return (await self.budget.bookings()).budget

    def figure(self, name: str, part: str) -> float | None:
        return self.registry.get_sample_value(f"genlock_operator_{name}_bytes", {"part": part})


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    made = Scene(redis_url, 5_000)
    yield made
    await made.store.aclose()


async def test_who_leads_settles_the_budget_again_after_redis_lost_it(scene: Scene) -> None:
    for _ in range(2):
        await scene.room.look()
        assert await scene.told() == 5_000
        await cast("Any", scene.store.flushall())
    scene.leads = False
    await scene.room.look()
    assert await scene.told() == 1024**3
    assert (scene.figure("snapshot", "budget"), scene.figure("snapshot", "booked")) == (1024**3, 0)


async def test_a_setting_that_was_taken_back_leaves_the_default(scene: Scene) -> None:
    await scene.budget.settle(77)
    default = Scene("redis://127.0.0.1:1", None)
    default.room._store, default.room._budget = scene.store, scene.budget
    await default.room.look()
    assert await scene.told() == 1024**3
    await default.store.aclose()


async def test_how_full_redis_is(redis_server: RedisProcess) -> None:
    scene = Scene(redis_server.url, None)
    await scene.room.look()
    assert scene.figure("store", "limit") == 0
    await cast("Any", scene.store.config_set("maxmemory", "64mb"))
    await scene.room.look()
    assert scene.figure("store", "limit") == 64 * 1024**2
    assert 0 < (scene.figure("store", "used") or 0) < 64 * 1024**2
    assert scene.figure("snapshot", "budget") == 32 * 1024**2
    await scene.store.aclose()


async def test_of_a_cluster_the_fullest_master_counts(redis_cluster: list[str]) -> None:
    client = stores.connect(redis_cluster[0].replace("redis://", "redis+cluster://"))
    second = stores.connect(redis_cluster[1])
    try:
        await cast("Any", second.config_set("maxmemory", "16mb"))
        assert (await stores.fullest(client)).limit == 16 * 1024**2
    finally:
        await cast("Any", second.config_set("maxmemory", "0"))
        await second.aclose()
        await client.aclose()
