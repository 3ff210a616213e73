"""Continuous-play ratio, real-time factor and age of the picture: what counts, and what is left out on purpose."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.slo.continuity import (
    OPEN_AFTER_S,
    PictureAge,
    PlayMeter,
    RealTimeFactor,
    continuous_play_ratio,
    real_time_factor,
    stalled_s,
)

FPS = 16
PERIOD_S = 1 / FPS


def played(gaps_s: list[float], *, frame_rate: float = FPS) -> PlayMeter:
    meter = PlayMeter(frame_rate)
    for at_s in accumulate(gaps_s, initial=100.0):
        meter.frame(at_s)
    return meter


def test_the_ratio_is_one_minus_the_share_of_stalls() -> None:
    assert continuous_play_ratio(played_s=10.0, stalled_s=1.0) == pytest.approx(0.9)
    assert continuous_play_ratio(played_s=0.0, stalled_s=0.0) is None


def test_pictures_at_their_pace_play_without_a_break_though_they_jitter() -> None:
    assert played([PERIOD_S * 1.4, PERIOD_S * 0.6] * 40).ratio == 1.0


def test_a_picture_that_is_missing_is_a_stall_of_a_period() -> None:
    meter = played([PERIOD_S] * 9 + [2 * PERIOD_S])
    assert [meter.played_s, meter.stalled_s] == pytest.approx([11 * PERIOD_S, PERIOD_S])
    assert meter.ratio == pytest.approx(10 / 11)


def test_a_frame_that_is_left_out_on_purpose_is_no_stall() -> None:
    assert played([2 * PERIOD_S] * 20, frame_rate=FPS / 2).ratio == 1.0
    # At its whole rate the same pictures would stall for half of the time.
    assert played([2 * PERIOD_S] * 20).ratio == pytest.approx(0.5)


def test_a_gap_that_began_at_the_slower_pace_is_judged_by_it() -> None:
    meter = PlayMeter(FPS / 2)
    meter.frame(0.0)
    meter.frame_rate = FPS
    meter.frame(2 * PERIOD_S)
    assert meter.stalled_s == 0.0
    meter.frame(4 * PERIOD_S)
    assert meter.stalled_s == pytest.approx(PERIOD_S)


def test_a_rest_is_not_played() -> None:
    meter = played([PERIOD_S] * 16)
    meter.rest()
    meter.look(500.0)
    meter.frame(500.0)
    meter.frame(500.0 + PERIOD_S)
    assert meter.played_s == pytest.approx(17 * PERIOD_S)
    assert meter.ratio == 1.0


def test_a_stall_that_lasts_is_counted_while_it_lasts_and_once() -> None:
    meter = played([PERIOD_S])
    began_s = 100.0 + PERIOD_S
    meter.look(began_s + OPEN_AFTER_S / 2)
    assert meter.stalled_s == 0.0
    for elapsed_s in (2.0, 3.0, 5.0):
        meter.look(began_s + elapsed_s)
        assert meter.stalled_s == pytest.approx(elapsed_s - PERIOD_S)
    meter.frame(began_s + 5.0)
    assert meter.stalled_s == pytest.approx(5.0 - PERIOD_S)
    assert meter.played_s == pytest.approx(5.0 + PERIOD_S)


gaps = st.lists(st.floats(0, 30), max_size=40)


@given(gaps, gaps, st.floats(1, 60))
def test_looking_changes_nothing_that_is_counted(gaps_s: list[float], looks_s: list[float], frame_rate: float) -> None:
    plain = played(gaps_s, frame_rate=frame_rate)
    watched = PlayMeter(frame_rate)
    now_s = 100.0
    watched.frame(now_s)
    for gap_s, look_s in zip(gaps_s, (looks_s + [0.0] * len(gaps_s))[: len(gaps_s)], strict=True):
        watched.look(now_s + min(look_s, gap_s))
        now_s += gap_s
        watched.frame(now_s)
    assert watched.played_s == pytest.approx(plain.played_s)
    assert watched.stalled_s == pytest.approx(plain.stalled_s)
    assert 0 <= watched.stalled_s <= watched.played_s


@given(st.floats(0, 100), st.floats(0.1, 240))
def test_no_more_is_stalled_than_lies_beyond_the_pace(gap_s: float, frame_rate: float) -> None:
    assert 0 <= stalled_s(gap_s, frame_rate) <= max(0.0, gap_s - 1 / frame_rate)


# -- age of the picture ------------------------------------------------------------------------------------------------


def test_a_steady_stream_gives_one_sample_a_period_of_its_latency_and_a_part_of_the_period() -> None:
    age = PictureAge(FPS)
    samples = [each for number in range(160) for each in age.shown(7.0 + number * PERIOD_S + 0.01, age_s=0.4)]
    assert len(samples) == 159
    assert all(0.4 <= each <= 0.4 + PERIOD_S for each in samples)


def test_a_picture_that_stands_grows_older() -> None:
    age = PictureAge(FPS)
    age.shown(10.0, age_s=0.4)
    samples = age.look(12.0)
    assert len(samples) == 2 * FPS
    assert samples[-1] == pytest.approx(2.4)
    assert age.look(12.0) == []
    assert age.ages_s.quantile(0.5) == pytest.approx(1.4, abs=PERIOD_S)


def test_every_second_frame_left_out_makes_pictures_older() -> None:
    """It is no freeze and no stall, but what viewers see is older: that is told as it is."""

    def median(spans: int) -> float:
        age = PictureAge(FPS)
        for number in range(0, 320, spans):
            age.shown(number * PERIOD_S, age_s=0.4)
        found = age.ages_s.quantile(0.95)
        assert found is not None
        return found

    assert median(2) - median(1) == pytest.approx(PERIOD_S, abs=PERIOD_S / 4)


def test_nobody_knows_the_age_of_what_was_captured_elsewhere() -> None:
    age = PictureAge(FPS)
    age.shown(10.0, age_s=None)
    assert age.look(20.0) == []
    age.shown(20.0, age_s=0.4)
    age.rest()
    assert age.look(30.0) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5) | st.none()), max_size=30))
def test_ages_are_never_negative_and_few_at_once(steps: list[tuple[float, float | None]]) -> None:
    age = PictureAge(FPS)
    now_s = 0.0
    for elapsed_s, age_s in steps:
        now_s += elapsed_s
        samples = age.shown(now_s, age_s=age_s)
        assert all(each >= 0 for each in samples)
        assert len(samples) <= min(256, elapsed_s * FPS + 1)


# -- real-time factor --------------------------------------------------------------------------------------------------


def test_the_real_time_factor_is_the_engines_time_over_the_video() -> None:
    assert real_time_factor(engine_s=0.5, video_s=1.0) == 0.5
    assert real_time_factor(engine_s=0.5, video_s=0.0) is None

    factor = RealTimeFactor()
    factor.micro_step(0.1)
    assert factor.value is None
    factor.micro_step(0.1)
    factor.chunk(0.25)
    assert factor.value == pytest.approx(0.8)


def test_the_real_time_factor_is_that_of_the_last_chunks() -> None:
    factor = RealTimeFactor()
    for seconds in [1.0] * 50 + [0.1] * RealTimeFactor.CHUNKS:
        factor.micro_step(seconds)
        factor.chunk(0.25)
    assert factor.value == pytest.approx(0.4)
