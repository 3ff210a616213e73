"""What a gateway measures of a stream, with a clock that stands still until it is told."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.claims.facts import MoveCause
from genlock_core.clock import ManualClock
from genlock_core.link.events import MediaReceived
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.metrics import GatewayMetrics
from genlock_core.slo.stages import Stage, StageTimes
from genlock_gateway.rtc.egress.fanout import FanoutFigures
from genlock_gateway.rtc.ingest.receive import IngestFigures
from genlock_gateway.sessions.audience import Audience
from genlock_gateway.sessions.meters.first_frame import Setup
from genlock_gateway.sessions.meters.recovery import RecoveryLeg
from genlock_gateway.sessions.output_gate import OutputOwner, SessionOutput
from genlock_gateway.sessions.overlap import FrameVerdict
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.mover import Epochs

FRAME_S = 1 / 16


class Stream:
    """A stream of 16 fps whose frames take `latency_s`."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = GatewayMetrics(CollectorRegistry())
        self.stats = SessionStats("default/demo", frame_rate=16, clock=self.clock, metrics=self.metrics)

    def show(self, count: int = 1, *, run: int = 1, own_run: int | None = 1, latency_s: float = 0.4) -> None:
        for _ in range(count):
            self.clock.advance(FRAME_S)
            now_us = self.stats.now_us()
            stages = StageTimes.of(
                {
                    Stage.CAPTURED: 0,
                    Stage.FORWARDED: 2_000,
                    Stage.RECEIVED: 0,
                    Stage.DECODED: 3_000,
                    Stage.SENT: 300_000,
                }
            )
            position = SourcePosition(run, now_us - round(latency_s * 1e6))
            self.stats.shown(position, stages, arrived_us=now_us - 500, own_run=own_run)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def test_the_time_to_the_first_frame_runs_from_the_first_source_frame() -> None:
    stream = Stream()
    stream.stats.published(1, Setup())
    stream.stats.source_frame(1, watched=True)
    stream.clock.advance(0.4)
    stream.stats.source_frame(1, watched=True)
    stream.show(3)
    assert stream.metric("genlock_time_to_first_frame_seconds_count") == 1
    report = stream.stats.report(viewers=1, worker="w0", epoch=7)
    assert report.first_frame_ms == round((0.4 + FRAME_S) * 1000, 1)


def test_the_time_to_the_first_frame_is_told_by_its_legs() -> None:
    stream = Stream()
    setup = Setup(answer_s=0.02, connect_s=0.05, connected_s=stream.clock.monotonic())
    stream.clock.advance(0.01)
    stream.stats.published(1, setup)
    stream.clock.advance(0.09)
    stream.stats.source_frame(1, watched=True)
    stream.clock.advance(0.025)
    stream.stats.opened()
    stream.clock.advance(0.5 - 0.025 - FRAME_S)
    stream.show()

    # The frames of this stream tell nothing of the worker's own legs, so all else is the chunk's.
    legs = {"answer": 20.0, "connect": 50.0, "slot": 10.0, "camera": 90.0, "open": 25.0, "chunk": 475.0}
    own = {"queue": 0.0, "engine": 0.0, "pace": 0.0, "encode": 0.0}
    report = stream.stats.report(viewers=1, worker="w0", epoch=7)
    assert report.first_frame_legs_ms == legs | own
    assert report.first_frame_ms == legs["open"] + legs["chunk"] + sum(own.values())
    for name, milliseconds in legs.items():
        assert stream.metric("genlock_first_frame_leg_seconds_sum", leg=name) == pytest.approx(milliseconds / 1_000)

    stream.show(3)
    assert stream.metric("genlock_first_frame_leg_seconds_count", leg="chunk") == 1


def test_nobody_waited_nothing_is_measured() -> None:
    stream = Stream()
    stream.stats.published(1, Setup())
    stream.stats.source_frame(1, watched=False)
    stream.clock.advance(5)
    stream.show()
    assert stream.metric("genlock_time_to_first_frame_seconds_count") == 0


