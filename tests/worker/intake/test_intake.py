"""The first chunk of a stream is handed in as soon as it may be."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import end_tasks
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_worker.intake.chunks import OPENING_PERIODS, InputChunk, SourceFrame
from genlock_worker.intake.intake import Intake
from genlock_worker.intake.picture import Picture

RATE = 1
"""A frame a second: whoever sleeps for a period is not seen to go on for many turns of the loop."""
TURNS = 20


class Stream:
    """An intake whose decoder is played: `behind` says that it has a unit that it has not decoded yet."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        manifest = {"prompt": "oil", "source": {"type": "webrtc"}, "frameRate": RATE}
        self.clock = ManualClock()
        self.offered: list[InputChunk] = []
        self.intake = Intake(
            resolve(SessionKey(name="demo"), StreamSessionSpec.model_validate(manifest)),
            clock=self.clock,
            executor=executor,
            metrics=WorkerMetrics(CollectorRegistry()),
            media_root=None,
            decoders=cast(Any, None),
            ask_key_frame=lambda _: None,
            settle=cast(Any, None),
            offer=self._offer,
            on_rest=lambda _: None,
            meter=cast(Any, SimpleNamespace(taken_in=lambda _: None, lost=lambda *_: None)),
        )
        self.publisher = SimpleNamespace(is_behind=False)
        self.intake.publisher = cast(Any, self.publisher)

    def _offer(self, chunk: InputChunk) -> int:
        self.offered.append(chunk)
        return 0

    def picture(self) -> Picture:
        """One comes out of the decoder."""
        now_s = self.clock.monotonic()
        picture = np.zeros((8, 8, 3), np.uint8)
        self.intake._take(SourceFrame(SourcePosition(1, round(now_s * 1e6)), picture, now_s, now_s))
        return picture


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_a_first_chunk_that_waits_for_the_decoder_waits_no_longer_than_that_takes() -> None:
    with ThreadPoolExecutor(1) as executor:
        stream = Stream(executor)
        stream.picture()
        stream.clock.advance(OPENING_PERIODS / RATE)
        stream.publisher.is_behind = True
        waiting = asyncio.create_task(stream.intake.rest_when_silent())
        try:
            await turns()
            assert stream.offered == [], "the picture that is being decoded belongs to it"

            stream.publisher.is_behind = False
            newest = stream.picture()
            await turns()
            (chunk,) = stream.offered
            assert chunk.frames[-1].picture is newest
        finally:
            await end_tasks([waiting])


async def test_a_first_chunk_does_not_wait_for_a_decoder_that_has_nothing_to_do() -> None:
    with ThreadPoolExecutor(1) as executor:
        stream = Stream(executor)
        only = stream.picture()
        stream.clock.advance(OPENING_PERIODS / RATE)
        waiting = asyncio.create_task(stream.intake.rest_when_silent())
        try:
            await turns()
            (chunk,) = stream.offered
            assert chunk.frames[-1].picture is only
        finally:
            await end_tasks([waiting])
