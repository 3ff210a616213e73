"""What users change reaches the intake and the engine: at once on a nudge, and soon where the nudge was lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import pytest
from redis.exceptions import RedisError

from genlock_core.process.tasks import end_tasks
from genlock_core.stream_state.control import ControlChange, ControlEntry, ControlStream
from genlock_worker.engines.contract import Change
from genlock_worker.intake.intake import Intake
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.session import control_stream
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.controls import RequestedSettings
from tests.worker.gateway import until


@dataclass(slots=True)
class Surroundings:
    """The control stream, the intake and the engine of one session."""

    entries: list[ControlEntry] = field(default_factory=list)
    failures: list[RedisError] = field(default_factory=list)
    reads: int = 0
    paused: bool = False
    applied: list[tuple[str, Change]] = field(default_factory=list)

    async def read(self, session: str, *, after: str) -> list[ControlEntry]:
        self.reads += 1
        if self.failures:
            raise self.failures.pop()
        return [entry for entry in self.entries if entry.id > after]

    def has_read(self, times: int) -> bool:
        return self.reads == times

    def apply(self, name: str, change: Change) -> None:
        self.applied.append((name, change))

    def say(self, number: int, change: ControlChange) -> str:
        entry = ControlEntry(id=f"{number}-0", client="c", number=number, change=change)
        self.entries.append(entry)
        return entry.id


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
async def follower(around: Surroundings) -> AsyncIterator[ControlFollower]:
    """One that runs, and has read once."""
    made = ControlFollower(
        "studio/a",
        RequestedSettings("oil", 2, 0.7),
        engine_name="e0",
        control=cast(ControlStream, around),
        intake=cast(Intake, around),
        engine=cast(EngineClient, around),
    )
    running = asyncio.create_task(made.run())
    await until(lambda: around.reads == 1, "the first look")
    yield made
    await end_tasks([running])


async def test_a_change_is_applied_on_a_nudge(follower: ControlFollower, around: Surroundings) -> None:
    around.say(1, ControlChange(prompt="neon", paused=True))
    follower.nudge()
    await until(lambda: around.applied, "the change")
    assert around.applied == [("e0", Change(prompt="neon"))]
    assert around.paused
    assert follower.requested == RequestedSettings("neon", 2, 0.7, paused=True, control_id="1-0")


async def test_a_change_that_nobody_nudged_for_is_found(
    around: Surroundings, follower: ControlFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_stream, "READ_EVERY_S", 0.01)
    follower.nudge()
    await until(lambda: around.reads >= 2, "another look")
    around.say(1, ControlChange(steps=4))
    await until(lambda: around.applied, "the change")
    assert around.applied == [("e0", Change(steps=4))]


async def test_a_change_is_applied_once(follower: ControlFollower, around: Surroundings) -> None:
    around.say(1, ControlChange(steps=4))
    for reads in (2, 3):
        follower.nudge()
        await until(partial(around.has_read, reads), "another look")
    assert around.applied == [("e0", Change(steps=4))]


async def test_a_stream_that_cannot_be_read_is_read_again(follower: ControlFollower, around: Surroundings) -> None:
    around.failures.append(RedisError("away"))
    around.say(1, ControlChange(steps=4))
    follower.nudge()
    await until(lambda: around.reads == 2, "the look that failed")
    follower.nudge()
    await until(lambda: around.applied, "the change")


async def test_a_reset_is_awaited_until_the_engine_has_begun_anew(
    follower: ControlFollower, around: Surroundings
) -> None:
    request = around.say(1, ControlChange(reset=True))
    follower.nudge()
    await until(lambda: around.applied, "the reset")
    assert around.applied == [("e0", Change(prompt="oil", reset=request))]
    assert follower.awaited_reset == request
    follower.reset_done("0-7")
    assert follower.awaited_reset == request
    follower.reset_done(request)
    assert follower.awaited_reset is None
