"""What is told of one session's memory: in its report and as a series, for as long as the engine has it."""

from typing import cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from genlock_core.approximation.levels import Level
from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.report import Percentiles, SnapshotReport, StreamReport
from genlock_core.slo.stages import StageTimes
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_worker.output.output import Output, SentFrame
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.engine_output import EngineOutput
from genlock_worker.session.figures import FrameCounts, SessionFigures

A, B = "studio/a", "studio/b"


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(CollectorRegistry())


def figures(session: str, metrics: WorkerMetrics) -> SessionFigures:
    return SessionFigures(session=session, clock=ManualClock(), metrics=metrics, counts=FrameCounts(), steps=2)


def report(of: SessionFigures) -> StreamReport:
    return of.report(
        prompt="",
        requested_steps=2,
        frame_rate=16.0,
        paused=False,
        strained=False,
        encoders="",
        snapshot=SnapshotReport(),
        trouble=None,
    )


def series(metrics: WorkerMetrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    found = [line for line in lines if line.startswith("genlock_session_memory_bytes{")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in found}


def test_each_session_says_what_it_has_set_aside(metrics: WorkerMetrics) -> None:
    a, b = figures(A, metrics), figures(B, metrics)
    a.memory(3_000_000_000)
    b.memory(1_000)
    assert series(metrics) == {A: 3_000_000_000, B: 1_000}
    assert (report(a).memory_bytes, report(b).memory_bytes) == (3_000_000_000, 1_000)


def test_the_newest_figure_counts(metrics: WorkerMetrics) -> None:
    of = figures(A, metrics)
    for size_bytes in (1_000, 2_000):
        of.memory(size_bytes)
    assert series(metrics) == {A: 2_000}
    assert report(of).memory_bytes == 2_000


def test_an_engine_that_does_not_count_leaves_no_figure(metrics: WorkerMetrics) -> None:
    of = figures(A, metrics)
    assert report(of).memory_bytes is None
    assert "memoryBytes" not in report(of).to_dict()
    of.memory(None)
    assert series(metrics) == {}
    of.memory(1_000)
    of.memory(None)
    assert series(metrics) == {}
    assert report(of).memory_bytes is None


def test_the_series_goes_with_its_session_and_a_late_word_of_the_engine_does_not_bring_it_back(
    metrics: WorkerMetrics,
) -> None:
    of, other = figures(A, metrics), figures(B, metrics)
    listener = EngineOutput(
        resolve(SessionKey.parse(A), StreamSessionSpec()),
        figures=of,
        output=cast("Output", None),
        control=cast("ControlFollower", None),
        on_paced=lambda _every: None,
        on_given_up=lambda _reason: None,
    )
    listener.memory(1_000)
    other.memory(2_000)
    assert series(metrics) == {A: 1_000, B: 2_000}
    listener.close()
    metrics.drop_session(A)
    listener.memory(3_000)
    assert series(metrics) == {B: 2_000}


def sent(
    at_s: float,
    *,
    size: int = 1_000,
    late: bool = False,
    complete_s: float | None = None,
    level: Level = Level(2),  # noqa: B008 - it is frozen
) -> SentFrame:
    return SentFrame(sent_s=at_s, late=late, stages=StageTimes.of({}), bytes=size, complete_s=complete_s, level=level)


def test_the_bit_rate_is_that_of_the_window(metrics: WorkerMetrics) -> None:
    clock = ManualClock()
    of = SessionFigures(session=A, clock=clock, metrics=metrics, counts=FrameCounts(), steps=2)
    start_s = clock.monotonic()
    for second in range(1, 11):
        of.sent(sent(start_s + second, size=12_500))
    clock.advance(10.0)
    assert report(of).encoder.kbps == 100.0


def test_latencies_are_told_in_milliseconds_with_their_median_and_their_worst(metrics: WorkerMetrics) -> None:
    of = figures(A, metrics)
    for seconds in (*[0.0123456] * 9, 0.0456789):
        of.micro_step(seconds=seconds, rows=1, steps=2)
    assert report(of).engine_ms == Percentiles(p50=12.35, p99=45.68)


def test_a_rate_is_told_to_two_places(metrics: WorkerMetrics) -> None:
    clock = ManualClock()
    of = SessionFigures(session=A, clock=clock, metrics=metrics, counts=FrameCounts(), steps=2)
    for _ in range(4):
        clock.advance(0.15)
        of.taken_in(clock.monotonic())
        of.sent(sent(clock.monotonic()))
    told = report(of)
    assert (told.input_fps, told.output_fps) == (6.67, 6.67)


def test_the_series_of_a_session_have_its_name(metrics: WorkerMetrics) -> None:
    of = figures(A, metrics)
    of.sent(sent(0.0, late=True))
    report(of)

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"session": A})

    assert value("genlock_worker_steps") == 2
    assert value("genlock_deadline_misses_total") == 1


