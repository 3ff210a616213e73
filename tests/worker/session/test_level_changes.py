"""A plan changes the level of a session that runs: claim, worker, source and viewers follow, one after the other."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import LimitOutcome, MoveCause
from genlock_core.claims.record import HalfRate, PoolChoice, SessionRecord
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_worker.worker import Worker
from tests.worker.gateway import FakeGateway, Viewer, until
from tests.worker.house import SESSION, SMALL, House, house

LOWEST = Level(1, every=2)
PERIOD_US = 62_500


@pytest.fixture
async def home(redis_url: str) -> AsyncIterator[House]:
    async with house(redis_url) as made:
        yield made


async def a_session_of_four_steps(home: House) -> None:
    spec = StreamSessionSpec.model_validate(
        {
            "resolution": SMALL,
            "steps": 4,
            "source": {"type": "testPattern"},
            "approximation": {"minSteps": 1, "minFrameRate": 8},
        }
    )
    choice = PoolChoice("local", 800, levels=(300, 400, 600, 800), half=HalfRate(LOWEST.steps, 150))
    await home.claims.create(SessionRecord(session=resolve(SessionKey.parse(SESSION), spec), pools=(choice,)))


async def record_of(home: House) -> SessionRecord:
    record = await home.claims.record(SESSION)
    assert record is not None
    assert record.granted is not None
    return record


async def limit(home: House, level: Level | None) -> None:
    record = await record_of(home)
    assert record.granted is not None
    outcome = await home.claims.limit(
        SESSION,
        epoch=record.epoch,
        number=record.granted.number,
        steps=None if level is None else level.steps,
        every=1 if level is None else level.every,
    )
    assert outcome is LimitOutcome.DONE


async def cost_becomes(home: House, cost: int) -> None:
    async with asyncio.timeout(10):
        while (await record_of(home)).cost != cost:
            await asyncio.sleep(0.02)


def measured(worker: Worker, name: str, **labels: str) -> float:
    return worker.registry.get_sample_value(name, labels) or 0.0


def apart(viewer: Viewer, first: int = 0) -> list[int]:
    """How many frame periods lie between the frames that a viewer gets, from that one on.

    A machine that is too busy loses whole chunks: then it is more at that place.
    """
    captured_us = [media.unit.capture_us for media in viewer.media[first:]]
    periods = [divmod(late - early, PERIOD_US) for early, late in pairwise(captured_us)]
    assert all(whole > 0 and rest == 0 for whole, rest in periods), (
        "one after the other, where they stand in the source"
    )
    return [whole for whole, _ in periods]


async def test_a_session_goes_down_to_every_second_frame_and_up_again_without_a_cut(
    home: House, gateway: FakeGateway
) -> None:
    worker = await home.start_worker("w0")
    await a_session_of_four_steps(home)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: viewer.reports and viewer.reports[-1].sink_digest, "a stream with its sinks")
    assert (viewer.reports[-1].steps, viewer.reports[-1].frame_rate, claim.cost) == (4, 16, 800)

    await limit(home, LOWEST)
    await cost_becomes(home, 150)
    await until(lambda: (viewer.reports[-1].steps, viewer.reports[-1].frame_rate) == (1, 8), "the report of it")
    before = len(viewer.media)
    await until(lambda: len(viewer.media) > before + 12, "frames")
    assert min(apart(viewer, before + 6)) == 2
    assert measured(worker, "genlock_worker_ceiling", session=SESSION, of="every") == 2
    assert measured(worker, "genlock_worker_frames_dropped_total", session=SESSION, reason="left-out") > 0
    assert measured(worker, "genlock_worker_level_settle_seconds_count") == 1

    await limit(home, None)
    assert (await record_of(home)).cost == 800, "it pays before it runs"
    await until(lambda: (viewer.reports[-1].steps, viewer.reports[-1].frame_rate) == (4, 16), "the report of it")
    before = len(viewer.media)
    await until(lambda: len(viewer.media) > before + 12, "frames")

    assert min(apart(viewer, before + 6)) == 1
    assert min(apart(viewer)) == 1
    assert viewer.closed is None
    lost = measured(worker, "genlock_worker_frames_dropped_total", session=SESSION, reason="late")
    assert viewer.reports[-1].dropped_input <= lost, "what is left out is not lost"
    assert len({report.sink_digest for report in viewer.reports if report.sink_digest}) == 1
    assert 1 <= measured(worker, "genlock_worker_level_change_seconds_count") <= 2
    assert measured(worker, "genlock_engine_failures_total") == 0


async def test_a_session_that_comes_to_a_worker_below_what_it_asked_for_begins_there(
    home: House, gateway: FakeGateway
) -> None:
    first, second = await home.start_worker("w0"), await home.start_worker("w1")
    await a_session_of_four_steps(home)
    claim = await home.claims.claim(SESSION)
    await gateway.open(first.address, SESSION, claim.epoch)
    await home.session("default/neighbour", cost=800, source={"type": "testPattern"})
    await home.claims.claim("default/neighbour")

    move = await home.claims.move(SESSION, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert (move.claim.worker.name, move.claim.cost) == ("w1", 150)
    viewer = await gateway.open(second.address, SESSION, move.claim.epoch)
    await until(lambda: len(viewer.media) > 8, "frames")
    assert min(apart(viewer)) == 2
    await until(lambda: viewer.reports, "a report")
    assert (viewer.reports[-1].steps, viewer.reports[-1].frame_rate) == (1, 8)
