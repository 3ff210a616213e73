"""Where a session's input pictures come from: a publisher over the link, or something that the worker makes itself.

A source is an async iterator of `SourceFrame`; it ends only where the source itself does (a file that is not looped).
Own sources run by a `Metronome`, so only while somebody is linked, and at a position that survives a restore.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from genlock_core.clock import Clock
from genlock_core.media import SourcePosition
from genlock_worker.intake.chunks import SourceFrame

OWN_RUN = 0
"""The publication number of sources that no publisher feeds."""
MAX_LAG_S = 0.5
"""A source that is later than this starts its timeline anew, instead of catching up in a burst."""

Sleep = Callable[[float], Awaitable[None]]


class Source(Protocol):
    """A session's input."""

    def frames(self) -> AsyncIterator[SourceFrame]:
        """The frames as they become due. Raises SourceFailed."""
        ...


class SourceFailed(Exception):
    """The source cannot be read; the message says why, for people."""


class Metronome:
    """Lets media time pass as real time does, but only while it is running (`run`, `stop`)."""

    def __init__(self, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._running = asyncio.Event()
        self._start_s: float | None = None

    def run(self) -> None:
        self._running.set()

    def stop(self) -> None:
        self._running.clear()
        self._start_s = None

    async def wait(self, media_s: float) -> float:
        """Sleep until the moment at `media_s` seconds of media time; returns the monotonic time."""
        while True:
            await self._running.wait()
            now_s = self._clock.monotonic()
            if self._start_s is None or now_s - self._start_s - media_s > MAX_LAG_S:
                self._start_s = now_s - media_s
            left_s = self._start_s + media_s - now_s
            if left_s <= 0:
                return now_s
            await self._sleep(left_s)


def next_index(after: SourcePosition | None, frame_rate: int) -> int:
    """The frame after that position, for sources whose frame `i` stands at `i / frame_rate` seconds."""
    return 0 if after is None else round(after.capture_us * frame_rate / 1_000_000) + 1
