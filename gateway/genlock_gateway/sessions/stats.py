"""What a gateway measures of one session: freezes and recovery gaps, time to first frame, and where the latency goes.

The definitions are `genlock_core.slo`'s; here the moments are told to them. One object per live session.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from pydantic import JsonValue, ValidationError

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.figure_board import PostedFigures
from genlock_core.clock import Clock
from genlock_core.media import SourcePosition, Trouble
from genlock_core.metrics import GatewayMetrics
from genlock_core.situation.facts import Pictures
from genlock_core.slo.burn import MissShares, MissWindows
from genlock_core.slo.deadlines import FreezeMeter, Quantiles, time_to_first_frame_s
from genlock_core.slo.report import Percentiles, StreamReport, leg_ms
from genlock_core.slo.slowness import Slowness, comes_late
from genlock_core.slo.stages import Leg, Stage, StageTimes, latency_budget
from genlock_gateway.rtc.egress.fanout import FanoutFigures
from genlock_gateway.rtc.ingest.receive import IngestFigures
from genlock_gateway.sessions.meters.first_frame import FirstFrame, FirstFrameLeg, Setup
from genlock_gateway.sessions.meters.recovery import RecoveryLeg, RecoveryTime
from genlock_gateway.sessions.meters.service_levels import ServiceLevels

logger = logging.getLogger(__name__)

LegName = TypeVar("LegName", FirstFrameLeg, RecoveryLeg)

QUIET_S: Final = 2.0
"""Without a picture for this long, and for three periods of the session, the pictures have stopped."""
QUIET_PERIODS: Final = 3
REPORT_FRESH_S: Final = 3.0
"""Workers report once a second."""
LATENCIES_KEPT: Final = 256
MEAN_OVER_FRAMES: Final = 32


class SessionStats:
    """The figures of one session at this gateway. Moments are read from the gateway's monotonic clock."""

    def __init__(self, session: str, *, frame_rate: int, clock: Clock, metrics: GatewayMetrics) -> None:
        self.session = session
        self._clock = clock
        self._metrics = metrics
        self._frame_rate = frame_rate
        self._freezes = FreezeMeter(frame_rate)
        self.levels = ServiceLevels(session, frame_rate=frame_rate, metrics=metrics)
        """The same in the field's words."""
        self._slowness = Slowness()
        self._miss_windows = MissWindows()
        self.cause = MoveCause.REFUSED
        """Why the worker was lost, the last time that one was."""
        self._recovery: RecoveryTime | None = None
        self._recovery_legs: Mapping[RecoveryLeg, float] = {}
        self._latency_ms = Quantiles(LATENCIES_KEPT)
        self._legs_us: dict[Leg, float] = {}
        self._first_in_s: float | None = None
        # The publication whose first generated frame has not come yet.
        self._awaited_run: int | None = None
        self._first_frame_ms: float | None = None
        self._first_frame_legs: Mapping[FirstFrameLeg, float] = {}
        # How the publisher connected, when it got the session, and when a worker began to serve.
        self._setup = Setup()
        self._published_s = -math.inf
        self._opened_s = -math.inf
        # When the last picture of the source came, and the last generated one of this publication.
        self._source_s: float | None = None
        self._picture_s: float | None = None
        self._shown: SourcePosition | None = None
        self._report: StreamReport | None = None
        self._reported_s = -math.inf
        # How many of the losses of this publisher, and of the fan-outs', are counted already.
        self._ingest: IngestFigures | None = None
        self._incomplete = 0
        self._fan_out_dropped = 0
        self.moves = 0
        self._left_for: MoveCause | None = None
        """Why its worker is being left, until another one serves."""

    @property
    def source_trouble(self) -> Trouble | None:
        """Why the worker cannot decode the source; None if it can, or says a word that this release does not know."""
        word = "" if self._report is None else self._report.trouble
        return Trouble(word) if word in set(Trouble) else None

    @property
    def frame_rate(self) -> float:
        """Frames per second that the session runs at now: fewer than its own while its worker leaves some out."""
        return self._freezes.frame_rate

    def now_us(self) -> int:
        """The clock of capture times."""
        return round(self._clock.monotonic() * 1e6)

    # -- moments ----------------------------------------------------------------------------------------------------

    def published(self, run: int, setup: Setup) -> None:
        """A publication began, of a publisher that had connected so."""
        self._awaited_run = run
        self._setup = setup
        self._published_s = self._clock.monotonic()
        self._first_in_s = None
        self._source_s = None
        self._picture_s = None

    def unpublished(self) -> None:
        """No publisher any more."""
        self._awaited_run = None
        self._first_in_s = None
        self.rest()

    def source_frame(self, run: int, *, watched: bool) -> None:
        """A source frame came; the wait for the first generated one is measured only if somebody waits for it."""
        self._metrics.frames_in.labels(session=self.session).inc()
        self._source_s = self._clock.monotonic()
        if run == self._awaited_run and self._first_in_s is None:
            if watched:
                self._first_in_s = self._clock.monotonic()
            else:
                self._awaited_run = None

    def opened(self) -> None:
        """A worker serves the session from now on."""
        self._opened_s = self._clock.monotonic()

    def rest(self) -> None:
        """Frames stop on purpose."""
        self._freezes.rest()
        self.levels.rest()
        self._slowness.restart()
        self._recovery = None

    def fault(self, cause: MoveCause) -> None:
        """The worker was lost: the gap up to the next frame is a recovery gap."""
        self._freezes.fault()
        self._slowness.restart()
        self.cause = cause
        now_s = self._clock.monotonic()
        self._recovery = RecoveryTime(now_s if self._picture_s is None else self._picture_s)
        self._recovery.reached(RecoveryLeg.DETECT, now_s)

    def recovers(self, leg: RecoveryLeg, *, epoch: int, restore_s: float = 0.0) -> None:
        """If the session recovers from a fault: this leg of it ends now, under that claim."""
        if self._recovery is not None:
            self._recovery.reached(leg, self._clock.monotonic(), epoch=epoch, restore_s=restore_s)

    def leaves(self, cause: MoveCause) -> None:
        """The session leaves its worker, whether viewers see a gap or not."""
        self._left_for = cause

    def moved(self) -> None:
        """Another worker serves the session from now on, and makes its own pace."""
        self.moves += 1
        self.forget_report()  # it would stand under the name of the worker that has not reported yet
        cause = "unknown" if self._left_for is None else self._left_for.value
        self._metrics.session_moves.labels(session=self.session, cause=cause).inc()
        self._left_for = None

    def shown(
        self,
        position: SourcePosition,
        stages: StageTimes,
        *,
        arrived_us: int,
        own_run: int | None,
        at_rest: bool = False,
    ) -> None:
        """A generated frame of that place in the source was handed to the viewers; it had arrived at `arrived_us`.

        `own_run` is the publication at this gateway: only its capture times are on this gateway's clock. `at_rest`: it
        is the last picture of a source that stands still, once more.
        """
        now_s = self._clock.monotonic()
        now_us = self.now_us()
        self._metrics.frames_out.labels(session=self.session).inc()
        before, self._shown = self._shown, position
        if not at_rest and _is_again(position, stages, before):
            return
        self._picture_s = now_s
        self._count_freeze(now_s)

        # A picture that the worker repeated is as old as it may be: that says nothing of how long one takes.
        is_repeated = at_rest or (stages.get(Stage.CHUNKED) is not None and stages.get(Stage.RECEIVED) is None)
        total_us = now_us - position.capture_us if position.run == own_run and not is_repeated else None
        if total_us is not None and total_us >= 0:
            self._latency_ms.add(total_us / 1000)
            self._metrics.frame_latency.observe(total_us / 1e6)
        self._count_legs(stages, total_us, now_us - arrived_us)

        if is_repeated:
            self.levels.repeated(now_s)
        else:
            self.levels.picture(now_s, age_s=None if total_us is None else max(0, total_us) / 1e6)
        if at_rest:
            self._freezes.rest()
            self.levels.rest()

        # The first generated frame of a publication that somebody waits for.
        if position.run == self._awaited_run and self._first_in_s is not None:
            self._awaited_run = None
            self._first_shown(self._first_in_s, now_s, stages)

    def lost(self, ingest: IngestFigures | None, fan_outs: Iterable[FanoutFigures]) -> None:
        """Count what RTP has lost since the last time: `ingest` is the publisher's, None while there is none."""
        # Another publisher's figures begin at 0.
        if ingest is not self._ingest:
            self._ingest = ingest
            self._incomplete = 0
        if ingest is not None:
            self.dropped("incomplete", ingest.lost_frames - self._incomplete)
            self._incomplete = ingest.lost_frames

        dropped = sum(figures.dropped for figures in fan_outs)
        self.dropped("fan-out", dropped - self._fan_out_dropped)
        self._fan_out_dropped = dropped

    def dropped(self, reason: str, frames: int = 1) -> None:
        """Count frames that go no further, by the reason."""
        if frames:
            self._metrics.frames_dropped.labels(reason=reason).inc(frames)

    def _first_shown(self, first_in_s: float, now_s: float, stages: StageTimes) -> None:
        waited_s = time_to_first_frame_s(first_in_s, now_s)
        self._metrics.time_to_first_frame.observe(waited_s)
        self._first_frame_ms = round(waited_s * 1000, 1)

        way = FirstFrame(self._setup, self._published_s, first_in_s, self._opened_s)
        self._first_frame_legs = way.legs_s(stages, now_s)
        self.levels.first_chunk(sum(self._first_frame_legs.values()))
        for leg, seconds in self._first_frame_legs.items():
            self._metrics.first_frame_leg.labels(leg=leg.value).observe(seconds)
        told = _as_text(self._first_frame_legs)
        logger.info("%s: first frame after %.0f ms (ms: %s)", self.session, waited_s * 1000, told)

    def _count_freeze(self, now_s: float) -> None:
        freeze = self._freezes.frame(now_s)
        if freeze is not None:
            self._metrics.freezes.labels(session=self.session).inc()
            self._metrics.freeze_seconds.labels(session=self.session).inc(freeze.duration_s)

        # The frame ends the gap that a fault began, be the gap long enough for a freeze or not.
        recovery, self._recovery = self._recovery, None
        gap_s = self._freezes.last_recovery_gap_s
        if recovery is not None and gap_s is not None:
            self._recovered(recovery, gap_s, now_s)

    def _recovered(self, recovery: RecoveryTime, gap_s: float, now_s: float) -> None:
        recovery.reached(RecoveryLeg.IDR, now_s)
        self._recovery_legs = recovery.legs_s()
        cause = self.cause.value
        self._metrics.recovery_gap.labels(cause=cause).observe(gap_s)
        for leg, seconds in self._recovery_legs.items():
            self._metrics.recovery_leg.labels(leg=leg.value, cause=cause).observe(seconds)

        legs = _as_text(self._recovery_legs)
        logger.info("%s: recovered, gap %.0f ms, cause %s (ms: %s)", self.session, gap_s * 1000, cause, legs)

    def _count_legs(self, times: StageTimes, total_us: int | None, fan_out_us: int) -> None:
        here = StageTimes.of({Stage.ARRIVED: 0, Stage.PACKETISED: max(0, fan_out_us)})
        for leg, value_us in latency_budget(times.merged(here), total_us=total_us).items():
            self._metrics.frame_leg.labels(leg=leg.value).observe(value_us / 1e6)
            mean_us = self._legs_us.get(leg, float(value_us))
            self._legs_us[leg] = mean_us + (value_us - mean_us) / MEAN_OVER_FRAMES

    # -- what moves ---------------------------------------------------------------------------------------------------

    @property
    def pictures(self) -> Pictures:
        """Whether generated pictures come: as viewers here see it; without viewers here, as the worker says."""
        now_s = self._clock.monotonic()
        reported = self._fresh_report(now_s)
        if self._is_recent(self._picture_s, now_s) or (reported is not None and reported.output_fps > 0):
            return Pictures.MOVING
        return Pictures.NONE if self._picture_s is None else Pictures.STOPPED

    @property
    def source_moves(self) -> bool:
        """Whether source pictures come: from the publisher here, or from elsewhere as the worker says."""
        now_s = self._clock.monotonic()
        reported = self._fresh_report(now_s)
        return self._is_recent(self._source_s, now_s) or (reported is not None and reported.input_fps > 0)

    @property
    def late_share(self) -> float | None:
        """Of the last pictures, while the session is too slow; None while it is not."""
        if self.pictures is not Pictures.MOVING:
            return None
        return self._slowness.late_share(self._clock.monotonic())

    @property
    def miss_shares(self) -> MissShares | None:
        """Late frames over the two windows of a miss budget; None while nobody can say, or no picture comes."""
        if self._fresh_report(self._clock.monotonic()) is None:
            return None
        return self._miss_windows.shares(self._clock.monotonic())

    def _is_recent(self, at_s: float | None, now_s: float) -> bool:
        return at_s is not None and now_s - at_s <= max(QUIET_S, QUIET_PERIODS / self.frame_rate)

    def _fresh_report(self, now_s: float) -> StreamReport | None:
        return self._report if now_s - self._reported_s <= REPORT_FRESH_S else None

    # -- the report -------------------------------------------------------------------------------------------------

    def reported(self, report: Mapping[str, JsonValue]) -> None:
        """The worker's report came; one that is none is left out."""
        try:
            self._report = StreamReport.model_validate(dict(report))
        except ValidationError as error:
            logger.warning("%s: a report was refused: %d mistakes", self.session, error.error_count())
            return
        self._reported_s = self._clock.monotonic()
        self._runs_at(self._report.frame_rate or self._frame_rate)
        self._miss_windows.counted(self._reported_s, frames=self._report.frames_out, misses=self._report.late_frames)
        self._judge_pace(self._report)

    def _judge_pace(self, report: StreamReport) -> None:
        late = comes_late(
            late_share=report.miss_share,
            output_fps=report.output_fps,
            frame_rate=self.frame_rate,
            source_moves=self.source_moves,
        )
        self._slowness.reported(self._reported_s, late=late, late_share=report.miss_share)

    def forget_report(self) -> None:
        """Nobody serves the session, or somebody else: old figures would lie."""
        self._report = None
        self._miss_windows.pause()
        self._slowness.restart()
        self._runs_at(self._frame_rate)

    def _runs_at(self, frame_rate: float) -> None:
        self._freezes.frame_rate = frame_rate
        self.levels.runs_at(frame_rate)

    def report(self, *, viewers: int, worker: str | None, epoch: int) -> StreamReport:
        """The worker's last report with this gateway's figures; without one, this gateway's alone."""
        report = self._report or StreamReport()
        gap_s = self._freezes.last_recovery_gap_s
        p50, p99 = self._latency_ms.quantile(0.5), self._latency_ms.quantile(0.99)
        return report.with_gateway(
            viewers=viewers,
            worker=worker,
            epoch=epoch,
            moves=self.moves,
            freezes=self._freezes.count,
            last_recovery_gap_ms=None if gap_s is None else round(gap_s * 1000, 1),
            recovery_legs_ms=_as_ms(self._recovery_legs),
            latency_ms=None if p50 is None or p99 is None else Percentiles(p50=round(p50, 1), p99=round(p99, 1)),
            first_frame_ms=report.first_frame_ms if self._first_frame_ms is None else self._first_frame_ms,
            first_frame_legs_ms=_as_ms(self._first_frame_legs),
            stages={**report.stages, **leg_ms(self._legs_us)},
            **self.levels.figures(),
        )


