"""How fast sessions come and go, over counters that grow and begin anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.counters import PoolCounters
from genlock_operator.autoscale.arrivals import LONG_S, SHORT_S, FlowMeter

EVERY_S = 5.0


def meter_over(*arrivals: int) -> tuple[FlowMeter, float]:
    """A meter that has read these totals, one every 5 s; and the time of the last."""
    meter = FlowMeter()
    for number, total in enumerate(arrivals):
        meter.note(PoolCounters(total), number * EVERY_S)
    return meter, (len(arrivals) - 1) * EVERY_S


def test_what_was_counted_before_the_first_reading_is_not_of_now() -> None:
    meter, now_s = meter_over(1_000, 1_000, 1_002)
    assert meter.flow(now_s).long.arrivals == 2


@pytest.mark.parametrize("back_to", [0, 998])
def test_a_counter_that_went_back_is_no_burst(back_to: int) -> None:
    """It began anew, or a replica that lagged took over."""
    meter, now_s = meter_over(1_000, 1_003, back_to, back_to + 2)
    assert meter.flow(now_s).short.arrivals == 3 + 2


def test_each_counter_is_read_for_itself() -> None:
    meter = FlowMeter()
    meter.note(PoolCounters(5, 4, 1), 0.0)
    meter.note(PoolCounters(7, 5, 1), EVERY_S)
    meter.note(PoolCounters(7, 5, 4), 2 * EVERY_S)
    short = meter.flow(2 * EVERY_S).short
    assert (short.arrivals, short.departures, short.blocked) == (2, 1, 3)


def test_who_gets_a_worker_after_all_was_not_turned_away() -> None:
    meter = FlowMeter()
    meter.note(PoolCounters(), 0.0)
    meter.note(PoolCounters(blocked=2), 10.0)
    meter.note(PoolCounters(blocked=3), 40.0)
    meter.note(PoolCounters(blocked=3, arrivals=2, relieved=2), 65.0)
    assert meter.flow(65.0).short.blocked == 1
    meter.note(PoolCounters(blocked=4, arrivals=2, relieved=2), 75.0)
    assert meter.flow(75.0).short.blocked == 2, "those two were others"
    meter.note(PoolCounters(), 80.0)
    assert meter.flow(80.0).short.blocked == 2, "counted anew, nobody got anything"


def test_a_minute_is_forgotten_after_a_minute_and_a_quarter_of_an_hour_later() -> None:
    meter, now_s = meter_over(0, 6)
    while now_s < LONG_S:
        now_s += EVERY_S
        meter.note(PoolCounters(6), now_s)
    flow = meter.flow(now_s)
    assert (flow.short.arrivals, flow.long.arrivals) == (0, 6)
    meter.note(PoolCounters(6), now_s + EVERY_S)
    assert meter.flow(now_s + EVERY_S).long.arrivals == 0


@pytest.mark.parametrize("step_s", [-1.0, SHORT_S + 1])
def test_after_a_gap_or_a_clock_that_jumped_it_begins_anew(step_s: float) -> None:
    meter, now_s = meter_over(*range(0, 100, 5))
    meter.note(PoolCounters(500), now_s + step_s)
    flow = meter.flow(now_s + step_s)
    assert (flow.long.arrivals, flow.covered_s, flow.is_known) == (0, 0.0, False)


def test_less_than_a_minute_says_nothing_yet() -> None:
    meter, now_s = meter_over(*[0] * 12)
    assert not meter.flow(now_s).is_known
    meter.note(PoolCounters(), now_s + 5)
    assert meter.flow(now_s + 5).is_known


def test_a_meter_that_has_read_nothing_knows_nothing() -> None:
    assert not FlowMeter().flow(1_000.0).is_known


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60))
def test_every_event_between_two_readings_of_one_counter_is_counted_once(steps: list[tuple[int, bool]]) -> None:
    """Of five minutes at most."""
    meter = FlowMeter()
    meter.note(PoolCounters(70), 0.0)
    total, expected = 70, 0
    for number, (step, restarted) in enumerate(steps):
        total = min(step, total) if restarted else total + step
        expected += 0 if restarted else step
        meter.note(PoolCounters(total), (number + 1) * EVERY_S)
    assert meter.flow(len(steps) * EVERY_S).long.arrivals == expected
