"""What a worker makes of the steps that are granted: the engine first, then the claim, and never an older number."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims.facts import Ceiling
from genlock_core.claims.record import Granted
from genlock_worker.session.granted_level import GrantedLevel
from tests.core.claims.samples import record


class Engine:
    """Keeps to a limit once it is let; `limits` are those that it was told."""

    def __init__(self) -> None:
        self.limits: list[int] = []
        self.free = asyncio.Event()
        self.free.set()

    async def limit(self, _session: str, steps: int) -> None:
        self.limits.append(steps)
        await self.free.wait()


class Books:
    """Where a level is settled."""

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.away = False
        self.free = asyncio.Event()
        self.free.set()

    async def settle(self, _session: str, *, epoch: int, number: int) -> bool:
        if self.away:
            raise RedisAway
        self.settled.append(number)
        await self.free.wait()
        return True


class Here:
    """A session that pays 1,000 thousandths for 4 steps, by grant 7."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.books = Books()
        self.level = GrantedLevel(
            record(), epoch=3, claims=cast("Any", self.books), engine=cast("Any", self.engine), name="demo@3"
        )

    async def hear(self, told: Ceiling) -> bool:
        if self.level.hear(told):
            await self.level.follow(told)
            return True
        return False


FULL = Ceiling(steps=4, number=7, cost=1_000, due=1_000)
LOWERED = Ceiling(steps=1, number=8, cost=1_000, due=250)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0)


@pytest.fixture
async def here() -> Here:
    made = Here()
    await made.hear(FULL)
    return made


async def test_a_ceiling_is_brought_to_the_engine_once(here: Here) -> None:
    assert not await here.hear(FULL)
    assert (here.engine.limits, here.books.settled, here.level.cost) == ([4], [], 1_000)


async def test_a_lower_one_is_settled_once_the_engine_keeps_to_it(here: Here) -> None:
    here.engine.free.clear()
    assert here.level.hear(LOWERED)
    following = asyncio.create_task(here.level.follow(LOWERED))
    await asyncio.sleep(0)
    assert (here.books.settled, here.level.cost) == ([], 1_000)
    assert not here.level.hear(LOWERED), "the next heartbeat does not ask a busy engine again"

    here.engine.free.set()
    await following

    assert (here.books.settled, here.level.cost) == ([8], 250)


async def test_a_raise_that_comes_while_the_engine_is_busy_is_not_settled_by_the_older_number(here: Here) -> None:
    here.engine.free.clear()
    here.level.hear(LOWERED)
    following = asyncio.create_task(here.level.follow(LOWERED))
    await asyncio.sleep(0)
    here.level.hear(Ceiling(steps=2, number=9, cost=1_000, due=500))
    here.engine.free.set()
    await following
    assert here.books.settled == []

    await here.hear(Ceiling(steps=2, number=9, cost=1_000, due=500))

    assert (here.engine.limits, here.books.settled, here.level.cost) == ([4, 1, 2], [9], 500)


async def test_what_could_not_be_settled_is_settled_with_a_later_heartbeat(here: Here) -> None:
    here.books.away = True
    await here.hear(LOWERED)
    here.books.away = False
    await here.hear(LOWERED)
    assert here.books.settled == [8]


async def test_an_older_number_counts_no_more(here: Here) -> None:
    await here.hear(LOWERED)
    assert not await here.hear(FULL)
    assert here.level.steps == 1


async def test_an_older_number_that_is_told_again_counts_as_redis_went_back(here: Here) -> None:
    await here.hear(LOWERED)
    await here.hear(FULL)

    assert await here.hear(FULL)

    assert (here.level.granted, here.level.cost) == (Granted(4, 7), 1_000)
    assert here.engine.limits == [4, 1, 4]


async def test_an_older_number_now_and_then_is_a_late_answer(here: Here) -> None:
    await here.hear(LOWERED)
    for _ in range(3):
        await here.hear(FULL)
        await here.hear(replace(LOWERED, cost=250))
    assert (here.level.steps, here.engine.limits) == (1, [4, 1])


async def test_an_answer_from_before_the_settlement_does_not_bring_the_higher_cost_back(here: Here) -> None:
    here.books.free.clear()
    assert here.level.hear(LOWERED)
    following = asyncio.create_task(here.level.follow(LOWERED))
    await until(lambda: here.books.settled == [8])

    assert not here.level.hear(LOWERED)
    assert here.level.cost == 250, "a session that Redis gave the room to may be here already"
    here.books.free.set()
    await following
    here.level.hear(LOWERED)
    assert here.level.cost == 250, "it may come later still"


async def test_a_level_that_got_dearer_is_what_the_claim_pays(here: Here) -> None:
    await here.hear(replace(FULL, due=1_200))
    assert here.level.cost == 1_000


async def test_an_engine_that_has_just_opened_the_session_is_told_again(here: Here) -> None:
    await here.level.opened(4)
    assert await here.hear(FULL)
    assert here.engine.limits == [4, 4]


async def test_what_was_settled_while_the_engine_opened_the_session_holds_before_its_first_chunk(here: Here) -> None:
    await here.hear(LOWERED)
    await here.level.opened(4)
    assert here.engine.limits == [4, 1, 1]


async def test_what_is_granted_while_the_engine_is_told_is_told_as_well(here: Here) -> None:
    await here.hear(LOWERED)
    here.engine.free.clear()
    opening = asyncio.create_task(here.level.opened(4))
    await until(lambda: here.engine.limits == [4, 1, 1])
    here.level.hear(Ceiling(steps=2, number=9, cost=500, due=500))
    here.engine.free.set()
    await opening
    assert here.engine.limits == [4, 1, 1, 2]
