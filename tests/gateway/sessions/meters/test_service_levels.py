"""How a session plays, in metrics and in its report, with a clock that stands still until it is told."""

import pytest

from genlock_core.claims.facts import MoveCause
from genlock_core.media import SourcePosition
from genlock_core.slo.stages import StageTimes
from genlock_gateway.sessions.meters.first_frame import Setup
from tests.gateway.sessions.test_stats import FRAME_S, Stream

SERIES = {"session": "default/demo", "pool": "default/h100"}


@pytest.fixture
def stream() -> Stream:
    stream = Stream()
    stream.stats.levels.served_by("default/h100")
    return stream


def counted(stream: Stream) -> list[float]:
    """Seconds played, and seconds stalled."""
    played, stalled = (stream.metric(f"genlock_{name}_seconds_total", **SERIES) for name in ("play", "stall"))
    assert played is not None
    assert stalled is not None
    return [played, stalled]


def test_a_stream_that_plays_is_counted_by_session_and_pool(stream: Stream) -> None:
    stream.show(17)
    assert counted(stream) == pytest.approx([1.0, 0.0])
    assert stream.stats.report(viewers=1, worker="w0", epoch=7).continuous_play_ratio == 1.0


def test_series_begin_at_nothing_before_anything_is_counted(stream: Stream) -> None:
    assert counted(stream) == [0.0, 0.0]
    assert stream.metric("genlock_time_to_first_chunk_seconds_count", pool="default/h100") == 0
    assert stream.metric("genlock_picture_age_seconds_count", pool="default/h100") == 0


def test_the_time_of_a_recovery_is_a_stall(stream: Stream) -> None:
    stream.show(17)
    stream.clock.advance(1.0 - FRAME_S)
    stream.stats.fault(MoveCause.SILENT)
    stream.show()
    assert counted(stream) == pytest.approx([2.0, 1.0 - FRAME_S])
    report = stream.stats.report(viewers=1, worker="w1", epoch=8)
    assert report.continuous_play_ratio == pytest.approx((1.0 + FRAME_S) / 2.0, abs=1e-4)


def test_a_freeze_shows_while_it_lasts(stream: Stream) -> None:
    stream.show(17)
    for _ in range(6):
        stream.clock.advance(0.5)
        stream.stats.levels.look(stream.clock.monotonic())
    assert counted(stream) == pytest.approx([4.0, 3.0 - FRAME_S])
    age_s = stream.metric("genlock_session_picture_age_seconds", session="default/demo", quantile="0.95")
    assert age_s is not None
    assert age_s > 3.0


def test_every_second_frame_left_out_on_purpose_is_neither_freeze_nor_stall(stream: Stream) -> None:
    stream.stats.reported({"frameRate": 8.0, "outputFps": 8.0})
    for _ in range(20):
        stream.clock.advance(FRAME_S)
        stream.show()
    report = stream.stats.report(viewers=1, worker="w0", epoch=7)
    assert (report.continuous_play_ratio, report.freezes) == (1.0, 0)


def test_pauses_and_a_publisher_that_has_gone_are_not_played(stream: Stream) -> None:
    stream.show(17)
    stream.stats.rest()
    stream.clock.advance(60)
    stream.stats.levels.look(stream.clock.monotonic())
    stream.show(17)
    assert counted(stream) == pytest.approx([2.0, 0.0])


def test_the_last_picture_once_more_hides_no_stall(stream: Stream) -> None:
    """A viewer that comes while a worker hangs asks for an IDR, and gets the picture that stands."""
    stream.show(17)
    shown = stream.stats.now_us() - 400_000
    for _ in range(8):
        stream.clock.advance(0.25 - FRAME_S)
        place = SourcePosition(1, shown + 1)
        stream.stats.shown(place, StageTimes(), arrived_us=stream.stats.now_us(), own_run=1)
        stream.clock.advance(FRAME_S)
        shown += 1
    stream.show()
    report = stream.stats.report(viewers=2, worker="w0", epoch=7)
    assert counted(stream) == pytest.approx([3.0 + FRAME_S, 2.0])
    assert report.freezes == 1


def test_the_age_of_the_picture_is_told_where_it_was_captured_here(stream: Stream) -> None:
    stream.show(17, latency_s=0.4)
    ages = stream.stats.report(viewers=1, worker="w0", epoch=7).picture_age_ms
    assert ages is not None
    assert 400 <= ages.p50 <= ages.p95 <= 400 + FRAME_S * 1000
    assert stream.metric("genlock_picture_age_seconds_count", pool="default/h100") == pytest.approx(16, abs=1)

    elsewhere = Stream()
    elsewhere.show(17, own_run=None)
    assert elsewhere.stats.report(viewers=1, worker="w0", epoch=7).picture_age_ms is None


def test_the_time_to_the_first_chunk_begins_with_the_offer(stream: Stream) -> None:
    setup = Setup(answer_s=0.02, connect_s=0.05, connected_s=stream.clock.monotonic())
    stream.stats.published(1, setup)
    stream.clock.advance(0.1)
    stream.stats.source_frame(1, watched=True)
    stream.clock.advance(0.4)
    stream.show(3)
    report = stream.stats.report(viewers=1, worker="w0", epoch=7)
    assert report.time_to_first_chunk_ms == pytest.approx((0.02 + 0.05 + 0.1 + 0.4 + FRAME_S) * 1000, abs=0.1)
    assert report.first_frame_ms == pytest.approx((0.4 + FRAME_S) * 1000, abs=0.1)
    assert stream.metric("genlock_time_to_first_chunk_seconds_count", pool="default/h100") == 1


def test_the_series_go_with_their_session(stream: Stream) -> None:
    stream.show(17)
    stream.stats.levels.look(stream.clock.monotonic())
    stream.metrics.drop_session("default/demo")
    assert stream.metric("genlock_play_seconds_total", **SERIES) is None
    assert stream.metric("genlock_session_picture_age_seconds", session="default/demo", quantile="0.5") is None
