"""What happens to a pool's sessions is counted by the scripts that let it happen, each session once."""

import pytest

from genlock_core import store
from genlock_core.claims.claims import Claims, MoveCause
from genlock_core.claims.counters import CounterBoard, PoolCounters
from genlock_core.claims.liveness import HEARTBEAT_STALE_MS, HOLD_MS, LEASE_MS
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity, Overloaded
from genlock_core.spec.session import Phase
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import IDLE_TIMEOUT_MS, offer, record

DEMO = "default/demo"


class Counted:
    """Two pools, and what was counted of them."""

    def __init__(self, claims: Claims, clock: ManualClock, redis: store.Store) -> None:
        self.claims = claims
        self.clock = clock
        self._board = CounterBoard(redis)

    async def of(self, pool: str = "a") -> PoolCounters:
        return (await self._board.pools([pool]))[pool]

    async def asks(self, session: str = DEMO) -> bool:
        """Whether it found room."""
        try:
            await self.claims.claim(session)
        except (NoCapacity, Overloaded):
            return False
        return True


@pytest.fixture
async def counted(claims: Claims, clock: ManualClock, redis_store: store.Store) -> Counted:
    await claims.register(offer("w0"))
    return Counted(claims, clock, redis_store)


async def test_a_session_arrives_once_and_departs_once(counted: Counted) -> None:
    await counted.claims.create(record("demo"))
    assert await counted.of() == PoolCounters()
    assert await counted.asks()
    assert await counted.asks(), "it has a worker"
    assert await counted.of() == PoolCounters(arrivals=1)

    epoch = (await counted.claims.claim(DEMO)).epoch
    assert await counted.claims.release(DEMO, epoch=epoch, phase=Phase.ENDED)
    assert not await counted.claims.release(DEMO, epoch=epoch, phase=Phase.ENDED)
    assert await counted.claims.forget(DEMO)
    assert await counted.of() == PoolCounters(arrivals=1, departures=1)


async def test_who_finds_no_room_is_blocked_once_in_the_pool_that_it_would_like_best(counted: Counted) -> None:
    await counted.claims.create(record("big", ("a", 900)))
    assert await counted.asks("default/big")
    await counted.claims.create(record("demo", ("a", 400), ("b", 400)))
    assert not await counted.asks()
    assert not await counted.asks()
    await time_passes(counted.claims, counted.clock, 60.0)
    assert not await counted.asks(), "it comes back a minute later"
    assert await counted.of() == PoolCounters(arrivals=1, blocked=1)
    assert await counted.of("b") == PoolCounters()

    await counted.claims.register(offer("w1", "b"))
    assert await counted.asks()
    assert await counted.asks()
    assert await counted.of() == PoolCounters(arrivals=1, blocked=1, relieved=1)
    assert await counted.of("b") == PoolCounters(arrivals=1)


async def test_a_session_that_changes_its_worker_neither_arrives_nor_departs(counted: Counted) -> None:
    await counted.claims.create(record("demo"))
    claim = await counted.claims.claim(DEMO)
    await counted.claims.register(offer("w1"))
    moved = await counted.claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert moved.won

    await counted.claims.register(offer("w1"))  # a new process: what the old one had is void
    assert await counted.asks()
    assert await counted.of() == PoolCounters(arrivals=1)


async def test_one_that_lost_its_worker_and_finds_no_room_is_not_blocked(counted: Counted) -> None:
    await counted.claims.create(record("demo"))
    claim = await counted.claims.claim(DEMO)
    with pytest.raises(NoCapacity):
        await counted.claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert await counted.of() == PoolCounters(arrivals=1)


@pytest.mark.parametrize("ends", ["idle", "failed", "forgotten"])
async def test_a_session_departs_however_it_ends(counted: Counted, ends: str) -> None:
    await counted.claims.create(record("demo"))
    claim = await counted.claims.claim(DEMO)
    match ends:
        case "idle":
            await counted.claims.expire()
            for _ in range(IDLE_TIMEOUT_MS // 1_000 + HOLD_MS // 1_000 + 1):
                await time_passes(counted.claims, counted.clock, 1.0)
            await counted.claims.expire()
        case "failed":
            assert await counted.claims.set_phase(DEMO, claim.epoch, Phase.FAILED)
        case "forgotten":
            await counted.claims.expire()
            await time_passes(counted.claims, counted.clock, (HOLD_MS + LEASE_MS + HEARTBEAT_STALE_MS) / 1_000)
            assert await counted.claims.expire() == (DEMO,), "nobody owns it"
            assert await counted.claims.forget(DEMO)
    assert await counted.of() == PoolCounters(arrivals=1, departures=1)


async def test_who_never_had_a_worker_does_not_depart(counted: Counted) -> None:
    await counted.claims.create(record("demo", ("a", 2_000)))
    assert not await counted.asks()
    assert await counted.claims.set_phase(DEMO, 0, Phase.ENDED)
    await counted.claims.create(record("other"))
    assert await counted.claims.forget("default/other")
    assert await counted.of() == PoolCounters(blocked=1)


async def test_a_session_without_a_pool_is_counted_nowhere(counted: Counted) -> None:
    empty = record("demo")
    await counted.claims.create(type(empty)(empty.session, ()))
    assert not await counted.asks()
    assert await counted.of() == PoolCounters()