def _is_again(position: SourcePosition, stages: StageTimes, before: SourcePosition | None) -> bool:
    """The last picture once more, a microsecond later, for somebody who waits for an IDR: it has passed no stage.

    It comes while nothing new does, so it ends no gap: that of a worker that hangs would be cut into short ones.
    """
    if stages or before is None or position.run != before.run:
        return False
    return 0 <= position.capture_us - before.capture_us <= 1


def _as_ms(legs: Mapping[LegName, float]) -> dict[str, float] | None:
    return {leg.value: round(seconds * 1000, 1) for leg, seconds in legs.items()} or None


def _as_text(legs: Mapping[LegName, float]) -> str:
    return ", ".join(f"{leg} {seconds * 1000:.0f}" for leg, seconds in legs.items())


def posted_figures(
    report: StreamReport,
    *,
    publisher: bool,
    trouble: Trouble | None,
    late_share: float | None,
    miss_shares: MissShares | None,
) -> PostedFigures:
    """The short form of a report, which the gateway posts for the whole installation.

    `publisher`: the session is published through this gateway. `trouble`: why that makes no picture. `late_share` and
    `miss_shares` are those of `SessionStats`.
    """
    return PostedFigures(
        viewers=report.viewers or 0,
        publisher=publisher,
        steps=report.steps,
        frame_rate=report.frame_rate,
        output_fps=report.output_fps,
        miss_share=report.miss_share,
        late_share=late_share,
        miss_share_short=None if miss_shares is None else miss_shares.short,
        miss_share_long=None if miss_shares is None else miss_shares.long,
        first_frame_ms=report.first_frame_ms,
        latency_ms=None if report.latency_ms is None else report.latency_ms.p50,
        freezes=report.freezes or 0,
        last_recovery_gap_ms=report.last_recovery_gap_ms,
        trouble=trouble or "",
        snapshot_short=report.snapshot.short,
        continuous_play_ratio=report.continuous_play_ratio,
        time_to_first_chunk_ms=report.time_to_first_chunk_ms,
        real_time_factor=report.real_time_factor,
        picture_age_p50_ms=None if report.picture_age_ms is None else report.picture_age_ms.p50,
        picture_age_p95_ms=None if report.picture_age_ms is None else report.picture_age_ms.p95,
    )
