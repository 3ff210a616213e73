"""What a script costs a Redis that serves everybody: its work does not multiply levels, sessions and workers."""

from collections.abc import AsyncIterator, Awaitable

import pytest

from genlock_core import store
from genlock_core.claims import keys
from genlock_core.claims.claims import Claims
from genlock_core.claims.liveness import LATE_MS
from genlock_core.claims.price_list import PoolChoice
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity
from tests.core.claims.samples import offer, record

WORKERS = 50
PRICES = (100, 200, 300, 400)


class Pool:
    """Workers with room, all of which is kept for moves."""

    def __init__(self, client: store.Store) -> None:
        self.client = client
        self.claims = Claims(client, now_ms=ManualClock().wall_ms)

    async def open(self) -> None:
        for number in range(WORKERS):
            await self.claims.register(offer(f"w{number}"))

    async def commands_of(self, work: Awaitable[object]) -> int:
        """How many commands Redis runs for it, those of scripts included."""
        await self.client.config_resetstat()
        await work
        stats = await self.client.info("commandstats")
        return sum(int(one["calls"]) for one in stats.values())


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[Pool]:
    client = store.connect(redis_url)
    made = Pool(client)
    await made.open()
    yield made
    await client.aclose()


async def test_a_claim_at_any_of_its_levels_adds_up_what_is_free_once(pool: Pool) -> None:
    await pool.claims.set_reserve("a", 1_000 * WORKERS)
    await pool.claims.create(record("s", PoolChoice("a", PRICES[-1], PRICES), steps=len(PRICES)))

    async def asks() -> None:
        with pytest.raises(NoCapacity, match="kept for moves"):
            await pool.claims.claim("default/s")

    await asks()  # who waits is noted once
    assert await pool.commands_of(asks()) < 2 * WORKERS


async def test_a_claim_looks_at_each_worker_once_for_all_its_levels(pool: Pool) -> None:
    """All of them came late lately, so that at each level somebody better is looked for first."""
    for number in range(WORKERS):
        await pool.client.hset(keys.PREFIX + f"worker:w{number}", "late_ms", str(LATE_MS))
    await pool.claims.create(record("s", PoolChoice("a", PRICES[-1], PRICES), steps=len(PRICES)))

    assert await pool.commands_of(pool.claims.claim("default/s")) < 2 * WORKERS


async def test_a_heartbeat_adds_up_what_is_free_once_for_all_its_sessions(pool: Pool) -> None:
    for number in range(5):
        name = f"s{number}"
        # It fills one worker first; there it is the fullest.
        await pool.claims.create(record(name, PoolChoice("a", 100, PRICES), steps=1))
        await pool.claims.claim(f"default/{name}")
    (busy,) = [view for view in await pool.claims.workers() if view.sessions]
    for number in range(5):
        await pool.claims.remember_control(f"default/s{number}", {"steps": "2"}, "1-0")
    await pool.claims.set_reserve("a", 1_000 * WORKERS)

    beats = await pool.commands_of(pool.claims.renew(busy.identity, progress=1, links={}))
    assert beats < 4 * WORKERS


async def test_what_a_heartbeat_has_paid_counts_for_the_next_of_its_sessions(pool: Pool) -> None:
    """The reserve leaves room for one of two wishes."""
    for number in range(2):
        await pool.claims.create(record(f"s{number}", PoolChoice("a", 100, PRICES), steps=1))
        await pool.claims.claim(f"default/s{number}")
    (busy,) = [view for view in await pool.claims.workers() if view.sessions]
    for number in range(2):
        await pool.claims.remember_control(f"default/s{number}", {"steps": "2"}, "1-0")
    await pool.claims.set_reserve("a", 1_000 * WORKERS - 300)

    renewal = await pool.claims.renew(busy.identity, progress=1, links={})
    assert sorted(told.steps for told in renewal.ceilings.values()) == [1, 2]
