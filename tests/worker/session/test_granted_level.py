"""What a worker makes of the steps that are granted: the engine first, then the claim, and never an older number."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.record import Granted, LevelLimit
from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.session.granted_level import GrantedLevel
from tests.core.claims.samples import record


class Engine:
    """Keeps to a limit once it is let; `limits` are those that it was told."""

    def __init__(self) -> None:
        self.limits: list[Level] = []
        self.runs = Level(4)
        self.free = asyncio.Event()
        self.free.set()

    async def limit(self, _session: str, level: Level) -> Level | None:
        self.limits.append(level)
        await self.free.wait()
        before, self.runs = self.runs, level
        return level if level != before else None


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
        self.clock = ManualClock()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.changes: list[tuple[Level, float]] = []
        self.level = GrantedLevel(
            record(),
            epoch=3,
            claims=cast("Any", self.books),
            engine=cast("Any", self.engine),
            name="demo@3",
            figures=cast("Any", self),
            clock=self.clock,
            metrics=self.metrics,
        )

    def level_changes(self, level: Level, *, since_s: float) -> None:
        """What the session's figures are told."""
        self.changes.append((level, since_s))

    def measured(self, name: str, **labels: str) -> float | None:
        value: float | None = self.metrics.registry.get_sample_value(name, labels)
        return value

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
    assert (here.engine.limits, here.books.settled, here.level.cost) == ([Level(4)], [], 1_000)


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

    assert (here.engine.limits, here.books.settled, here.level.cost) == ([Level(4), Level(1), Level(2)], [9], 500)


async def test_what_could_not_be_settled_is_settled_with_a_later_heartbeat(here: Here) -> None:
    here.books.away = True
    await here.hear(LOWERED)
    here.books.away = False
    await here.hear(LOWERED)
    assert here.books.settled == [8]


async def test_an_older_number_counts_no_more(here: Here) -> None:
    await here.hear(LOWERED)
    assert not await here.hear(FULL)
    assert here.level.level == Level(1)


async def test_an_older_number_that_is_told_again_counts_as_redis_went_back(here: Here) -> None:
    await here.hear(LOWERED)
    await here.hear(FULL)

    assert await here.hear(FULL)

    assert (here.level.granted, here.level.cost) == (Granted(4, 7), 1_000)
    assert here.engine.limits == [Level(4), Level(1), Level(4)]


async def test_an_older_number_now_and_then_is_a_late_answer(here: Here) -> None:
    await here.hear(LOWERED)
    for _ in range(3):
        await here.hear(FULL)
        await here.hear(replace(LOWERED, cost=250))
    assert (here.level.level, here.engine.limits) == (Level(1), [Level(4), Level(1)])


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
    await here.level.opened(Level(4))
    assert await here.hear(FULL)
    assert here.engine.limits == [Level(4), Level(4)]


async def test_what_was_settled_while_the_engine_opened_the_session_holds_before_its_first_chunk(here: Here) -> None:
    await here.hear(LOWERED)
    await here.level.opened(Level(4))
    assert here.engine.limits == [Level(4), Level(1), Level(1)]


async def test_what_is_granted_while_the_engine_is_told_is_told_as_well(here: Here) -> None:
    await here.hear(LOWERED)
    here.engine.free.clear()
    opening = asyncio.create_task(here.level.opened(Level(4)))
    await until(lambda: here.engine.limits == [Level(4), Level(1), Level(1)])
    here.level.hear(Ceiling(steps=2, number=9, cost=500, due=500))
    here.engine.free.set()
    await opening
    assert here.engine.limits == [Level(4), Level(1), Level(1), Level(2)]


HALVED = Ceiling(steps=1, number=8, cost=1_000, due=125, every=2)


async def test_every_second_frame_is_brought_to_the_engine_and_settled_as_steps_are(here: Here) -> None:
    await here.hear(HALVED)
    assert (here.engine.limits[-1], here.books.settled, here.level.cost) == (Level(1, every=2), [8], 125)
    assert here.level.granted == Granted(1, 8, every=2)

    await here.hear(Ceiling(steps=4, number=9, cost=1_000, due=1_000))
    assert (here.engine.limits[-1], here.books.settled, here.level.cost) == (Level(4), [8], 1_000)


def ceiling(here: Here) -> tuple[float | None, ...]:
    return tuple(
        here.measured("genlock_worker_ceiling", session=here.level._session, of=of) for of in ("steps", "every")
    )


async def test_what_is_held_and_what_heartbeats_were_told_is_shown(here: Here) -> None:
    assert ceiling(here) == (4, 1)
    await here.hear(HALVED)
    assert ceiling(here) == (1, 2)
    await here.hear(FULL)
    assert ceiling(here) == (1, 2), "an older answer changes nothing"
    await here.hear(Ceiling(steps=2, number=9, cost=500, due=500))
    assert ceiling(here) == (2, 1)

    told = {result: here.measured("genlock_worker_ceiling_answers_total", result=result) for result in RESULTS}
    assert told == {"same": 1, "lower": 1, "older": 1, "higher": 1}


RESULTS = ("same", "lower", "older", "higher")


async def test_how_long_settling_took_counts_from_what_the_inbox_said(here: Here) -> None:
    here.level.ask()
    here.clock.advance(0.25)
    here.level.ask()
    assert here.level.hear(LOWERED)
    here.books.free.clear()
    following = asyncio.create_task(here.level.follow(LOWERED))
    await until(lambda: here.books.settled == [8])
    here.clock.advance(0.5)
    here.books.free.set()
    await following

    assert here.measured("genlock_worker_level_settle_seconds_sum") == pytest.approx(0.75)
    assert here.changes == [(Level(1), here.clock.monotonic() - 0.75)]


async def test_a_notice_that_came_to_nothing_is_not_remembered(here: Here) -> None:
    here.level.ask()
    await here.hear(FULL)
    here.clock.advance(60.0)
    await here.hear(LOWERED)
    assert here.measured("genlock_worker_level_settle_seconds_sum") == 0.0


async def test_a_ceiling_that_changes_nothing_that_runs_is_no_change_of_level(here: Here) -> None:
    here.engine.runs = Level(1)
    await here.hear(LOWERED)
    assert here.changes == []


def test_a_redis_that_has_lost_the_record_is_told_of_the_level_and_its_limit_again() -> None:
    here = Here()
    limit = LevelLimit(1, 2, 70)
    here.level.hear(Ceiling(steps=1, number=8, cost=1_000, due=150, every=2, limit=limit, below_since_ms=70))

    told = here.level.noted_in(record())

    assert (told.granted, told.limit, told.below_since_ms) == (Granted(1, 8, every=2), limit, 70)
