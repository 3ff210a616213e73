"""Claims against a real Redis, and what their tests are made of."""

from collections.abc import AsyncIterator

import pytest

from genlock_core import store
from genlock_core.claims.claims import Claims
from genlock_core.clock import ManualClock
from tests.core.claims.floor import Floor


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def redis_store(redis_url: str) -> AsyncIterator[store.Store]:
    client = store.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def claims(redis_store: store.Store, clock: ManualClock) -> Claims:
    return Claims(redis_store, now_ms=clock.wall_ms)


@pytest.fixture
async def floor(claims: Claims, clock: ManualClock, redis_store: store.Store) -> Floor:
    made = Floor(claims, clock, redis_store)
    await made.open()
    return made
