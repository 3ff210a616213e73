"""Source `webrtc`: a publisher's encoded access units, as gateways send them over the link.

Units wait in a bounded queue and are decoded off the event loop, in order. Frames that viewers have seen (after a move)
are decoded, because later ones build on them, and not used. Frames go on in the order in which they are shown, which
need not be the order of their units.
"""

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol

from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.clock import Clock
from genlock_core.link.events import MediaReceived
from genlock_core.media import AccessUnit, Codec, SourcePosition, Trouble
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.stages import StageTimes
from genlock_core.spec.session import PictureFit, Resolution, orientation_of
from genlock_worker.intake.chunks import SourceFrame
from genlock_worker.intake.decoding import DecodedFrame, Decoders, VideoDecoder

MAX_UNITS = 2_048
MAX_BYTES = 24 * 1024 * 1024
"""Bounds of the queue: a kept group of pictures of many seconds fits, a stuck decoder costs no more than this."""
QUEUE_LIMIT = ByteLimit(
    "a publisher's pictures that wait for the decoder",
    MAX_BYTES,
    each="session",
    when_full="all of them go, and a key frame is asked for",
)
SKIPPED_UNITS = 90
"""A key frame takes the place of so many units that wait before it: decoding them would take longer than new pictures
take to come. A successor that is fed a group of pictures of half a minute goes on with the key frame that was asked for
when its predecessor died."""
MAX_HELD_UNITS = 64
"""Units whose pictures may still come out of the decoder; one that holds back more has lost them."""
TROUBLE_AFTER_S = 5.0
"""Of units without a picture: a key frame that was asked for has come by then."""
STILL_S = 0.25
"""Pictures that the decoder holds back to put them in order come out when no other unit came for so long. It costs the
decoding of all since the last key frame when the stream goes on: longer than a network's jitter, sooner than anybody
misses a picture."""
ASK_SPACING_S = 0.5
"""The publisher is asked for a key frame at most this often."""


