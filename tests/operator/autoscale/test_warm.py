"""How many slots stand ready for who comes while a worker starts."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_operator.autoscale.arrivals import LONG_S, Flow
from genlock_operator.autoscale.warm import lower, upper, warm
from tests.operator.autoscale.flows import flow_of

COUNTS = st.integers(0, 5_000)
START_UPS = st.floats(0, 600)
BLOCKING = st.sampled_from([0.001, 0.01, 0.05, 0.2])


@given(COUNTS, st.floats(1, 900))
def test_the_rate_lies_between_its_bounds(count: int, seconds: float) -> None:
    assert lower(count, seconds) <= count / seconds <= upper(count, seconds)


def test_the_bounds_are_one_standard_deviation_away_as_the_bound_has_it() -> None:
    """A score interval: (count - mean) squared is the mean, at both ends."""
    for count in (0, 1, 7, 400):
        for mean in (lower(count, 1.0), upper(count, 1.0)):
            assert (count - mean) ** 2 == pytest.approx(mean, abs=1e-9)


@given(COUNTS, START_UPS, BLOCKING)
def test_without_arrivals_nobody_is_kept_warm(departures: int, start_up_s: float, blocking: float) -> None:
    assert warm(flow_of(departures=departures), start_up_s=start_up_s, blocking=blocking).slots == 0


def test_the_slots_are_the_quantile_of_the_net_change() -> None:
    found = warm(flow_of(arrivals=90, departures=90), start_up_s=80, blocking=0.01)
    drift = (90 / 900 - lower(90, 900)) * 80
    assert found.slots == math.ceil(drift + 2.326348 * math.sqrt(0.2 * 80)) == 11
    assert found.surge == 0


def test_a_burst_counts_before_the_quarter_of_an_hour_has_seen_it() -> None:
    calm = warm(flow_of(arrivals=15, departures=15, minute=1), start_up_s=80, blocking=0.01)
    burst = warm(flow_of(arrivals=45, departures=15, minute=30), start_up_s=80, blocking=0.01)
    assert burst.surge > 0.3
    assert burst.slots > calm.slots + 30


def test_chance_in_one_minute_is_no_burst() -> None:
    assert warm(flow_of(arrivals=60, departures=60, minute=6), start_up_s=80, blocking=0.01).surge == 0


@given(COUNTS, COUNTS, START_UPS)
def test_fewer_may_be_blocked_more_are_kept_warm(arrivals: int, departures: int, start_up_s: float) -> None:
    flow = flow_of(arrivals=arrivals, departures=departures)
    slots = [warm(flow, start_up_s=start_up_s, blocking=one).slots for one in (0.2, 0.05, 0.01)]
    assert slots == sorted(slots)


@given(COUNTS, COUNTS, BLOCKING)
def test_who_starts_at_once_needs_nobody_warm(arrivals: int, departures: int, blocking: float) -> None:
    assert warm(flow_of(arrivals=arrivals, departures=departures), start_up_s=0, blocking=blocking).slots == 0


def test_what_is_kept_warm_is_enough_as_often_as_promised() -> None:
    """Against the processes themselves: sessions that come and go at random, and a pool that has grown level."""
    rng = random.Random(7)
    start_up_s, rate = 80.0, 0.2
    flow: Flow = flow_of(arrivals=round(rate * LONG_S), departures=round(rate * LONG_S))
    slots = warm(flow, start_up_s=start_up_s, blocking=0.05).slots

    changes = [_poisson(rng, rate * start_up_s) - _poisson(rng, rate * start_up_s) for _ in range(4_000)]
    too_few = sum(change > slots for change in changes) / len(changes)
    one_less = sum(change > slots - 6 for change in changes) / len(changes)
    assert too_few <= 0.05 < one_less


def _poisson(rng: random.Random, mean: float) -> int:
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count += 1
        left += rng.expovariate(1.0)
    return count
