"""A session's way in: its source, the frames that are used of it, and the chunks that they become."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from genlock_core.clock import Clock
from genlock_core.media import Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import ResolvedSession, SourceType
from genlock_worker.intake.chunks import ChunkFormer, InputChunk
from genlock_worker.intake.file import FileSource, find_media
from genlock_worker.intake.pattern import TestPatternSource
from genlock_worker.intake.prompt_only import PromptOnlySource
from genlock_worker.intake.publisher import PublisherSource
from genlock_worker.intake.source import Metronome, Source


def later(one: SourcePosition | None, other: SourcePosition | None) -> SourcePosition | None:
    """The later of two positions; None is before everything."""
    if one is None or other is None:
        return one or other
    return max(one, other)


class IntakeMeter(Protocol):
    """Who counts what comes in; stands here so that this room needs nothing of the session's."""

    def taken_in(self, received_s: float) -> None:
        """A source frame is there (before its rate is matched), since this time (monotonic seconds)."""
        ...

    def lost(self, frames: int, reason: str) -> None:
        """Input frames went no further."""
        ...


class Intake:
    """Turns one session's source into chunks and hands them to `offer`, which answers how many frames it dropped.

    Sources that the worker makes itself begin with the first link, so that a move never costs a picture of a file.
    """

    def __init__(
        self,
        spec: ResolvedSession,
        *,
        clock: Clock,
        executor: Executor,
        metrics: WorkerMetrics,
        media_root: Path | None,
        ask_key_frame: Callable[[Codec], None],
        offer: Callable[[InputChunk], int],
        meter: IntakeMeter,
    ) -> None:
        self.paused = False
        """While True, what comes is decoded and not used."""
        self._spec = spec
        self._executor = executor
        self._media_root = media_root
        self._metrics = metrics
        self._offer = offer
        self._meter = meter
        self._metronome = Metronome(clock)
        self._linked = asyncio.Event()
        self._former = ChunkFormer(frame_rate=spec.frame_rate)
        self._after: SourcePosition | None = None
        self.publisher: PublisherSource | None = None
        """Takes the publisher's access units; None where the source is another one."""
        if spec.source.type is SourceType.WEBRTC:
            self.publisher = PublisherSource(
                session=str(spec.key),
                width=spec.resolution.width,
                height=spec.resolution.height,
                clock=clock,
                executor=executor,
                metrics=metrics,
                ask_key_frame=ask_key_frame,
            )

    def skip_until(self, after: SourcePosition | None) -> None:
        """Use nothing up to there: it was fed already, or viewers have seen it."""
        self._after = later(self._after, after)
        if self.publisher is not None:
            self.publisher.after = self._after

    def set_linked(self, *, linked: bool) -> None:
        """Whether a gateway is linked. While none is, sources that the worker makes itself stand still."""
        if linked:
            self._linked.set()
            self._metronome.run()
        else:
            self._metronome.stop()

    async def run(self) -> None:
        """Take frames in until the source ends. Raises SourceFailed."""
        if self.publisher is None:
            await self._linked.wait()
        async for frame in self._source().frames():
            if self.paused:
                self._metrics.frames_dropped.labels(str(self._spec.key), "paused").inc()
                continue
            self._meter.taken_in(frame.received_s)
            for chunk in self._former.add(frame):
                self._meter.lost(self._offer(chunk), "late")

    def _source(self) -> Source:
        if self.publisher is not None:
            return self.publisher

        spec = self._spec
        width, height = spec.resolution.width, spec.resolution.height
        if spec.source.type is SourceType.TEST_PATTERN:
            return TestPatternSource(
                width=width,
                height=height,
                frame_rate=spec.frame_rate,
                metronome=self._metronome,
                executor=self._executor,
                after=self._after,
            )
        if spec.source.type is SourceType.NONE:
            return PromptOnlySource(frame_rate=spec.frame_rate, metronome=self._metronome, after=self._after)

        return FileSource(
            find_media(self._media_root, spec.source.path or ""),
            loop=spec.source.loop,
            width=width,
            height=height,
            metronome=self._metronome,
            executor=self._executor,
            after=self._after,
        )
