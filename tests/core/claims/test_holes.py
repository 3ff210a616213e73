"""Who wants much and waits longest is not passed for ever by small sessions, and keeps them out for a while at most."""

import pytest

from genlock_core.claims.claims import Claims, GrantOutcome
from genlock_core.claims.facts import LimitOutcome
from genlock_core.claims.liveness import HOLE_AFTER_MS, HOLE_KEPT_MS, HOLE_PAUSE_MS, WAITS_MS
from genlock_core.claims.record import PoolChoice
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity
from genlock_core.spec.session import Phase
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record

LARGE = "default/large"
WANTED, SMALL = 400, 100


class Crowd:
    """One worker, or two, full of small sessions; one leaves and one comes each second, and a large one waits."""

    def __init__(self, claims: Claims, clock: ManualClock) -> None:
        self.claims = claims
        self.clock = clock
        self.workers = [offer("w0")]
        self.inside: list[str] = []
        self.outside: list[str] = []
        self.made = 0
        self.progress = 0

    async def open(self) -> None:
        for worker in self.workers:
            await self.claims.register(worker)
        while await self.small_comes():
            pass
        await self.claims.forget(self.outside.pop())
        await self.claims.create(record("large", PoolChoice("a", WANTED)))

    async def small_comes(self) -> bool:
        name = f"small{self.made:03}"
        self.made += 1
        await self.claims.create(record(name, PoolChoice("a", SMALL)))
        self.outside.append(f"default/{name}")
        return await self.asks(f"default/{name}")

    async def asks(self, session: str) -> bool:
        """Whether it is served."""
        try:
            await self.claims.claim(session)
        except NoCapacity:
            return False
        if session in self.outside:
            self.outside.remove(session)
            self.inside.append(session)
        return True

    async def one_leaves(self) -> None:
        session = self.inside.pop(0)
        found = await self.claims.record(session)
        assert found is not None
        await self.claims.release(session, epoch=found.epoch, phase=Phase.ENDED)

    async def second(self) -> None:
        await time_passes(self.claims, self.clock, 1.0)
        self.progress += 1
        for worker in self.workers:
            await self.claims.renew(worker.identity, progress=self.progress, links={})

    async def waits_until_kept(self) -> None:
        """Large asks, until the room of the worker is kept for it."""
        for _ in range(HOLE_AFTER_MS // 1_000):
            assert not await self.asks(LARGE)
            assert await self.kept_at() is None
            await self.second()
        assert not await self.asks(LARGE)

    async def kept_at(self) -> str | None:
        waits = await self.claims.waiting("a")
        return next((one.kept_at for one in waits if one.kept_at is not None), None)


@pytest.fixture
async def crowd(claims: Claims, clock: ManualClock) -> Crowd:
    made = Crowd(claims, clock)
    await made.open()
    return made


async def test_a_large_session_is_served_where_one_small_one_leaves_and_one_comes_each_second(crowd: Crowd) -> None:
    for _ in range(HOLE_AFTER_MS // 1_000 + WANTED // SMALL + 1):
        await crowd.one_leaves()
        await crowd.small_comes()  # the faster one
        if await crowd.asks(LARGE):
            break
        await crowd.second()
    else:
        pytest.fail("never served")
    assert await crowd.kept_at() is None
    for session in list(crowd.outside):
        await crowd.asks(session)
    await crowd.one_leaves()
    assert await crowd.asks(crowd.outside[0]), "what was kept for it keeps nobody out any more"


async def test_the_next_one_has_its_turn_at_once_where_a_hole_was_filled(crowd: Crowd) -> None:
    await crowd.waits_until_kept()
    await crowd.claims.create(record("next", PoolChoice("a", WANTED)))
    for _ in range(HOLE_AFTER_MS // 1_000):
        assert not await crowd.asks("default/next")
        await crowd.second()
    for _ in range(WANTED // SMALL):
        await crowd.one_leaves()
    assert await crowd.asks(LARGE)
    assert not await crowd.asks("default/next")
    assert await crowd.kept_at() == "w0"


async def test_a_hole_that_is_never_filled_keeps_small_sessions_out_for_a_while_and_then_not_for_as_long(
    crowd: Crowd,
) -> None:
    await crowd.waits_until_kept()
    assert await crowd.kept_at() == "w0"
    await crowd.one_leaves()
    assert not await crowd.small_comes()
    (small,) = crowd.outside
    for _ in range(HOLE_KEPT_MS // 1_000 - 1):
        await crowd.second()
        assert not await crowd.asks(LARGE)
        assert not await crowd.asks(small)
    await crowd.second()
    assert await crowd.kept_at() is None
    assert await crowd.asks(small)

    # Whoever waits then, nothing is kept for a time.
    await crowd.one_leaves()
    for _ in range(HOLE_PAUSE_MS // 1_000 - 1):
        await crowd.second()
        assert not await crowd.asks(LARGE)
        assert await crowd.kept_at() is None
    await crowd.second()
    assert not await crowd.asks(LARGE)
    assert await crowd.kept_at() == "w0"


@pytest.mark.parametrize("how", ["gone", "silent", "wants another pool"])
async def test_nothing_is_kept_for_who_waits_there_no_more(crowd: Crowd, how: str) -> None:
    await crowd.waits_until_kept()
    await crowd.one_leaves()
    assert not await crowd.small_comes()
    if how == "gone":
        await crowd.claims.set_phase(LARGE, 0, Phase.ENDED)
    elif how == "silent":
        for _ in range(WAITS_MS // 1_000 + 1):
            await crowd.second()
    else:
        await crowd.claims.create(record("large", PoolChoice("b", WANTED)))
        assert not await crowd.asks(LARGE)
    assert await crowd.kept_at() is None
    assert await crowd.asks(crowd.outside[0])


async def test_who_is_kept_out_is_told_for_whom(crowd: Crowd) -> None:
    await crowd.waits_until_kept()
    await crowd.one_leaves()
    await crowd.small_comes()
    with pytest.raises(NoCapacity, match=f"beside what w0 keeps for {LARGE}, which waits longer"):
        await crowd.claims.claim(crowd.outside[0])
    room = await crowd.claims.room(crowd.outside[0])
    assert room is not None
    assert not room.fits


async def test_only_the_room_of_one_worker_is_kept_that_of_the_one_with_the_most(crowd: Crowd) -> None:
    crowd.workers.append(offer("w1"))
    await crowd.claims.register(crowd.workers[1])
    while await crowd.small_comes():
        pass
    (last,) = crowd.outside
    there = {view.identity.name: view.sessions for view in await crowd.claims.workers()}["w1"]
    moved = [session for session in crowd.inside if session in there]
    crowd.inside = [moved[0], *(session for session in crowd.inside if session != moved[0])]
    await crowd.one_leaves()
    await crowd.waits_until_kept()
    assert await crowd.kept_at() == "w1"
    assert not await crowd.asks(last)
    await crowd.one_leaves()
    assert await crowd.asks(last), "on the other one"


async def test_where_the_worker_leaves_the_room_of_another_one_is_kept_at_once(crowd: Crowd) -> None:
    crowd.workers.append(offer("w1"))
    await crowd.claims.register(crowd.workers[1])
    while await crowd.small_comes():
        pass
    await crowd.waits_until_kept()
    (leaves,) = [one for one in crowd.workers if one.identity.name == await crowd.kept_at()]
    await crowd.claims.close(leaves.identity)
    assert await crowd.kept_at() is None
    assert not await crowd.asks(LARGE)
    assert await crowd.kept_at() == next(one.identity.name for one in crowd.workers if one is not leaves)


async def test_who_waits_in_several_pools_has_room_kept_in_one_of_them_at_a_time(crowd: Crowd) -> None:
    crowd.workers.append(offer("w1", "b"))
    await crowd.claims.register(crowd.workers[1])
    await crowd.claims.create(record("large", PoolChoice("a", WANTED), PoolChoice("b", WANTED)))
    filling = [f"default/there{number}" for number in range(10)]
    for name in filling:
        await crowd.claims.create(record(name.removeprefix("default/"), PoolChoice("b", SMALL)))
        assert await crowd.asks(name)
    crowd.outside = ["default/new"]
    await crowd.claims.create(record("new", PoolChoice("b", SMALL)))

    async def kept() -> list[str]:
        waits = [*await crowd.claims.waiting("a"), *await crowd.claims.waiting("b")]
        return [one.kept_at for one in waits if one.kept_at is not None]

    await crowd.waits_until_kept()
    assert await kept() == ["w0"]

    # In the other pool whoever comes takes what is there.
    found = await crowd.claims.record(filling[0])
    assert found is not None
    await crowd.claims.release(filling[0], epoch=found.epoch, phase=Phase.ENDED)
    assert await crowd.asks("default/new")

    # Once the first was kept in vain it is the other's turn, and then none's.
    for second in range(2 * HOLE_KEPT_MS // 1_000):
        assert await kept() == (["w0"] if second < HOLE_KEPT_MS // 1_000 else ["w1"])
        await crowd.second()
        assert not await crowd.asks(LARGE)
    assert await kept() == ["w0"], "its pause is over"


async def test_who_had_a_worker_goes_where_there_is_room(crowd: Crowd) -> None:
    await crowd.waits_until_kept()
    session = crowd.inside[-1]
    found = await crowd.claims.record(session)
    assert found is not None
    await crowd.claims.release(session, epoch=found.epoch, phase=Phase.RECOVERING)
    assert await crowd.asks(session)


async def test_nothing_is_kept_where_no_worker_could_ever_hold_it(crowd: Crowd) -> None:
    await crowd.claims.create(record("large", PoolChoice("a", 1_001)))
    for _ in range(2 * HOLE_AFTER_MS // 1_000):
        assert not await crowd.asks(LARGE)
        await crowd.second()
    assert await crowd.kept_at() is None


async def test_nothing_is_kept_where_a_reserve_stands_in_the_way_and_not_small_sessions(crowd: Crowd) -> None:
    for _ in range(WANTED // SMALL):
        await crowd.one_leaves()
    await crowd.claims.set_reserve("a", 100)
    for _ in range(2 * HOLE_AFTER_MS // 1_000):
        assert not await crowd.asks(LARGE)
        await crowd.second()
    assert await crowd.kept_at() is None


async def test_neither_wishes_nor_plans_take_what_is_kept(crowd: Crowd) -> None:
    await crowd.one_leaves()
    await crowd.one_leaves()
    await crowd.claims.create(record("levelled", PoolChoice("a", 100, (100, 200, 300, 400)), steps=1))
    await crowd.claims.claim("default/levelled")
    await crowd.waits_until_kept()
    assert (await crowd.claims.grant("default/levelled", 2)).outcome is GrantOutcome.NO_ROOM
    await crowd.claims.remember_control("default/levelled", {"steps": "2"}, "1-0")
    await crowd.second()
    found = await crowd.claims.record("default/levelled")
    assert found is not None
    assert found.granted is not None
    assert found.granted.steps == 1
    outcome = await crowd.claims.limit(found.name, epoch=found.epoch, number=found.granted.number, steps=None)
    assert outcome is LimitOutcome.NO_ROOM

    # Once it waits no more, the wish is granted.
    await crowd.claims.set_phase(LARGE, 0, Phase.ENDED)
    await crowd.second()
    found = await crowd.claims.record("default/levelled")
    assert found is not None
    assert found.granted is not None
    assert found.granted.steps == 2
