"""A keeper runs by itself: its loops wake each other, and a Redis that is away neither ends them nor fills a log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisAway

from genlock_core import store
from genlock_core.claims.claims import Claims
from genlock_core.claims.price_list import PoolChoice
from genlock_core.clock import SystemClock
from genlock_core.errors import NoCapacity
from genlock_core.levelling import keeper as keeper_module
from genlock_core.levelling.keeper import LevelKeeper
from genlock_core.levelling.told import ToldPools
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.process.tasks import end_tasks
from tests.core.claims.samples import offer, record
from tests.core.levelling.busy_hour import PRICES
from tests.core.levelling.world import POOL

WITHIN_S = 20.0
"""Of a machine that is busy; it takes a tenth of a second."""


class Flaky(Claims):
    """Redis is away as long as `away` says so."""

    away = False
    refused = 0

    async def _answers(self) -> None:
        if self.away:
            self.refused += 1
            raise RedisAway("away")

    async def workers(self) -> Any:
        await self._answers()
        return await super().workers()

    async def last_event(self) -> str:
        await self._answers()
        return await super().last_event()


@pytest.fixture
async def claims(redis_url: str) -> AsyncIterator[Flaky]:
    client = store.connect(redis_url)
    yield Flaky(client)
    await client.aclose()


@asynccontextmanager
async def running(claims: Claims, redis_url: str) -> AsyncIterator[LevelKeeper]:
    client = store.connect(redis_url)
    keeper = LevelKeeper(
        claims,
        ToldPools(client),
        holder="g0",
        rank=1,
        clock=SystemClock(),
        metrics=LevellingMetrics(CollectorRegistry()),
    )
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
        assert not task.done()
    finally:
        await end_tasks([task])
        await client.aclose()


async def test_a_full_worker_takes_one_more_without_anybody_turning_a_wheel(claims: Flaky, redis_url: str) -> None:
    worker = offer("w")
    await claims.register(worker)
    for number in range(8):
        await claims.create(record(f"s{number}", PoolChoice(POOL, PRICES[-1], PRICES), steps=4))
        await claims.claim(f"default/s{number}")
    await claims.create(record("ninth", PoolChoice(POOL, PRICES[-1], PRICES), steps=4))

    progress = 0
    async with running(claims, redis_url), asyncio.timeout(WITHIN_S):
        while True:
            progress += 1
            renewal = await claims.renew(worker.identity, progress=progress, links={})
            for session, told in renewal.ceilings.items():
                await claims.settle(session, epoch=renewal.owned[session], number=told.number)
            try:
                claim = await claims.claim("default/ninth")
            except NoCapacity:
                await asyncio.sleep(0.05)
            else:
                break
    assert claim.worker == worker.identity


async def test_a_redis_that_is_away_ends_nothing_and_is_told_once(
    claims: Flaky, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await claims.register(offer("w"))
    claims.away = True
    with caplog.at_level(logging.WARNING):
        async with running(claims, redis_url) as keeper, asyncio.timeout(WITHIN_S):
            while claims.refused < 3:
                await asyncio.sleep(0.05)
            assert not keeper.leads(POOL)

            claims.away = False
            while not keeper.leads(POOL):
                await asyncio.sleep(0.05)
    told = [one.getMessage() for one in caplog.records if one.name == keeper_module.__name__]
    assert told == ["levels are not planned (lease): away"]