def test_a_fault_makes_its_gap_a_recovery_gap() -> None:
    stream = Stream()
    stream.show(10)
    stream.clock.advance(0.5)
    stream.stats.fault(MoveCause.REFUSED)
    stream.clock.advance(0.3)
    stream.show()
    report = stream.stats.report(viewers=1, worker="w1", epoch=8)
    assert report.last_recovery_gap_ms == 800.0
    assert report.freezes == 1
    assert stream.metric("genlock_recovery_gap_seconds_sum", cause="refused") == pytest.approx(0.8)
    assert stream.metric("genlock_freeze_seconds_total", session="default/demo") == pytest.approx(0.8)


def test_a_recovery_is_told_by_its_legs() -> None:
    stream = Stream()
    stream.show(3)
    stream.clock.advance(0.25)
    stream.stats.fault(MoveCause.SILENT)
    for leg, after_s in ((RecoveryLeg.CLAIM, 0.125), (RecoveryLeg.OPEN, 0.5), (RecoveryLeg.PICTURE, 0.25)):
        stream.clock.advance(after_s)
        stream.stats.recovers(leg, epoch=8, restore_s=0.375)
    stream.show()
    legs = {"detect": 250.0, "claim": 125.0, "open": 125.0, "restore": 375.0, "picture": 250.0, "idr": 62.5}
    assert stream.stats.report(viewers=1, worker="w1", epoch=8).recovery_legs_ms == legs
    for name, milliseconds in legs.items():
        sample = stream.metric("genlock_recovery_leg_seconds_sum", leg=name, cause="silent")
        assert sample == pytest.approx(milliseconds / 1_000)

    stream.stats.recovers(RecoveryLeg.OPEN, epoch=9)
    stream.show(3)
    assert stream.stats.report(viewers=1, worker="w1", epoch=8).recovery_legs_ms == legs, "nothing was lost since"


def test_a_fault_that_nobody_saw_is_a_gap_of_nothing() -> None:
    stream = Stream()
    stream.show(10)
    stream.stats.fault(MoveCause.REFUSED)
    stream.show()
    assert stream.stats.report(viewers=1, worker="w1", epoch=8).last_recovery_gap_ms == 0.0
    assert stream.metric("genlock_freezes_total", session="default/demo") is None


def test_a_pause_on_purpose_is_no_freeze() -> None:
    stream = Stream()
    stream.show(10)
    stream.stats.rest()
    stream.clock.advance(30)
    stream.show(2)
    assert stream.stats.report(viewers=1, worker="w0", epoch=7).freezes == 0


def test_a_source_that_stands_still_is_no_freeze_and_its_last_picture_has_no_latency() -> None:
    stream = Stream()
    stream.show(10)
    position = SourcePosition(1, stream.stats.now_us() - 400_000)
    repeated = StageTimes.of({Stage.CHUNKED: 0, Stage.SENT: 1_000})
    for stages, at_rest in ((repeated, False), (StageTimes(), True)):
        stream.clock.advance(FRAME_S)
        stream.stats.shown(position, stages, arrived_us=stream.stats.now_us(), own_run=1, at_rest=at_rest)
    stream.clock.advance(30)
    stream.show(2)
    report = stream.stats.report(viewers=1, worker="w0", epoch=7)
    assert report.freezes == 0
    assert report.latency_ms is not None
    assert report.latency_ms.p99 == 400.0


def test_the_last_picture_once_more_for_a_new_viewer_hides_no_freeze() -> None:
    stream = Stream()
    stream.show(10)
    position = SourcePosition(1, stream.stats.now_us())
    stream.stats.shown(position, StageTimes(), arrived_us=stream.stats.now_us(), own_run=1)
    stream.clock.advance(30)
    stream.show(2)
    assert stream.stats.report(viewers=1, worker="w0", epoch=7).freezes == 1


def test_latency_is_measured_only_on_ones_own_clock() -> None:
    stream = Stream()
    stream.show(5, own_run=None, latency_s=-1_000.0)
    assert stream.stats.report(viewers=1, worker="w0", epoch=7).latency_ms is None
    stream.show(5)
    latency = stream.stats.report(viewers=1, worker="w0", epoch=7).latency_ms
    assert latency is not None
    assert latency.p50 == 400.0


