"""A worker's page of counters: what it writes, that it goes on writing, and that Redis and readers get it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims.counters import CostShape, CounterBoard, WorkerCounters
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import BatchShape
from genlock_worker.ownership import counter_page
from genlock_worker.ownership.counter_page import CounterPage
from genlock_worker.rows.cost_model import LearnedBatches
from genlock_worker.session.figures import FrameCounts
from tests.worker.gateway import FakeGateway, until
from tests.worker.house import SESSION, SMALL, House, house

COST, PROMISED = StepTime(0.03, 0.006), StepTime(0.02, 0.004)


class Board:
    """Keeps the pages that were posted; away as often as it is told."""

    def __init__(self) -> None:
        self.pages: list[WorkerCounters] = []
        self.away = 0

    async def post(self, page: WorkerCounters) -> None:
        if self.away:
            self.away -= 1
            raise RedisAway
        self.pages.append(page)


class Engine:
    def __init__(self) -> None:
        self.batches: list[LearnedBatches] = []
        self.stands_still = False

    async def learned(self) -> list[LearnedBatches]:
        if self.stands_still:
            await asyncio.Event().wait()
        return self.batches


def batches(width: int = 832, *, frames: int = 4, weight: float = 20.0) -> LearnedBatches:
    return LearnedBatches(
        BatchShape("wan2.1-1.3b", width, 480, frames), COST, chunk_s=0.01, weight=weight, rows=3.0, chunks=1.5
    )


def page_of(board: Board, engine: Engine, counts: FrameCounts) -> CounterPage:
    def promised(size: Resolution) -> StepTime | None:
        return PROMISED if size.width == 832 else None

    return CounterPage(
        cast("Any", board),
        identity=WorkerIdentity("w0", "i0"),
        pool="default/h100",
        counts=counts,
        engine=cast("Any", engine),
        promised=promised,
    )


async def test_a_page_says_what_was_counted_and_what_was_learned_beside_what_was_promised() -> None:
    board, engine, counts = Board(), Engine(), FrameCounts(sent=900, late=4)
    engine.batches = [batches(), batches(256, weight=30.0), batches(frames=5)]
    await page_of(board, engine, counts).post()

    (page,) = board.pages
    assert (page.worker, page.incarnation, page.pool) == ("w0", "i0", "default/h100")
    assert (page.frames, page.late) == (900, 4)
    assert [cost.shape for cost in page.costs] == [
        CostShape("wan2.1-1.3b", 256, 480),
        CostShape("wan2.1-1.3b", 832, 480),
    ], "a stream's first chunk, which has a frame more, is left out"
    small, large = page.costs
    assert small.speed is None, "nobody promised anything"
    assert large.speed == pytest.approx(PROMISED.seconds(3) / (COST.seconds(3) + 0.015))


async def test_no_more_shapes_are_written_than_a_page_has() -> None:
    board, engine = Board(), Engine()
    engine.batches = [batches(16 * number, weight=float(number)) for number in range(4, 40)]
    await page_of(board, engine, FrameCounts()).post()
    assert [cost.weight for cost in board.pages[0].costs] == [float(number) for number in range(39, 23, -1)]


async def test_an_engine_that_stands_still_does_not_stop_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter_page, "ENGINE_ANSWERS_IN_S", 0.01)
    board, engine, counts = Board(), Engine(), FrameCounts()
    engine.batches = [batches()]
    page = page_of(board, engine, counts)
    await page.post()
    engine.stands_still = True
    counts.sent = 7
    await page.post()
    assert [one.frames for one in board.pages] == [0, 7]
    assert board.pages[0].costs == board.pages[1].costs


async def test_a_redis_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter_page, "POST_EVERY_S", 0.0)
    board = Board()
    board.away = 2
    posting = asyncio.create_task(page_of(board, Engine(), FrameCounts()).keep_posting())
    await until(lambda: len(board.pages) > 1, "pages")
    posting.cancel()


@pytest.fixture
async def home(redis_url: str) -> AsyncIterator[House]:
    async with house(redis_url) as made:
        yield made


async def test_a_worker_that_serves_writes_what_it_sent_and_what_its_batches_took(
    home: House, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter_page, "POST_EVERY_S", 0.05)
    worker = await home.start_worker("w0")
    board = CounterBoard(home.store)
    await home.session(source={"type": "testPattern"})
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: len(viewer.media) > 8, "frames")

    page = (await board.workers())["w0"]
    async with asyncio.timeout(10):
        while page.frames < 8 or not page.costs:
            await asyncio.sleep(0.05)
            page = (await board.workers())["w0"]

    meter = worker.agent.sessions[SESSION].figures._misses
    assert (page.worker, page.incarnation, page.pool) == ("w0", worker.identity.incarnation, "local")
    assert page.frames <= meter.frames
    assert page.late <= meter.misses
    (cost,) = page.costs
    assert (cost.shape.width, cost.shape.height) == (SMALL.width, SMALL.height)
    assert cost.weight >= 1