def test_a_strained_engine_is_told_of(metrics: WorkerMetrics) -> None:
    of = figures(A, metrics)
    for strained in (True, False):
        told = of.report(
            prompt="",
            requested_steps=2,
            frame_rate=16.0,
            paused=False,
            strained=strained,
            encoders="",
            snapshot=SnapshotReport(),
            trouble=None,
        )
        assert told.strained is strained
        assert StreamReport.parse(told.to_json()).strained is strained
        assert f"genlock_engine_strained {float(strained)}" in generate_latest(metrics.registry).decode()


def changes(metrics: WorkerMetrics) -> list[float | None]:
    name = "genlock_worker_level_change_seconds"
    return [metrics.registry.get_sample_value(f"{name}_{part}") for part in ("count", "sum")]


def test_a_change_of_level_lasts_until_the_first_frame_at_the_new_one(metrics: WorkerMetrics) -> None:
    clock = ManualClock()
    of = SessionFigures(session=A, clock=clock, metrics=metrics, counts=FrameCounts(), steps=4)
    heard_s = clock.monotonic()
    of.taken_in(heard_s)
    of.level_changes(Level(1, every=2), since_s=heard_s)
    for level in (Level(4), Level(1), Level(1, every=2), Level(1, every=2)):
        clock.advance(0.2)
        of.sent(sent(clock.monotonic(), level=level))
    assert changes(metrics) == pytest.approx([1, 0.6])


def test_a_level_that_never_ran_is_not_waited_for_once_another_one_is_granted(metrics: WorkerMetrics) -> None:
    clock = ManualClock()
    of = SessionFigures(session=A, clock=clock, metrics=metrics, counts=FrameCounts(), steps=4)
    of.taken_in(clock.monotonic())
    of.level_changes(Level(1), since_s=clock.monotonic())
    clock.advance(0.5)
    of.level_changes(Level(3), since_s=clock.monotonic())
    clock.advance(0.25)
    of.sent(sent(clock.monotonic(), level=Level(3)))
    of.sent(sent(clock.monotonic(), level=Level(1)))
    assert changes(metrics) == pytest.approx([1, 0.25])


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_source_at_rest_shows_a_change_whenever_it_goes_on_which_says_nothing(
    metrics: WorkerMetrics, *, has_begun: bool
) -> None:
    clock = ManualClock()
    of = SessionFigures(session=A, clock=clock, metrics=metrics, counts=FrameCounts(), steps=4)
    if has_begun:
        of.taken_in(clock.monotonic())
        clock.advance(60.0)
    of.level_changes(Level(1), since_s=clock.monotonic())
    clock.advance(60.0)
    of.sent(sent(clock.monotonic(), level=Level(1)))
    assert changes(metrics) == [0, 0]


def test_the_real_time_factor_is_told_and_counted(metrics: WorkerMetrics) -> None:
    of = figures(A, metrics)
    assert report(of).real_time_factor is None
    for seconds in (0.05, 0.07):
        of.micro_step(seconds=seconds, rows=1, steps=2)
    of.generated(0, video_s=0.25, sink_digests=())
    assert report(of).real_time_factor == 0.48
    registry = metrics.registry
    assert registry.get_sample_value("genlock_engine_seconds_total", {"session": A}) == pytest.approx(0.12)
    assert registry.get_sample_value("genlock_video_seconds_total", {"session": A}) == 0.25


def test_a_session_without_a_late_frame_has_a_count_of_them(metrics: WorkerMetrics) -> None:
    """Of a series that is not there Prometheus computes no share, not one of 0."""
    of = figures(A, metrics)
    of.sent(sent(1.0))
    assert metrics.registry.get_sample_value("genlock_deadline_misses_total", {"session": A}) == 0
    of.sent(sent(2.0, late=True))
    assert metrics.registry.get_sample_value("genlock_deadline_misses_total", {"session": A}) == 1