def test_the_budget_names_what_no_machine_sees_alone() -> None:
    stream = Stream()
    stream.show(5)
    legs = stream.stats.report(viewers=1, worker="w0", epoch=7).stages
    assert (legs["ingest"], legs["decode"], legs["fanOut"]) == (2.0, 3.0, 0.5)
    assert legs["network"] == 400.0 - 5.5


def test_figures_of_the_worker_before_do_not_stand_under_the_next_ones_name() -> None:
    stream = Stream().stats
    stream.reported({"chunk": 40, "sinkDigest": "abc", "restored": True})
    stream.moved()
    told = stream.report(viewers=1, worker="w1", epoch=2)
    assert (told.chunk, told.sink_digest, told.restored) == (-1, "", False)

    stream.reported({"chunk": 41, "sinkDigest": "abc", "restored": True})
    assert stream.report(viewers=1, worker="w1", epoch=2).restored


def test_a_report_that_is_none_is_left_out_and_the_last_one_stands() -> None:
    stream = Stream()
    stream.stats.reported({"chunk": 4, "sinkDigest": "abc", "newerThanUs": [1]})
    stream.stats.reported({"chunk": "many"})
    report = stream.stats.report(viewers=2, worker="w0", epoch=7)
    assert (report.chunk, report.sink_digest, report.viewers) == (4, "abc", 2)
    stream.stats.forget_report()
    assert stream.stats.report(viewers=0, worker=None, epoch=7).chunk == -1


def test_what_rtp_lost_is_counted_once_also_of_the_next_publisher() -> None:
    stream = Stream()
    first, fan_outs = IngestFigures(lost_frames=2), [FanoutFigures(dropped=1), FanoutFigures(dropped=3)]

    def counted() -> tuple[float | None, ...]:
        return tuple(
            stream.metric("genlock_gateway_frames_dropped_total", reason=reason) for reason in ("incomplete", "fan-out")
        )

    stream.stats.lost(first, fan_outs)
    stream.stats.lost(first, fan_outs)
    assert counted() == (2, 4)
    first.lost_frames = 5
    fan_outs[1].dropped = 4
    stream.stats.lost(first, fan_outs)
    assert counted() == (5, 5)
    stream.stats.lost(None, fan_outs)
    stream.stats.lost(IngestFigures(lost_frames=1), fan_outs)
    assert counted() == (6, 5)


def test_a_handover_whose_frames_go_on_is_no_freeze_and_one_that_leaves_a_hole_is() -> None:
    """What a polite move does to the output and to the figures, frame by frame, on a clock that the test moves."""

    async def freezes(*, silent_frames: int) -> int:
        stream = Stream()
        output = SessionOutput(
            Codec.H264,
            audience=Audience(),
            stats=stream.stats,
            clock=stream.clock,
            owner=cast(OutputOwner, SimpleNamespace(ask_key_frame=lambda _, after: None)),
        )

        def frame(epoch: int, epochs: Epochs, *, later_s: float = FRAME_S) -> None:
            stream.clock.advance(later_s)
            unit = AccessUnit(Codec.H264, b"x", key_frame=True, capture_us=stream.stats.now_us())
            media = MediaReceived(1, "default/demo", epoch, unit, run=1, sequence=0)
            if output.show(media, channel_epoch=epoch, epochs=epochs) is FrameVerdict.SHOW:
                position = SourcePosition(1, unit.capture_us)
                stream.stats.shown(position, media.stages, arrived_us=stream.stats.now_us(), own_run=1)

        for _ in range(20):
            frame(7, Epochs(7))
        for _ in range(10):
            frame(7, Epochs(8, leaving=7))
        for _ in range(silent_frames):
            frame(7, Epochs(8))
        for _ in range(20):
            if silent_frames == 0:
                frame(7, Epochs(8, leaving=7))
            frame(8, Epochs(8, leaving=None if silent_frames else 7), later_s=FRAME_S if silent_frames else 0.0)
        assert output.shown_epoch == 8
        return stream.stats.report(viewers=1, worker="w1", epoch=8).freezes or 0

    assert asyncio.run(freezes(silent_frames=0)) == 0
    assert asyncio.run(freezes(silent_frames=3)) == 0, "a freeze begins three frame periods beyond the pace"
    assert asyncio.run(freezes(silent_frames=4)) == 1


