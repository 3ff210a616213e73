"""Events are posted once each, not too many, and never in anybody's way."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from genlock_core.clock import ManualClock
from genlock_operator.actions import Tell
from genlock_operator.kube.api import Body, Resource
from genlock_operator.kube.errors import Unavailable
from genlock_operator.kube.recorder import BURST, MAX_NOTE_CHARS, PER_SECOND, REPEAT_AFTER_S, EventRecorder
from genlock_operator.observed import Meta


class Api:
    """Takes Events, or is away."""

    def __init__(self) -> None:
        self.posted: list[Mapping[str, Any]] = []
        self.away = False

    async def create(self, _resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        if self.away:
            raise Unavailable("create", code=503, message="not now")
        assert namespace == body["metadata"]["namespace"]
        self.posted.append(body)
        return dict(body)


class Desk:
    """An event recorder, and what became of what it was told."""

    def __init__(self) -> None:
        self.api, self.clock = Api(), ManualClock()
        self.results: list[str] = []
        self.recorder = EventRecorder(
            self.api,  # type: ignore[arg-type]
            identity="replica",
            clock=self.clock,
            told=lambda _reason, result: self.results.append(result),
        )

    def tell(self, message: str, *, uid: str = "uid-1") -> None:
        meta = Meta("studio", "demo", uid, 1, "1", 0, deleting=False)
        self.recorder.tell(Tell("StreamSession", meta, "Normal", "Assigned", message))

    async def post(self) -> None:
        """Until nothing waits."""
        running = asyncio.create_task(self.recorder.run())
        for _ in range(1_000):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_an_event_says_what_about_whom_and_by_whom(desk: Desk) -> None:
    desk.tell("w0 has it")
    await desk.post()
    (event,) = desk.api.posted
    assert (event["reason"], event["note"], event["type"]) == ("Assigned", "w0 has it", "Normal")
    assert (event["regarding"]["kind"], event["regarding"]["uid"]) == ("StreamSession", "uid-1")
    assert event["reportingInstance"] == "replica"


async def test_a_sentence_is_not_repeated_before_a_while(desk: Desk) -> None:
    for wait_s in (0.0, REPEAT_AFTER_S - 1, 1.0):
        desk.clock.advance(wait_s)
        desk.tell("it is full")
    desk.tell("it is full", uid="uid-2")
    await desk.post()
    assert len(desk.api.posted) == 3
    assert desk.results.count("repeated") == 1


async def test_a_flood_is_cut_and_the_rate_comes_back(desk: Desk) -> None:
    for number in range(int(BURST) + 5):
        desk.tell(f"sentence {number}")
    assert desk.results == ["dropped"] * 5
    desk.clock.advance(1.0)
    for number in range(int(PER_SECOND) + 5):
        desk.tell(f"another {number}")
    assert desk.results == ["dropped"] * 10


async def test_an_event_that_is_not_taken_is_lost_and_the_next_one_is_posted(desk: Desk) -> None:
    desk.api.away = True
    desk.tell("first")
    await desk.post()
    desk.api.away = False
    desk.tell("second")
    await desk.post()
    assert [event["note"] for event in desk.api.posted] == ["second"]
    assert desk.results == ["failed", "posted"]


async def test_a_long_sentence_is_cut_to_what_the_api_server_takes(desk: Desk) -> None:
    desk.tell("x" * 5_000)
    await desk.post()
    assert len(desk.api.posted[0]["note"]) == MAX_NOTE_CHARS
