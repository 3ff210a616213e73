"""A session's generated pictures on their way out: paced, encoded once per codec, sent to every gateway linked.

A codec that nobody watches is not encoded. A gateway's first unit in a codec is an IDR, and so is the first after a gap
on its link. While nothing new is generated (paused, no publisher) an IDR request is answered with the last picture.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Protocol

from genlock_core.clock import Clock
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.deadlines import is_miss
from genlock_core.slo.stages import Stage, StageTimes
from genlock_worker.intake.chunks import Picture
from genlock_worker.output.encode import Encoder, EncoderFailure, EncoderSettings, IdrRequests, open_encoder
from genlock_worker.output.pacing import PacedFrame
from genlock_worker.rows.listener import GeneratedChunk

logger = logging.getLogger(__name__)

MAX_FRAMES = 20
"""Pictures that wait to go out (five chunks); beyond it the oldest are dropped: encoding or the machine is stuck."""
STILL_AFTER_S = 0.3
"""Without a new picture for this long the last one answers an IDR request."""
IDLE_TICK_S = 0.1


class Viewers(Protocol):
    """One gateway's channel, as far as output goes."""

    @property
    def codecs(self) -> frozenset[Codec]: ...

    def send(self, unit: AccessUnit, *, run: int, late: bool, stages: StageTimes) -> None: ...


@dataclass(frozen=True, slots=True)
class OutputFrame:
    """A generated picture with its place in the source, its pace, and what it passed so far.

    `stages_s`: worker stages in monotonic seconds; `stages`: what the publisher's gateway wrote down.
    """

    picture: Picture
    position: SourcePosition
    pace: PacedFrame
    stages_s: tuple[tuple[Stage, float], ...]
    stages: StageTimes
    complete_s: float
    """When its chunk was complete (monotonic seconds)."""
    first_of_chunk: bool


@dataclass(frozen=True, slots=True)
class SentFrame:
    """What became of an output frame."""

    frame: OutputFrame
    sent_s: float
    late: bool
    stages: StageTimes
    bytes: int


@dataclass(slots=True)
class _Channel:
    """A gateway and the codecs in which it has had its first IDR."""

    viewers: Viewers
    synced: set[Codec] = field(default_factory=set)


@dataclass(slots=True)
class _Encoding:
    encoder: Encoder
    idr: IdrRequests