def test_a_report_tells_the_epoch_and_median_and_worst_latency() -> None:
    stream = Stream()
    stream.show(9, latency_s=0.4)
    stream.show(latency_s=0.7654)

    told = stream.stats.report(viewers=0, worker="w0", epoch=5)

    assert (told.epoch, told.worker) == (5, "w0")
    assert told.latency_ms is not None
    assert (told.latency_ms.p50, told.latency_ms.p99) == (400.0, 765.4)


def test_each_move_of_a_session_is_counted_by_its_cause_whether_viewers_saw_it_or_not() -> None:
    stream = Stream()

    def moves(cause: str) -> float | None:
        return stream.metric("genlock_session_moves_total", session="default/demo", cause=cause)

    for _ in range(2):
        stream.stats.leaves(MoveCause.SILENT)
        stream.stats.moved()
    stream.stats.moved()
    assert (moves("silent"), moves("unknown")) == (2, 1)
    assert stream.stats.report(viewers=1, worker="w0", epoch=9).moves == 3


def halved(stream: Stream, frame_rate: float = 8.0) -> None:
    """The worker says that it uses every second frame of the source."""
    stream.stats.reported({"frameRate": frame_rate, "outputFps": frame_rate, "missShare": 0.001})


def test_frames_that_are_left_out_on_purpose_are_no_freeze() -> None:
    for told in (True, False):
        stream = Stream()
        stream.show(10)
        if told:
            halved(stream)
        # A chunk takes twice as long: the first of them comes five periods after the last one before.
        stream.clock.advance(4 * FRAME_S)
        for _ in range(20):
            stream.show()
            stream.clock.advance(FRAME_S)
        freezes = stream.stats.report(viewers=1, worker="w0", epoch=7).freezes
        assert freezes == (0 if told else 1), "what the release before says nothing of counts as it did"


def test_a_halved_stream_that_stands_still_freezes_and_its_next_worker_begins_with_all_frames() -> None:
    stream = Stream()
    stream.show()
    halved(stream)
    stream.clock.advance(7 * FRAME_S)
    stream.show()
    assert stream.stats.report(viewers=1, worker="w0", epoch=7).freezes == 0
    stream.clock.advance(8 * FRAME_S)
    stream.show()
    assert stream.stats.report(viewers=1, worker="w0", epoch=7).freezes == 1
    stream.stats.moved()
    assert stream.stats.frame_rate == 16
    halved(stream)
    stream.stats.forget_report()
    assert stream.stats.frame_rate == 16


def test_a_halved_stream_that_keeps_its_pace_is_not_too_slow() -> None:
    for frame_rate in (8.0, 16.0):
        stream = Stream()
        for _ in range(10):
            stream.stats.source_frame(1, watched=True)
            stream.show()
            stream.clock.advance(1.0 - FRAME_S)
            stream.stats.reported({"frameRate": frame_rate, "outputFps": 8.0, "missShare": 0.001})
        assert (stream.stats.late_share is None) == (frame_rate == 8.0)


def test_late_frames_are_told_over_two_windows_while_a_worker_reports() -> None:
    stream = Stream()
    for second in range(1, 62):
        stream.clock.advance(1)
        late = 8 * max(0, second - 31)
        stream.stats.reported({"framesOut": 16 * second, "lateFrames": late, "outputFps": 16.0})
    shares = stream.stats.miss_shares
    assert shares is not None
    assert shares.short == pytest.approx(0.5, abs=0.05)
    assert shares.long == pytest.approx(0.25, abs=0.01)

    # The next worker counts anew, and what was seen stands.
    stream.stats.moved()
    between = stream.stats.miss_shares
    stream.clock.advance(1)
    stream.stats.reported({"framesOut": 100_000, "lateFrames": 100_000, "outputFps": 16.0})
    again = stream.stats.miss_shares
    assert between is None
    assert again is not None
    assert again.long == pytest.approx(shares.long, abs=0.01)
