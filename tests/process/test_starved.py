"""A machine that has less processor than Genlock wants: a session stays where it is, and its pictures go on.

It takes two minutes and whatever processor there is, so `make nightly` runs it (GENLOCK_STARVED=1).
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from bench.chaos.stage import Stage

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(400),
    pytest.mark.skipif("GENLOCK_STARVED" not in os.environ, reason="two minutes of a busy machine: make nightly"),
]

UNDISTURBED_S: Final = 30.0
STARVED_S: Final = 60.0
BURNERS_FOR_EACH_CPU: Final = 3
"""On two processors that leaves about half of one to a session, two workers, a gateway, a publisher and a viewer. With
four times as many the publisher and the viewer stand still for seconds themselves."""


@contextlib.contextmanager
def starved() -> Iterator[None]:
    """Others want the processor as much as Genlock does."""
    count = BURNERS_FOR_EACH_CPU * (os.cpu_count() or 1)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


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


async def test_a_starved_machine_moves_a_session_once_a_minute_at_most_and_its_pictures_go_on() -> None:
    async with Stage.up("mock", sessions=1, workers=2, gateways=1) as stage:
        (stream,) = stage.streams
        with stream.watcher.since() as undisturbed:
            await moves_of(stage, UNDISTURBED_S)
        with stream.watcher.since() as disturbed, starved():
            moves = await moves_of(stage, STARVED_S)

        print(f"undisturbed: {undisturbed}; starved: {disturbed}; {moves} moves")  # noqa: T201 - figures of the nightly run
        assert disturbed.frames > 0
        assert moves <= 1
        assert disturbed.longest_s <= undisturbed.longest_s + 1.0
        assert disturbed.steps_back == 0
        await stage.well()