class PublisherLane(Protocol):
    """The gateway's channel by which units come."""

    publisher: bool
    """Whether the session's publisher is at that gateway."""


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """An access unit of the publisher; `lane` and `sequence` tell whether one before it was lost on the link."""

    unit: AccessUnit
    run: int
    lane: object
    sequence: int
    received_s: float
    stages: StageTimes = StageTimes()  # noqa: RUF009 - an immutable value

    @property
    def position(self) -> SourcePosition:
        return SourcePosition(self.run, self.unit.capture_us)

    @property
    def cost(self) -> int:
        """What it takes of memory, about."""
        return len(self.unit.data) + OBJECT_BYTES


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture as it was sent, and the unit that it came with."""

    unit: SourceUnit
    decoded: DecodedFrame


Settle = Callable[[int, int, int], Awaitable[Resolution]]
"""Is told of a publication (run) and the width and height of its first picture; says what to make of it."""


class PublisherSource:
    """One session's publisher. `after`: nothing up to there is used again; it may be raised while running.

    `settle` is asked once for each publication, before its first picture is used; None: `resolution` is what is made.
    """

    def __init__(
        self,
        *,
        session: str,
        resolution: Resolution,
        fit: PictureFit,
        settle: Settle | None,
        clock: Clock,
        executor: Executor,
        metrics: WorkerMetrics,
        decoders: Decoders,
        ask_key_frame: Callable[[Codec], None],
        after: SourcePosition | None = None,
    ) -> None:
        self.holdings = holdings = Holdings()
        """Every buffer that the publisher can fill here."""
        self.after = after
        self._session = session
        self._resolution = resolution
        self._fit = fit
        self._settle = settle
        self._settled_run = -1
        """The publication that the orientation is settled of."""
        self._clock = clock
        self._executor = executor
        self._metrics = metrics
        self._decoders = decoders
        self._ask = ask_key_frame
        self._units: deque[SourceUnit] = deque()
        self._bytes = holdings.bound(QUEUE_LIMIT)
        self._arrived = asyncio.Event()
        self._decoder: VideoDecoder | None = None
        # By capture time, which the decoder gives back: the units whose pictures have not come out yet.
        self._held: dict[int, SourceUnit] = {}
        self._last_used: SourcePosition | None = None
        self._run = -1
        self._last: tuple[object, int] | None = None
        self._asked_s: float | None = None
        self._arrived_s = 0.0
        self._undecoded_since_s: float | None = None
        self._decoding = False

    @property
    def is_behind(self) -> bool:
        """Units have come that are not decoded yet."""
        return bool(self._units) or self._decoding

    @property
    def trouble(self) -> Trouble | None:
        """Why no picture came out of what arrived for `TROUBLE_AFTER_S`; None if one did, or nothing arrives.

        That nothing can be decoded for want of a key frame is the gateway's to tell: it sees what the publisher sends.
        """
        decoder = self._decoder
        if decoder is None or self._undecoded_since_s is None:
            return None
        now_s = self._clock.monotonic()
        is_due = now_s - self._undecoded_since_s >= TROUBLE_AFTER_S and now_s - self._arrived_s < TROUBLE_AFTER_S
        return decoder.trouble if is_due else None

    def receive(self, lane: PublisherLane, media: MediaReceived) -> None:
        """Take what a gateway sent by `lane`: the publisher is there, then."""
        lane.publisher = True
        self.push(SourceUnit(media.unit, media.run, lane, media.sequence, self._clock.monotonic(), media.stages))

    def push(self, unit: SourceUnit) -> None:
        """Take a unit; when too many wait, all of them go: a key frame is there, or is asked for.

        One of an older publication is of no use, and takes nobody's place.
        """
        if unit.run < self._newest_run:
            self._metrics.frames_dropped.labels(self._session, "stale").inc()
            return

        self._arrived_s = self._clock.monotonic()
        if unit.unit.key_frame and len(self._units) >= SKIPPED_UNITS:
            self._drop_waiting("late")

        if len(self._units) < MAX_UNITS and self._bytes.take(unit.cost):
            self._units.append(unit)
        else:
            self._metrics.frames_dropped.labels(self._session, "overload").inc()
            self._drop_waiting("overload")
            self._last = None
            self._ask_for_key_frame(unit.unit.codec)
        self._metrics.publisher_bytes.labels(self._session).set(self.holdings.held_bytes)
        self._arrived.set()

    def close(self) -> None:
        """Nothing is decoded any more.

        Decoder and units go now: they are megabytes, and the garbage collector does not know how many.
        """
        self._leave_decoder()
        self._units.clear()
        self._bytes.clear()
        self._held.clear()

    @property
    def _newest_run(self) -> int:
        """Of the publications that units have come from."""
        return max(self._run, self._units[-1].run) if self._units else self._run

    def _leave_decoder(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _drop_waiting(self, reason: str) -> None:
        self._metrics.frames_dropped.labels(self._session, reason).inc(len(self._units))
        self._units.clear()
        self._bytes.clear()

    async def frames(self) -> AsyncIterator[SourceFrame]:
        while True:
            if not self._units:
                self._arrived.clear()
                for frame in await self._until_more():
                    yield frame
                continue

            unit = self._units.popleft()
            self._bytes.give(unit.cost)
            decoder = self._decoder_for(unit)
            if decoder is None:
                self._metrics.frames_dropped.labels(self._session, "stale").inc()
                continue

            was_waiting = decoder.needs_key_frame
            self._decoding = True
            frames = await self._frames_of(unit.run, functools.partial(self._decode, decoder, unit))
            self._decoding = False
            if decoder.needs_key_frame:
                reason = "before-key-frame" if was_waiting else "undecodable"
                self._metrics.frames_dropped.labels(self._session, reason).inc()
                self._ask_for_key_frame(unit.unit.codec)

            for frame in frames:
                yield frame

    async def _until_more(self) -> list[SourceFrame]:
        """Wait for the next unit. If the stream stands still before it comes: what its decoder held back."""
        decoder = self._decoder
        if decoder is None or not decoder.holds:
            await self._arrived.wait()
            return []
        try:
            async with asyncio.timeout(STILL_S):
                await self._arrived.wait()
        except TimeoutError:
            return await self._frames_of(self._run, lambda: self._owned(decoder.drain()))
        return []

    async def _frames_of(self, run: int, decode: "Callable[[], list[_Decoded]]") -> list[SourceFrame]:
        loop = asyncio.get_running_loop()
        if self._settle is None or run <= self._settled_run:
            return await loop.run_in_executor(self._executor, lambda: self._fitted(decode()))

        decoded = await loop.run_in_executor(self._executor, decode)
        if not decoded:
            return []
        first = decoded[0].decoded
        self._resolution = await self._settle(run, first.width, first.height)
        self._settled_run = run
        return await loop.run_in_executor(self._executor, self._fitted, decoded)

    def _decoder_for(self, unit: SourceUnit) -> VideoDecoder | None:
        """The decoder of the unit's publication, told of gaps; None for a unit of an older publication."""
        if unit.run < self._run:
            return None
        if self._decoder is None or unit.run > self._run or self._decoder.codec is not unit.unit.codec:
            self._leave_decoder()
            self._decoder = self._decoders(unit.unit.codec, holdings=self.holdings)
            self._held.clear()
            self._undecoded_since_s = None
            self._run = unit.run
        elif self._last != (unit.lane, unit.sequence - 1):
            self._decoder.gap()
        self._last = (unit.lane, unit.sequence)
        return self._decoder

    def _decode(self, decoder: VideoDecoder, unit: SourceUnit) -> "list[_Decoded]":
        started_s = self._clock.monotonic()
        # Its bytes are the decoder's now: only when it came is kept.
        self._held[unit.unit.capture_us] = replace(unit, unit=replace(unit.unit, data=b""))
        while len(self._held) > MAX_HELD_UNITS:
            del self._held[next(iter(self._held))]
        frames = decoder.decode(unit.unit)
        self._metrics.decoder_seconds.observe(self._clock.monotonic() - started_s)

        if frames:
            self._undecoded_since_s = None
        elif self._undecoded_since_s is None:
            self._undecoded_since_s = started_s
        return self._owned(frames)

    def _owned(self, frames: Sequence[DecodedFrame]) -> "list[_Decoded]":
        """Those that are next, each with its unit; what a decoder that began anew gives once more has none."""
        decoded: list[_Decoded] = []
        for frame in frames:
            own = None if frame.pts is None else self._held.pop(frame.pts, None)
            if own is not None and self._is_next(own.position):
                decoded.append(_Decoded(own, frame))
        return decoded

    def _fitted(self, decoded: "Sequence[_Decoded]") -> list[SourceFrame]:
        frames = [self._frame(one.unit, one.decoded) for one in decoded]
        return [frame for frame in frames if frame is not None]

    def _frame(self, unit: SourceUnit, decoded: DecodedFrame) -> SourceFrame | None:
        made = self._resolution
        turned = orientation_of(decoded.width, decoded.height)
        # A camera that is turned after its first picture would lose most of it to a crop.
        is_turned = self._settle is not None and None not in (turned, made.orientation) and turned != made.orientation
        fit = PictureFit.FIT if is_turned else self._fit
        picture = decoded.fitted(width=made.width, height=made.height, fit=fit)
        if picture is None:
            return None
        return SourceFrame(unit.position, picture, unit.received_s, self._clock.monotonic(), unit.stages)

    def _is_next(self, position: SourcePosition) -> bool:
        """Whether nothing at or after that place was used or seen.

        A decoder that learns only from its pictures that they need reordering has let some out too early.
        """
        if self._last_used is not None and position <= self._last_used:
            return False
        self._last_used = position
        return self.after is None or position > self.after

    def _ask_for_key_frame(self, codec: Codec) -> None:
        now_s = self._clock.monotonic()
        if self._asked_s is None or now_s - self._asked_s >= ASK_SPACING_S:
            self._asked_s = now_s
            self._ask(codec)