class Output:
    """One session's way out; `run` is its loop, everything else is called on the same event loop."""

    def __init__(
        self,
        *,
        session: str,
        settings: EncoderSettings,
        h264: str,
        clock: Clock,
        executor: Executor,
        metrics: WorkerMetrics,
        on_sent: Callable[[SentFrame], None],
    ) -> None:
        self._session = session
        self._settings = settings
        self._h264 = h264
        self._clock = clock
        self._executor = executor
        self._metrics = metrics
        self._on_sent = on_sent
        self._channels: dict[object, _Channel] = {}
        self._encodings: dict[Codec, _Encoding] = {}
        self._waiting: deque[OutputFrame] = deque()
        self._changed = asyncio.Event()
        self._last: OutputFrame | None = None
        self._last_sent_s = 0.0
        self._emitting = False

    @property
    def encoder_names(self) -> tuple[str, ...]:
        return tuple(sorted(encoding.encoder.name for encoding in self._encodings.values()))

    def add(self, frames: list[OutputFrame]) -> None:
        """Frames of one chunk, in order."""
        self._waiting.extend(frames)
        while len(self._waiting) > MAX_FRAMES:
            self._waiting.popleft()
            self._metrics.frames_dropped.labels(self._session, "late").inc()
        self._changed.set()

    @property
    def is_drained(self) -> bool:
        """Nothing waits to go out or is being encoded."""
        return not self._waiting and not self._emitting

    def attach(self, key: object, viewers: Viewers) -> None:
        """A gateway joins, or changes the codecs that it wants."""
        channel = self._channels.setdefault(key, _Channel(viewers))
        for codec in viewers.codecs - channel.synced:
            self.ask_idr(codec)
        channel.synced &= viewers.codecs
        wanted = {codec for each in self._channels.values() for codec in each.viewers.codecs}
        self._encodings = {codec: encoding for codec, encoding in self._encodings.items() if codec in wanted}

    def detach(self, key: object) -> None:
        if self._channels.pop(key, None) is not None and not self._channels:
            self._encodings.clear()

    def gap(self, key: object, codec: Codec) -> None:
        """The link to a gateway dropped units: it needs an IDR before anything else."""
        if (channel := self._channels.get(key)) is not None:
            channel.synced.discard(codec)
            self.ask_idr(codec)

    def ask_idr(self, codec: Codec) -> None:
        if (encoding := self._encodings.get(codec)) is not None:
            encoding.idr.ask()
        self._changed.set()

    async def run(self) -> None:
        """Send frames at their times, for ever."""
        while True:
            now_s = self._clock.monotonic()
            if self._waiting and self._waiting[0].pace.send_s <= now_s:
                self._emitting = True
                await self._emit(self._waiting.popleft(), now_s)
                self._emitting = False
            elif (still := self._still(now_s)) is not None:
                await self._encode_and_send(still, now_s)
            else:
                await self._sleep(self._waiting[0].pace.send_s - now_s if self._waiting else IDLE_TICK_S)

    async def _sleep(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _still(self, now_s: float) -> OutputFrame | None:
        """The last picture once more, a microsecond later, if somebody waits for an IDR and nothing new comes."""
        if self._last is None or self._waiting or now_s - self._last_sent_s < STILL_AFTER_S:
            return None
        unsynced = any(channel.viewers.codecs - channel.synced for channel in self._channels.values())
        if not unsynced and not any(encoding.idr.is_wanted(now_s) for encoding in self._encodings.values()):
            return None
        last = self._last
        position = SourcePosition(last.position.run, last.position.capture_us + 1)
        return replace(last, position=position, stages_s=(), stages=StageTimes())

    async def _emit(self, frame: OutputFrame, now_s: float) -> None:
        size, encoded_s = await self._encode_and_send(frame, now_s)
        sent_s = self._clock.monotonic()
        late = is_miss(now_s, frame.pace.due_s)
        stages = _stages(frame, paced_s=now_s, encoded_s=encoded_s, sent_s=sent_s)
        self._on_sent(SentFrame(frame, now_s, late, stages, size))

    async def _encode_and_send(self, frame: OutputFrame, now_s: float) -> tuple[int, float]:
        """Encode for every wanted codec and send; returns the bytes and when the last encoding was done."""
        loop = asyncio.get_running_loop()
        self._last = frame
        self._last_sent_s = now_s
        size, encoded_s = 0, now_s
        late = bool(frame.stages_s) and is_miss(now_s, frame.pace.due_s)
        for codec in sorted({codec for channel in self._channels.values() for codec in channel.viewers.codecs}):
            unit = await loop.run_in_executor(self._executor, self._encode, codec, frame, now_s)
            if unit is None:
                continue
            encoded_s = self._clock.monotonic()
            size += len(unit.data)
            stages = _stages(frame, paced_s=now_s, encoded_s=encoded_s, sent_s=encoded_s)
            self._send(unit, run=frame.position.run, late=late, stages=stages)
        return size, encoded_s

    def _encode(self, codec: Codec, frame: OutputFrame, now_s: float) -> AccessUnit | None:
        encoding = self._encodings.get(codec)
        try:
            if encoding is None:
                encoder = open_encoder(codec, self._settings, h264=self._h264)
                encoding = self._encodings[codec] = _Encoding(encoder, IdrRequests())
            started_s = self._clock.monotonic()
            idr = encoding.idr.take(now_s)
            unit = encoding.encoder.encode(frame.picture, capture_us=frame.position.capture_us, idr=idr)
        except EncoderFailure as failure:
            logger.warning("%s: %s; the encoder starts anew", self._session, failure)
            self._encodings.pop(codec, None)
            return None
        self._metrics.encoder_seconds.labels(codec.name.lower()).observe(self._clock.monotonic() - started_s)
        self._metrics.encoder_bytes.labels(codec.name.lower()).inc(len(unit.data))
        return unit

    def _send(self, unit: AccessUnit, *, run: int, late: bool, stages: StageTimes) -> None:
        for channel in self._channels.values():
            if unit.codec not in channel.viewers.codecs:
                continue
            if unit.key_frame:
                channel.synced.add(unit.codec)
            if unit.codec in channel.synced:
                channel.viewers.send(unit, run=run, late=late, stages=stages)


def output_frames(chunk: GeneratedChunk, paced: list[PacedFrame], *, frame_rate: int) -> list[OutputFrame]:
    """A generated chunk as frames to send: each with its place in the source and the stages that it passed."""
    in_flight, count = chunk.in_flight, len(chunk.frames)
    frames = []
    for index, (picture, pace) in enumerate(zip(chunk.frames, paced, strict=True)):
        stages, passed = StageTimes(), [(Stage.CHUNKED, in_flight.complete_s)]
        if in_flight.source is not None:
            frame = in_flight.source.frames[index]
            position, stages = frame.position, frame.stages
            passed = [(Stage.RECEIVED, frame.received_s), (Stage.DECODED, frame.decoded_s or frame.received_s), *passed]
        else:
            back_us = round((count - 1 - index) * 1_000_000 / frame_rate)
            position = SourcePosition(in_flight.last.run, in_flight.last.capture_us - back_us)
        passed += [(Stage.STARTED, in_flight.started_s), (Stage.GENERATED, chunk.generated_s)]
        frames.append(
            OutputFrame(
                picture=picture,
                position=position,
                pace=pace,
                stages_s=tuple(passed),
                stages=stages,
                complete_s=in_flight.complete_s,
                first_of_chunk=index == 0,
            )
        )
    return frames


def _stages(frame: OutputFrame, *, paced_s: float, encoded_s: float, sent_s: float) -> StageTimes:
    """All stages that the frame passed, those of the worker as offsets from its first one here."""
    if not frame.stages_s:
        return frame.stages
    passed = [*frame.stages_s, (Stage.PACED, paced_s), (Stage.ENCODED, encoded_s), (Stage.SENT, sent_s)]
    start_s = passed[0][1]
    own = StageTimes.of({stage: max(0, round((at_s - start_s) * 1_000_000)) for stage, at_s in passed})
    return frame.stages.merged(own)
