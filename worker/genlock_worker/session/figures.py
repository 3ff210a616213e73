"""What one session's viewers and operators are told of it: meters, and the report made of them once a second."""

import asyncio
from collections import deque
from dataclasses import dataclass

from genlock_core.approximation.levels import Level
from genlock_core.clock import Clock
from genlock_core.media import Trouble
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo import sink_digests as digests
from genlock_core.slo.continuity import RealTimeFactor
from genlock_core.slo.deadlines import FpsMeter, MissMeter, Quantiles
from genlock_core.slo.report import EncoderReport, Percentiles, SnapshotReport, StreamReport, leg_ms
from genlock_core.slo.sink_digests import SinkDigests
from genlock_core.slo.stages import Leg, latency_budget
from genlock_worker.output.output import SentFrame

LAST_FRAMES = 64
"""How many frames the mean latency budget is taken over."""
RATE_WINDOW_S = 5.0
RESTS_AFTER_S = 1.0
"""A source is at rest without a frame for so long: what changes then is seen whenever it goes on."""


@dataclass(slots=True)
class FrameCounts:
    """Generated frames that this process has sent, of all its sessions. They only grow."""

    sent: int = 0
    late: int = 0


class SessionFigures:
    """One session's meters, told of everything on the event loop."""

    def __init__(self, *, session: str, clock: Clock, metrics: WorkerMetrics, counts: FrameCounts, steps: int) -> None:
        self._counts = counts
        self._session = session
        self._clock = clock
        self._metrics = metrics
        self._started_s = clock.monotonic()
        self._input = FpsMeter()
        self._sent = FpsMeter()
        self._misses = MissMeter()
        self._chunk_latency = Quantiles()
        self._engine = Quantiles()
        self._real_time = RealTimeFactor()
        self._rows: deque[int] = deque(maxlen=LAST_FRAMES)
        self._legs: dict[Leg, deque[int]] = {}
        self._bytes: deque[tuple[float, int]] = deque()
        self._first_in_s: float | None = None
        self._last_in_s: float | None = None
        self._first_frame_s: float | None = None
        self.steps = steps
        self.chunk = -1
        self.dropped = 0
        self.sink_digests: tuple[str, ...] = ()
        """By row."""
        self.restored = False
        """Whether it went on from a checkpoint; then its first frame ends a recovery."""
        self.first_sent = asyncio.Event()
        """Set once a generated frame has gone out."""
        self._memory_bytes: int | None = None
        self._recovery_s: float | None = None
        self._awaited: tuple[Level, float] | None = None
        """The level of which no frame has gone out yet, and since when."""

    @property
    def frames_sent(self) -> int:
        return self._misses.frames

    def taken_in(self, received_s: float) -> None:
        """A source frame is there (before its rate is matched)."""
        if self._first_in_s is None:
            self._first_in_s = received_s
        self._last_in_s = received_s
        self._input.frame(received_s)
        self._metrics.frames_in.labels(self._session).inc()

    def lost(self, frames: int, reason: str) -> None:
        """Input frames went no further."""
        if frames:
            self.dropped += frames
            self._metrics.frames_dropped.labels(self._session, reason).inc(frames)

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        self._engine.add(seconds)
        self._real_time.micro_step(seconds)
        self._metrics.engine_seconds.labels(self._session).inc(seconds)
        self._rows.append(rows)
        self.steps = steps

    def level_changes(self, level: Level, *, since_s: float) -> None:
        """Chunks run at another level from now on, as was said at `since_s` (monotonic seconds)."""
        comes = self._last_in_s is not None and self._clock.monotonic() - self._last_in_s < RESTS_AFTER_S
        self._awaited = (level, since_s) if comes else None

    def memory(self, size_bytes: int | None) -> None:
        """So much of the engine's device is set aside for it from now on; None where the engine does not say."""
        self._memory_bytes = size_bytes
        if size_bytes is None:
            self._metrics.session_memory.remove_by_labels({"session": self._session})
        else:
            self._metrics.session_memory.labels(self._session).set(size_bytes)

    def generated(self, chunk: int, *, video_s: float, sink_digests: tuple[str, ...]) -> None:
        """The chunk of this number was generated; it stands for `video_s` seconds of the source."""
        self._real_time.chunk(video_s)
        self._metrics.video_seconds.labels(self._session).inc(video_s)
        self.chunk = chunk
        self.sink_digests = sink_digests

    def sent(self, frame: SentFrame) -> None:
        """A generated frame went out."""
        now_s = frame.sent_s
        self._sent.frame(now_s)
        self._misses.frame(now_s, miss=frame.late)
        self._counts.sent += 1
        self._counts.late += frame.late
        self._metrics.frames_out.labels(self._session).inc()
        # Also by nothing: while a series is not there, no share can be told from it.
        self._metrics.deadline_misses.labels(self._session).inc(int(frame.late))

        # A chunk's latency is that of its first frame; the others are paced behind it.
        if frame.complete_s is not None:
            latency_s = max(0.0, now_s - frame.complete_s)
            self._chunk_latency.add(latency_s)
            self._metrics.chunk_latency.observe(latency_s)

        if self._misses.frames == 1:
            self._note_first_sent(now_s)
        if self._awaited is not None and frame.level == self._awaited[0]:
            self._metrics.level_change_seconds.observe(max(0.0, now_s - self._awaited[1]))
            self._awaited = None

        # The bit rate and the latency budget are those of the last frames.
        self._bytes.append((now_s, frame.bytes))
        while self._bytes[0][0] < now_s - RATE_WINDOW_S:
            self._bytes.popleft()
        for leg, duration_us in latency_budget(frame.stages).items():
            self._legs.setdefault(leg, deque(maxlen=LAST_FRAMES)).append(duration_us)

    def _note_first_sent(self, now_s: float) -> None:
        self.first_sent.set()
        if self._first_in_s is not None:
            self._first_frame_s = max(0.0, now_s - self._first_in_s)
            self._metrics.first_frame.observe(self._first_frame_s)
        if self.restored:
            self._recovery_s = now_s - self._started_s

    def report(
        self,
        *,
        prompt: str,
        requested_steps: int,
        frame_rate: float,
        paused: bool,
        strained: bool,
        encoders: str,
        snapshot: SnapshotReport,
        trouble: Trouble | None,
    ) -> StreamReport:
        """The figures now; also brings the session's gauges up to date."""
        now_s = self._clock.monotonic()
        miss_share = self._misses.share(now_s)
        output_fps = self._sent.fps(now_s)
        self._metrics.miss_share.labels(self._session).set(miss_share)
        self._metrics.output_fps.labels(self._session).set(output_fps)
        self._metrics.steps.labels(self._session).set(self.steps)
        self._metrics.frame_rate.labels(self._session).set(frame_rate)
        self._metrics.strained.set(strained)

        return StreamReport(
            chunk=self.chunk,
            steps=self.steps,
            requested_steps=requested_steps,
            frame_rate=frame_rate,
            prompt=prompt,
            paused=paused,
            strained=strained,
            input_fps=round(self._input.fps(now_s), 2),
            output_fps=round(output_fps, 2),
            dropped_input=self.dropped,
            frames_out=self._misses.frames,
            late_frames=self._misses.misses,
            miss_share=round(miss_share, 4),
            first_frame_ms=_ms(self._first_frame_s),
            chunk_latency_ms=_percentiles(self._chunk_latency),
            engine_ms=_percentiles(self._engine),
            real_time_factor=_rounded(self._real_time.value),
            batch_rows=round(sum(self._rows) / len(self._rows), 2) if self._rows else 0.0,
            memory_bytes=self._memory_bytes,
            stages=leg_ms({leg: sum(values) / len(values) for leg, values in self._legs.items()}),
            sink_digest=self.sink_digests[0] if self.sink_digests else "",
            sink_digests=SinkDigests(version=digests.VERSION, rows=self.sink_digests),
            trouble=trouble or "",
            restored=self.restored,
            recovery_ms=_ms(self._recovery_s),
            snapshot=snapshot,
            encoder=EncoderReport(codec=encoders, kbps=self._kbps(now_s)),
        )

    def _kbps(self, now_s: float) -> float:
        inside = [size for at_s, size in self._bytes if at_s > now_s - RATE_WINDOW_S]
        since_s = min(RATE_WINDOW_S, now_s - self._started_s)
        return round(sum(inside) * 8 / 1000 / since_s, 1) if since_s > 0 else 0.0


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(0.0, seconds) * 1000, 1)


def _rounded(factor: float | None) -> float | None:
    return None if factor is None else round(factor, 4)


def _percentiles(values: Quantiles) -> Percentiles | None:
    median, worst = values.quantile(0.5), values.quantile(0.99)
    if median is None or worst is None:
        return None
    return Percentiles(p50=round(median * 1000, 2), p99=round(worst * 1000, 2))
