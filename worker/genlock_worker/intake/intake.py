"""A session's way in: its source, the frames that are used of it, and the chunks that they become."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from genlock_core.clock import Clock
from genlock_core.media import Codec, SourcePosition, Trouble
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import Orientation, Resolution, ResolvedSession, SourceType
from genlock_worker.intake.chunks import NO_STAGES, ChunkFormer, InputChunk, SourceFrame
from genlock_worker.intake.decoding import Decoders
from genlock_worker.intake.file import FileSource, find_media
from genlock_worker.intake.pattern import TestPatternSource
from genlock_worker.intake.prompt_only import PromptOnlySource
from genlock_worker.intake.publisher import PublisherSource, Settle
from genlock_worker.intake.source import Metronome, Source

RESTING_SOURCES = (SourceType.WEBRTC, SourceType.FILE)
"""Sources that may bring fewer pictures than a session shows. The others bring one for each tick."""


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

    When the source is silent, and its last picture is on its way, `on_rest` is told where that stands in the source.

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
        decoders: Decoders,
        ask_key_frame: Callable[[Codec], None],
        settle: Settle,
        offer: Callable[[InputChunk], int],
        on_rest: Callable[[SourcePosition], None],
        meter: IntakeMeter,
    ) -> None:
        self._paused = False
        self._kept: SourceFrame | None = None
        """The last frame that came during the pause."""
        self._spec = spec
        self._clock = clock
        self._executor = executor
        self._media_root = media_root
        self._metrics = metrics
        self._settle = settle
        self._offer = offer
        self._on_rest = on_rest
        self._meter = meter
        self._metronome = Metronome(clock)
        self._linked = asyncio.Event()
        self._former = ChunkFormer(frame_rate=spec.frame_rate, opens_early=True)
        self._heard = asyncio.Event()
        """A frame was taken in."""
        self._offered: SourcePosition | None = None
        self._after: SourcePosition | None = None
        self.publisher: PublisherSource | None = None
        """Takes the publisher's access units; None where the source is another one."""
        if spec.source.type is SourceType.WEBRTC:
            self.publisher = PublisherSource(
                session=str(spec.key),
                resolution=spec.resolution,
                fit=spec.fit,
                settle=self._settle_run if spec.orientation is Orientation.AUTO else None,
                clock=clock,
                executor=executor,
                metrics=metrics,
                decoders=decoders,
                ask_key_frame=ask_key_frame,
            )

    @property
    def every(self) -> int:
        """Of so many frames at the session's frame rate one is used; more than 1 while it runs at less."""
        return self._former.every

    @every.setter
    def every(self, every: int) -> None:
        self._former.every = every

    @property
    def frame_rate(self) -> float:
        """Frames per second that are used, of a source that brings enough."""
        return self._spec.frame_rate / self.every

    @property
    def trouble(self) -> Trouble | None:
        """Why the publisher's pictures cannot be decoded."""
        return None if self.publisher is None else self.publisher.trouble

    @property
    def paused(self) -> bool:
        """While True, what comes is decoded and not used."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        if paused == self._paused:
            return
        self._paused = paused
        kept = self._kept
        self._kept = None

        # A source that stands still now may have brought its last picture during the pause.
        if paused:
            self._former.pause()
        elif kept is not None:
            now_s = self._clock.monotonic()
            self._use(replace(kept, received_s=now_s, decoded_s=now_s, stages=NO_STAGES, repeated=True))

    async def _settle_run(self, run: int, width: int, height: int) -> Resolution:
        # What is left of the publication before may have another shape.
        self._former.pause()
        self._kept = None
        return await self._settle(run, width, height)

    def skip_until(self, after: SourcePosition | None) -> None:
        """Use nothing up to there: it was fed already, or viewers have seen it."""
        self._after = later(self._after, after)
        self._former.opens_early = self._after is None
        if self.publisher is not None:
            self.publisher.after = self._after

    def go_on(self) -> None:
        """The engine goes on from a restored state: no chunk waits for more frames than it takes."""
        self._former.go_on()

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
        try:
            async for frame in self._source().frames():
                self._take(frame)
        finally:
            if self.publisher is not None:
                self.publisher.close()

        # The last pictures of a source that has ended are shown as well.
        self._rest()

    def _take(self, frame: SourceFrame) -> None:
        if not self._paused:
            self._meter.taken_in(frame.received_s)
            self._use(frame)
            return

        if self._kept is not None:
            self._metrics.frames_dropped.labels(str(self._spec.key), "paused").inc()
        self._kept = frame

    def _use(self, frame: SourceFrame) -> None:
        before = self._former.left_out
        self._hand_in(self._former.add(frame))
        if left_out := self._former.left_out - before:
            self._metrics.frames_dropped.labels(str(self._spec.key), "left-out").inc(left_out)
        self._heard.set()

    def _hand_in(self, chunks: Sequence[InputChunk]) -> None:
        for chunk in chunks:
            self._offered = chunk.last
            self._meter.lost(self._offer(chunk), "late")

    # -- a source at rest ---------------------------------------------------------------------------------------------

    async def rest_when_silent(self) -> None:
        """Complete what is open whenever the source is silent, and the first chunk of a stream when it is time for it.

        Runs beside `run`; ends at once for other sources.
        """
        if self._spec.source.type not in RESTING_SOURCES:
            return

        while True:
            opens_at_s = self._former.opens_at_s
            at_s = self._former.rests_at_s if opens_at_s is None else opens_at_s
            if at_s is None:
                self._heard.clear()
                await self._heard.wait()
                continue

            left_s = at_s - self._clock.monotonic()
            if left_s > 0:
                await asyncio.sleep(left_s)
            elif self.publisher is not None and self.publisher.is_behind:
                # Pictures that wait for the decoder are on their way: such a source is not silent.
                await self._next_picture(within_s=1 / self._spec.frame_rate)
            elif opens_at_s is not None:
                self._hand_in(self._former.open(self._clock.monotonic()))
            else:
                self._rest()

    async def _next_picture(self, *, within_s: float) -> None:
        """Wait for a picture no longer than it takes: a first chunk is late by all that is waited here."""
        self._heard.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._heard.wait()

    def _rest(self) -> None:
        self._hand_in(self._former.rest(self._clock.monotonic()))
        if self._offered is not None:
            self._on_rest(self._offered)

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
            fit=spec.fit,
            metronome=self._metronome,
            executor=self._executor,
            after=self._after,
        )
