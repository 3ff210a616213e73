"""Processes that have less processor than they want: a session stays where it is, or moves to a worker that is well.

Each takes two minutes and whatever processor there is, so `make nightly` runs them (GENLOCK_STARVED=1).
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Final

import pytest

from bench.chaos.harms.surroundings import busy
from bench.chaos.quota import NoQuota, quota
from bench.chaos.stage import Stage, Stream
from e2e.watcher import Suffered

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(400),
    pytest.mark.skipif("GENLOCK_STARVED" not in os.environ, reason="minutes of a busy machine: make nightly"),
]

UNDISTURBED_S: Final = 30.0
STARVED_S: Final = 60.0
BURNERS_FOR_EACH_CPU: Final = 3
"""On two processors that leaves about half of one to a session, two workers, a gateway, a publisher and a viewer. With
four times as many the publisher and the viewer stand still for seconds themselves."""
ALL_HAVE: Final = 0.5
"""Cores for workers, gateway and publisher together."""
ONE_HAS: Final = 0.02
"""Cores for the worker that cannot keep up."""

LEFT_WITHIN_S: Final = 2.0
"""A worker that is slow where another one is well is left as one that hangs."""


async def epoch(stage: Stage) -> int:
    (record,) = await stage.claims.records()
    return record.epoch


async def moves_of(stage: Stage, seconds: float) -> int:
    """How often the session gets another epoch in that time."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    seen = [await epoch(stage)]
    while loop.time() < until_s:
        await asyncio.sleep(0.2)
        if (now := await epoch(stage)) != seen[-1]:
            seen.append(now)
    return len(seen) - 1


def pids(stage: Stage) -> Iterator[int]:
    """Workers, gateways and publishers: all but Redis and the viewer, which is this process."""
    yield from (child.pid for child in stage.genlock.children if child.pid is not None)
    yield from (stream.publisher.pid for stream in stage.streams)


async def undisturbed_of(stage: Stage, stream: Stream) -> Suffered:
    with stream.watcher.since() as undisturbed:
        await moves_of(stage, UNDISTURBED_S)
    return undisturbed


def judge(undisturbed: Suffered, disturbed: Suffered, moves: int) -> None:
    print(f"undisturbed: {undisturbed}; starved: {disturbed}; {moves} moves")  # noqa: T201 - figures of the nightly run
    assert disturbed.frames > 0
    assert moves <= 1
    assert disturbed.longest_s <= undisturbed.longest_s + 1.0
    assert disturbed.steps_back == 0


async def test_a_starved_machine_moves_a_session_once_a_minute_at_most_and_its_pictures_go_on() -> None:
    async with Stage.up("mock", sessions=1, workers=2, gateways=1) as stage:
        (stream,) = stage.streams
        undisturbed = await undisturbed_of(stage, stream)
        with stream.watcher.since() as disturbed, busy(BURNERS_FOR_EACH_CPU * (os.cpu_count() or 1)):
            moves = await moves_of(stage, STARVED_S)
        judge(undisturbed, disturbed, moves)
        await stage.well()


async def test_where_all_share_half_a_core_a_session_moves_once_a_minute_at_most_and_its_pictures_go_on() -> None:
    async with Stage.up("mock", sessions=1, workers=2, gateways=1) as stage:
        (stream,) = stage.streams
        undisturbed = await undisturbed_of(stage, stream)
        try:
            with stream.watcher.since() as disturbed, quota(pids(stage), ALL_HAVE):
                moves = await moves_of(stage, STARVED_S)
        except NoQuota as reason:
            pytest.skip(str(reason))
        judge(undisturbed, disturbed, moves)
        await stage.well()


async def test_a_session_leaves_a_worker_that_is_starved_for_one_that_is_well() -> None:
    async with Stage.up("mock", sessions=1, workers=2, gateways=1) as stage:
        (stream,) = stage.streams
        undisturbed = await undisturbed_of(stage, stream)
        slow = await stage.worker_of(stream)
        assert slow.pid is not None
        try:
            with stream.watcher.since() as disturbed, quota([slow.pid], ONE_HAS):
                moves = await moves_of(stage, STARVED_S)
                assert await stage.worker_of(stream) is not slow
        except NoQuota as reason:
            pytest.skip(str(reason))
        print(f"undisturbed: {undisturbed}; one starved: {disturbed}; {moves} moves")  # noqa: T201 - of the nightly run
        assert moves == 1
        assert disturbed.longest_s <= undisturbed.longest_s + LEFT_WITHIN_S
        assert disturbed.steps_back == 0
        await stage.well()
