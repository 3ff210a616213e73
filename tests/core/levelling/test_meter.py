"""Levels in metrics: who decides on a pool counts its sessions, and only time that was seen counts."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.claims.record import Granted
from genlock_core.clock import ManualClock
from genlock_core.levelling.meter import LONGEST_S, LevelMeter
from genlock_core.metrics.levelling import LevellingMetrics
from tests.core.levelling.world import NOW_MS, POOL, owned


class Metered:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = LevellingMetrics(CollectorRegistry())
        self.meter = LevelMeter(self.metrics, self.clock)

    def sessions(self, level: str) -> float | None:
        return self.metrics.registry.get_sample_value("genlock_level_sessions", {"pool": POOL, "level": level})

    @property
    def degraded_s(self) -> float | None:
        return self.metrics.registry.get_sample_value("genlock_degraded_seconds_total", {"pool": POOL})


@pytest.fixture
def metered() -> Metered:
    return Metered()


HALVED = replace(owned("halved", 1, limit=1), granted=Granted(1, 12, NOW_MS, every=2))


def test_each_session_is_counted_at_its_level_and_a_level_that_nobody_has_any_more_says_so(metered: Metered) -> None:
    metered.meter.count({POOL: [owned("a"), owned("b"), owned("c", 2, limit=2), HALVED]})
    assert [metered.sessions(level) for level in ("4", "2", "1-half", "1")] == [2, 1, 1, None]

    metered.meter.count({POOL: [owned("a"), owned("b")]})
    assert [metered.sessions(level) for level in ("4", "2", "1-half")] == [2, 0, 0]


def test_the_time_below_the_request_adds_up_over_all_sessions(metered: Metered) -> None:
    lowered = [owned("a"), owned("b", 2, limit=2), HALVED]
    metered.meter.count({POOL: lowered})
    assert metered.degraded_s == 0

    metered.clock.advance(2.0)
    metered.meter.count({POOL: lowered})
    assert metered.degraded_s == pytest.approx(4.0)

    metered.clock.advance(2.0)
    metered.meter.count({POOL: [owned("a")]})
    assert metered.degraded_s == pytest.approx(4.0), "of what lies between two looks the second one decides"


def test_time_that_nobody_saw_is_not_counted(metered: Metered) -> None:
    lowered = [owned("b", 2, limit=2)]
    metered.meter.count({POOL: lowered})
    metered.clock.advance(LONGEST_S + 1)
    metered.meter.count({POOL: lowered})
    assert metered.degraded_s == 0

    # Somebody else decided meanwhile.
    metered.meter.forget(POOL)
    metered.clock.advance(5.0)
    metered.meter.count({POOL: lowered})
    assert metered.degraded_s == 0


def test_who_asks_for_fewer_steps_than_it_is_granted_has_not_less(metered: Metered) -> None:
    metered.meter.count({POOL: [owned("a", 2, wish=1)]})
    metered.clock.advance(2.0)
    metered.meter.count({POOL: [owned("a", 2, wish=1)]})
    assert metered.degraded_s == 0
