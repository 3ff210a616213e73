"""A successor in a polite move goes on where the gateway says: with an IDR, and without what viewers have seen."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import SystemClock
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import end_tasks
from genlock_core.subscriptions.subscription import FrameKind, Subscription
from genlock_worker.intake.chunks import InputChunk, SourceFrame
from genlock_worker.output.encode import EncoderSettings
from genlock_worker.output.gateway_channel import GatewayChannel
from genlock_worker.output.output import Output
from genlock_worker.output.pacing import MIN_SPACING, Pacer
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.session_rows import SessionChunk

SIZE = 64
FPS = 50
PERIOD_US = 1_000_000 // FPS
RUN = 3


@dataclass
class Link:
    """What was sent to one gateway."""

    units: list[AccessUnit] = field(default_factory=list)

    def send_media(self, _: int, unit: AccessUnit, **_told: object) -> None:
        self.units.append(unit)

    @property
    def places(self) -> list[int]:
        return [unit.capture_us // PERIOD_US for unit in self.units]


def channel_for(link: Link, name: str = "g0") -> GatewayChannel:
    subscription = Subscription(
        session="default/demo", epoch=6, subscriber=name, frames=FrameKind.ENCODED, codecs=frozenset({Codec.H264})
    )
    return GatewayChannel(connection=cast("Any", link), number=1, subscription=subscription, publisher=False)


def at(place: int) -> SourcePosition:
    return SourcePosition(RUN, place * PERIOD_US)


def chunk(index: int, *places: int) -> GeneratedChunk:
    """Pictures of these places, complete now."""
    now_s = SystemClock().monotonic()
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    source = InputChunk(tuple(SourceFrame(at(place), picture, now_s) for place in places), now_s)
    fed = SessionChunk(index=index, steps=1, rows=1, complete_s=now_s, positions=tuple(map(at, places)), source=source)
    return GeneratedChunk(np.stack([picture] * len(places)), fed, now_s, cast("Any", None))


@asynccontextmanager
async def running() -> AsyncIterator[Output]:
    with ThreadPoolExecutor(1) as executor:
        output = Output(
            session="default/demo",
            settings=EncoderSettings(SIZE, SIZE, FPS, 200_000),
            h264="libx264",
            pacer=Pacer(frame_rate=FPS, deadline_s=1.0),
            clock=SystemClock(),
            executor=executor,
            metrics=WorkerMetrics(CollectorRegistry()),
            on_sent=lambda _: None,
        )
        task = asyncio.create_task(output.run())
        try:
            yield output
        finally:
            await end_tasks([task])


async def drained(output: Output) -> None:
    async with asyncio.timeout(20):
        while not output.is_drained:
            await asyncio.sleep(0.01)


async def test_the_first_unit_after_the_place_is_an_idr_and_none_before_it_is_sent() -> None:
    link = Link()
    async with running() as output:
        gateway = channel_for(link)
        output.attach(gateway)
        output.add(chunk(0, 0, 1, 2, 3))
        await drained(output)
        assert [unit.key_frame for unit in link.units] == [True, False, False, False]

        output.resume(gateway, Codec.H264, at(5))
        output.add(chunk(1, 4, 5, 6, 7))
        await drained(output)
        assert link.places == [0, 1, 2, 3, 6, 7]
        assert [unit.key_frame for unit in link.units[4:]] == [True, False], "also a moment after another IDR"


async def test_pictures_that_wait_are_dropped_up_to_there_and_the_others_wait_for_nobody() -> None:
    link = Link()
    async with running() as output:
        gateway = channel_for(link)
        output.attach(gateway)
        for index in range(5):
            output.add(chunk(index, *range(index * 4, index * 4 + 4)))
        waits_s = output._waiting[-2].pace.send_s
        assert output.resume(gateway, Codec.H264, at(17)) == at(17)
        assert [frame.position for frame in output._waiting] == [at(18), at(19)]
        assert output._waiting_bytes.held == sum(frame.picture.nbytes for frame in output._waiting)
        assert output._waiting[0].pace.send_s < waits_s - 10 * MIN_SPACING / FPS
        await drained(output)
        assert link.places[-2:] == [18, 19]


async def test_a_gateway_that_shows_less_gets_what_the_other_one_does_not_need() -> None:
    near, far = Link(), Link()
    async with running() as output:
        first, second = channel_for(near, "g0"), channel_for(far, "g1")
        output.attach(first)
        output.attach(second)
        assert output.resume(first, Codec.H264, at(2)) is None, "the other one may need all"
        assert output.resume(second, Codec.H264, at(1)) == at(1)
        output.add(chunk(0, 0, 1, 2, 3))
        await drained(output)
        assert far.places == [2, 3]
        assert near.places == [3]
        assert far.units[0].key_frame
        assert near.units[0].key_frame


@pytest.mark.parametrize("codecs", [frozenset[Codec](), frozenset({Codec.VP8})])
async def test_a_gateway_that_has_no_viewers_in_the_codec_any_more_resumes_nowhere(codecs: frozenset[Codec]) -> None:
    link = Link()
    async with running() as output:
        gateway = channel_for(link)
        output.attach(gateway)
        output.resume(gateway, Codec.H264, at(5))
        output.set_codecs(gateway, codecs)
        assert not gateway.resumes
