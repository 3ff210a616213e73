"""A session's generated pictures on their way out: paced, encoded once per codec, sent to every gateway linked.

A codec that nobody watches is not encoded; one that somebody waits for has its encoder open before the first picture is
there. A gateway's first unit in a codec is an IDR, and so is the first after a gap
on its link. While nothing new is generated (paused, no publisher) an IDR request is answered with the last picture.

When the source rests, its last picture goes out once more, one period later. A receiver notices a lost packet only by
one that comes after it, and some show a picture only when they see the next one begin.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from genlock_core.approximation.levels import Level
from genlock_core.bounds import ByteBound, ByteLimit
from genlock_core.clock import Clock
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.deadlines import is_miss
from genlock_core.slo.stages import StageTimes
from genlock_core.spec.session import MAX_PICTURE_BYTES
from genlock_worker.intake.intake import later
from genlock_worker.output.encode import Encoder, EncoderFailure, EncoderSettings, IdrRequests, open_encoder
from genlock_worker.output.gateway_channel import GatewayChannel
from genlock_worker.output.pacing import OutputFrame, Pacer, spans_of
from genlock_worker.rows.listener import GeneratedChunk

logger = logging.getLogger(__name__)

MAX_FRAMES = 20
"""Pictures that wait to go out (five chunks); beyond it the oldest are dropped: encoding or the machine is stuck."""
OUTPUT_LIMIT = ByteLimit(
    "generated pictures that wait to go out",
    MAX_FRAMES * MAX_PICTURE_BYTES,
    each="session",
    when_full="the oldest are dropped",
)
STILL_AFTER_S = 0.3
"""Without a new picture for this long the last one answers an IDR request."""
IDLE_TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class SentFrame:
    """What became of an output frame, for those that count; times in monotonic seconds."""

    sent_s: float
    late: bool
    stages: StageTimes
    bytes: int

    complete_s: float | None
    """When its chunk was complete; None for frames that are not the first of their chunk."""

    level: Level
    """That it was made at."""


@dataclass(slots=True)
class _Encoding:
    encoder: Encoder
    settings: EncoderSettings
    idr: IdrRequests


class Output:
    """One session's way out; `run` is its loop, everything else is called on the same event loop."""

    def __init__(
        self,
        *,
        session: str,
        settings: EncoderSettings,
        h264: str,
        pacer: Pacer,
        clock: Clock,
        executor: Executor,
        metrics: WorkerMetrics,
        on_sent: Callable[[SentFrame], None],
    ) -> None:
        self.channels: list[GatewayChannel] = []
        """The gateways that are attached, in the order in which they came."""
        self._session = session
        self._settings = settings
        self._period_s = 1 / settings.frame_rate
        self._h264 = h264
        self._pacer = pacer
        self._clock = clock
        self._executor = executor
        self._metrics = metrics
        self._on_sent = on_sent
        self._encodings: dict[Codec, _Encoding] = {}
        # Of the codecs that are wanted: those whose encoder was opened, or could not be, before its first picture.
        self._opened_ahead: set[Codec] = set()
        self._waiting: deque[OutputFrame] = deque()
        self._waiting_bytes = ByteBound(OUTPUT_LIMIT)
        self._shown: SourcePosition | None = None
        """The last source frame that viewers of any gateway have seen, perhaps of another worker."""
        self._spans = 1
        """For how many frame periods a frame of the last chunk stood, at most."""
        self._changed = asyncio.Event()
        self._last: OutputFrame | None = None
        self._last_sent_s = 0.0
        self._emitting = False
        self._rests_at: SourcePosition | None = None
        """Where the source stands still; None while it moves."""
        self._owes_last = False
        """The last picture goes out once more, as soon as it has gone out for the first time."""

    @property
    def encoder_names(self) -> tuple[str, ...]:
        return tuple(sorted(encoding.encoder.name for encoding in self._encodings.values()))

    @property
    def last(self) -> OutputFrame | None:
        """The last frame that went out, None before the first."""
        return self._last

    @property
    def is_drained(self) -> bool:
        """Nothing waits to go out or is being encoded."""
        return not self._waiting and not self._emitting

    # -- gateways -----------------------------------------------------------------------------------------------------

    def attach(self, channel: GatewayChannel) -> None:
        """A gateway joins."""
        self.channels.append(channel)
        self.set_codecs(channel, channel.subscription.codecs)

    def set_codecs(self, channel: GatewayChannel, codecs: frozenset[Codec]) -> None:
        """A gateway's viewers need these codecs now."""
        channel.subscription = channel.subscription.with_codecs(codecs)
        for codec in codecs - channel.synced:
            self.ask_idr(codec)
        channel.synced &= codecs
        channel.resumes = {codec: after for codec, after in channel.resumes.items() if codec in codecs}

        # What nobody watches any more is encoded no more.
        wanted = self._wanted_codecs()
        self._encodings = {codec: encoding for codec, encoding in self._encodings.items() if codec in wanted}
        self._opened_ahead &= wanted
        self._changed.set()

    def detach(self, channel: GatewayChannel) -> None:
        """A gateway left."""
        if channel in self.channels:
            self.channels.remove(channel)
        if not self.channels:
            self._encodings.clear()
            self._opened_ahead.clear()

    def close(self) -> None:
        """Let encoders and pictures go now: they are megabytes, and the garbage collector does not know how many."""
        self.channels.clear()
        self._encodings.clear()
        while self._waiting:
            self._next_waiting()
        self._last = None

    def skip_until(self, position: SourcePosition | None) -> None:
        """Viewers have seen everything up to here already, of another worker."""
        self._shown = later(self._shown, position)

    def resume(self, channel: GatewayChannel, codec: Codec, after: SourcePosition) -> SourcePosition | None:
        """A gateway shows the worker before up to `after`: its next unit in `codec` is an IDR after that place.

        Returns up to where no gateway needs anything any more; None if one has not said how far it is.
        """
        channel.resumes[codec] = after
        waits = [one.resumes.get(codec) for one in self.channels for codec in one.subscription.codecs]
        covered = min((place for place in waits if place is not None), default=None)
        if covered is None or None in waits:
            return None

        self.skip_until(covered)
        left = [frame for frame in self._waiting if frame.position > covered]
        if len(left) < len(self._waiting):
            # What waited behind them goes out as if they had never been there.
            self._waiting = deque(self._pacer.again(left))
            self._waiting_bytes.hold(sum(frame.picture.nbytes for frame in left))
            self._changed.set()
        return covered

    def gap(self, channel: GatewayChannel, codec: Codec) -> None:
        """The link to a gateway was too slow and dropped units: it needs an IDR before anything else."""
        channel.synced.discard(codec)
        self.ask_idr(codec)

    def ask_idr(self, codec: Codec) -> None:
        if (encoding := self._encodings.get(codec)) is not None:
            encoding.idr.ask()
        self._changed.set()

    def _wanted_codecs(self) -> set[Codec]:
        return {codec for channel in self.channels for codec in channel.subscription.codecs}

    # -- frames -------------------------------------------------------------------------------------------------------

    def add(self, chunk: GeneratedChunk) -> None:
        """A chunk that the engine has just generated; chunks come in order."""
        spans = spans_of(chunk.chunk, frames=len(chunk.frames))
        if max(spans) < self._spans:
            self._waiting = deque(self._pacer.sooner(self._waiting, now_s=chunk.generated_s))
        self._spans = max(spans)
        frames = self._pacer.frames(chunk)
        for frame in frames:
            if self._shown is None or frame.position > self._shown:
                self._waiting.append(frame)
                self._waiting_bytes.add(frame.picture.nbytes)
        while len(self._waiting) > MAX_FRAMES or self._waiting_bytes.is_over:
            self._next_waiting()
            self._metrics.frames_dropped.labels(self._session, "late").inc()
        self._changed.set()

    def _next_waiting(self) -> OutputFrame:
        frame = self._waiting.popleft()
        self._waiting_bytes.give(frame.picture.nbytes)
        return frame

    def rest(self, position: SourcePosition) -> None:
        """The source is silent: after this place in it nothing comes until it moves again."""
        if self._rests_at != position:
            self._rests_at = position
            self._owes_last = True
            self._changed.set()

    @property
    def _is_at_rest(self) -> bool:
        """What viewers see is the last picture of a source that stands still."""
        return self._last is not None and self._rests_at is not None and self._last.position >= self._rests_at

    async def run(self) -> None:
        """Send frames at their times, for ever."""
        while True:
            now_s = self._clock.monotonic()
            if self._waiting and self._waiting[0].pace.send_s <= now_s:
                self._emitting = True
                await self._emit(self._next_waiting(), now_s)
                self._emitting = False
            elif (still := self._still(now_s)) is not None:
                await self._encode_and_send(still, now_s)
            elif (codec := self._to_open_ahead()) is not None:
                await self._open_ahead(codec)
            else:
                await self._sleep(self._waiting[0].pace.send_s - now_s if self._waiting else self._tick_s)

    @property
    def _tick_s(self) -> float:
        return self._period_s if self._is_at_rest and self._owes_last else IDLE_TICK_S

    async def _sleep(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _still(self, now_s: float) -> OutputFrame | None:
        """The last picture once more, a microsecond later: a source at rest owes it, or somebody waits for an IDR."""
        last = self._last
        if last is None or self._waiting:
            return None

        since_s = now_s - self._last_sent_s
        owed = self._owes_last and self._is_at_rest and since_s >= self._period_s
        if not owed and (since_s < STILL_AFTER_S or not self._is_idr_wanted(now_s)):
            return None

        if owed:
            self._owes_last = False
        position = SourcePosition(last.position.run, last.position.capture_us + 1)
        return replace(last, position=position, stages_s=(), stages=StageTimes())

    def _is_idr_wanted(self, now_s: float) -> bool:
        if any(channel.subscription.codecs - channel.synced for channel in self.channels):
            return True
        return any(encoding.idr.is_wanted(now_s) for encoding in self._encodings.values())

    async def _emit(self, frame: OutputFrame, now_s: float) -> None:
        if self._rests_at is not None and frame.position > self._rests_at:
            self._rests_at = None
        size, encoded_s = await self._encode_and_send(frame, now_s)
        sent_s = self._clock.monotonic()
        stages = frame.stages_until_sent(paced_s=now_s, encoded_s=encoded_s, sent_s=sent_s)
        late = is_miss(now_s, frame.pace.due_s)
        complete_s = frame.complete_s if frame.first_of_chunk else None
        self._on_sent(SentFrame(now_s, late, stages, size, complete_s, frame.level))

    async def _encode_and_send(self, frame: OutputFrame, now_s: float) -> tuple[int, float]:
        """Encode for every wanted codec and send; returns the bytes and when the last encoding was done."""
        loop = asyncio.get_running_loop()
        self._last = frame
        self._last_sent_s = now_s
        size = 0
        encoded_s = now_s
        late = bool(frame.stages_s) and is_miss(now_s, frame.pace.due_s)
        replay = not frame.stages_s and self._is_at_rest

        for codec in sorted(self._wanted_codecs()):
            takers = [channel for channel in self.channels if channel.takes(codec, frame.position)]
            if not takers:
                continue
            if any(codec in channel.resumes for channel in takers):
                self._encoding_begins(codec)
            unit = await loop.run_in_executor(self._executor, self._encode, codec, frame, now_s)
            if unit is None:
                continue
            encoded_s = self._clock.monotonic()
            size += len(unit.data)
            stages = frame.stages_until_sent(paced_s=now_s, encoded_s=encoded_s, sent_s=encoded_s)
            self._send(unit, run=frame.position.run, late=late, replay=replay, stages=stages)

        return size, encoded_s

    def _to_open_ahead(self) -> Codec | None:
        """A codec that somebody waits for and that has no encoder yet."""
        wanted = self._wanted_codecs() - self._opened_ahead - self._encodings.keys()
        return min(wanted, default=None)

    async def _open_ahead(self, codec: Codec) -> None:
        """Open an encoder while nothing is due: then the first picture does not wait for it."""
        self._opened_ahead.add(codec)
        loop = asyncio.get_running_loop()
        try:
            encoder = await loop.run_in_executor(self._executor, self._opened, codec, self._settings)
        except EncoderFailure as failure:
            logger.warning("%s: %s; the first picture tries again", self._session, failure)
            return

        # Its viewers may have gone meanwhile.
        if codec in self._wanted_codecs():
            self._encodings[codec] = _Encoding(encoder, self._settings, IdrRequests())

    def _opened(self, codec: Codec, settings: EncoderSettings) -> Encoder:
        return open_encoder(codec, settings, h264=self._h264)

    def _encoding_begins(self, codec: Codec) -> None:
        """A gateway goes on with the next unit, so it is an IDR, however lately there was one."""
        if (encoding := self._encodings.get(codec)) is not None:
            encoding.idr.insist()

    def _encode(self, codec: Codec, frame: OutputFrame, now_s: float) -> AccessUnit | None:
        """On a media thread. None where the codec failed: its encoder is opened anew for the next frame."""
        encoding = self._encodings.get(codec)
        try:
            height, width = frame.picture.shape[:2]
            settings = replace(self._settings, width=width, height=height)
            # The session was turned: another encoder, whose first unit is an IDR, goes on in the same stream.
            if encoding is None or encoding.settings != settings:
                encoder = self._opened(codec, settings)
                encoding = _Encoding(encoder, settings, IdrRequests() if encoding is None else encoding.idr)
                self._encodings[codec] = encoding
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

    def _send(self, unit: AccessUnit, *, run: int, late: bool, replay: bool, stages: StageTimes) -> None:
        for channel in self.channels:
            if not channel.takes(unit.codec, SourcePosition(run, unit.capture_us)):
                continue
            if unit.key_frame:
                channel.synced.add(unit.codec)
                channel.resumes.pop(unit.codec, None)
            elif unit.codec in channel.resumes:
                channel.synced.discard(unit.codec)  # it asked while this one was encoded: the next one is an IDR
            # A gateway that has had no IDR in this codec could do nothing with anything else.
            if unit.codec in channel.synced:
                channel.connection.send_media(channel.number, unit, run=run, late=late, replay=replay, stages=stages)
