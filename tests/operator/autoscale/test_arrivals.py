"""How fast sessions come and go, over counters that grow, begin anew, and may be nonsense."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_operator.autoscale.arrivals import LONG_S, SHORT_S, Counts, FlowMeter

EVERY_S = 5.0


def meter_over(*arrivals: int, departures: int = 0) -> tuple[FlowMeter, float]:
    """A meter that has read these totals of one worker, one every 5 s; and the time of the last."""
    meter = FlowMeter()
    for number, total in enumerate(arrivals):
        meter.note({"w1": Counts(total, departures)}, number * EVERY_S)
    return meter, (len(arrivals) - 1) * EVERY_S


def test_what_was_counted_before_the_first_reading_is_not_of_now() -> None:
    meter, now_s = meter_over(1_000, 1_000, 1_002)
    assert meter.flow(now_s).long.arrivals == 2


def test_a_counter_that_went_back_began_anew() -> None:
    meter, now_s = meter_over(1_000, 1_003, 2)
    assert meter.flow(now_s).short.arrivals == 3 + 2


def test_a_worker_that_comes_later_has_counted_since_then() -> None:
    meter, now_s = meter_over(5, 5)
    meter.note({"w1": Counts(5, 0), "w2": Counts(4, 1)}, now_s)
    assert meter.flow(now_s).short.arrivals == 4


def test_a_worker_that_is_missing_for_a_moment_does_not_count_twice() -> None:
    meter, now_s = meter_over(5, 9)
    meter.note({}, now_s + 5)
    meter.note({"w1": Counts(9, 0)}, now_s + 10)
    assert meter.flow(now_s + 10).short.arrivals == 4


def test_a_minute_is_forgotten_after_a_minute_and_a_quarter_of_an_hour_later() -> None:
    meter, now_s = meter_over(0, 6)
    while now_s < LONG_S:
        now_s += EVERY_S
        meter.note({"w1": Counts(6, 0)}, now_s)
    flow = meter.flow(now_s)
    assert (flow.short.arrivals, flow.long.arrivals) == (0, 6)
    meter.note({"w1": Counts(6, 0)}, now_s + EVERY_S)
    assert meter.flow(now_s + EVERY_S).long.arrivals == 0


@pytest.mark.parametrize("step_s", [-1.0, SHORT_S + 1])
def test_after_a_gap_or_a_clock_that_jumped_it_begins_anew(step_s: float) -> None:
    meter, now_s = meter_over(*range(0, 100, 5))
    meter.note({"w1": Counts(500, 0)}, now_s + step_s)
    flow = meter.flow(now_s + step_s)
    assert (flow.long.arrivals, flow.covered_s, flow.is_known) == (0, 0.0, False)


def test_less_than_a_minute_says_nothing_yet() -> None:
    meter, now_s = meter_over(*[0] * 12)
    assert not meter.flow(now_s).is_known
    meter.note({}, now_s + 5)
    assert meter.flow(now_s + 5).is_known


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, 1.5])
def test_what_no_counter_shows_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="departures cannot be"):
        Counts(1, bad)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.sets(st.integers(0, 59), max_size=5))
def test_every_event_is_counted_once_whatever_restarts(steps: list[int], restarts: set[int]) -> None:
    """Of five minutes at most; a worker that begins anew has counted nothing yet, or what came since."""
    meter = FlowMeter()
    meter.note({"w1": Counts(7, 0)}, 0.0)
    total, expected = 7, 0
    for number, step in enumerate(steps):
        # What was counted between the last reading and a restart nobody knows: here nothing was.
        total = step if number in restarts and step < total else total + step
        expected += step
        meter.note({"w1": Counts(total, 0)}, (number + 1) * EVERY_S)
    assert meter.flow(len(steps) * EVERY_S).long.arrivals == expected
