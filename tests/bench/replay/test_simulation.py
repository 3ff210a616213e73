"""Whatever the scaler and the policy: whoever comes is served once or turned away once, and a seed says it all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bench.replay.ladders import SIX
from bench.replay.levelling.by_load import ByLoad
from bench.replay.levelling.exact import Exact
from bench.replay.levelling.fixed import BY_PROMPT, FASTEST, MOST_ACCURATE
from bench.replay.levelling.plan import Planned, PlannedWithMoves
from bench.replay.levelling.policy import LevelPolicy
from bench.replay.levelling.transport import Transport
from bench.replay.outcome import Outcome
from bench.replay.scaling.buffers import Poisson, Today
from bench.replay.scaling.hpa import Hpa, Keda
from bench.replay.scaling.ours import Ours
from bench.replay.scaling.scaler import Scaler
from bench.replay.scaling.static import Static
from bench.replay.simulation import replay
from bench.replay.traces import Rate
from bench.replay.workload import Arrival, Workload, poisson

SCALERS: list[Callable[[], Scaler]] = [
    lambda: Static("static", 3),
    lambda: Hpa(0.8),
    lambda: Keda(0.8),
    lambda: Today(0),
    lambda: Poisson(0.05),
    lambda: Ours(0.01, levels=True),
]
POLICIES: list[Callable[[], LevelPolicy]] = [
    lambda: MOST_ACCURATE,
    lambda: FASTEST,
    lambda: BY_PROMPT,
    ByLoad,
    Exact,
    Transport,
    lambda: Planned(SIX),
    lambda: PlannedWithMoves(SIX),
]


@pytest.fixture(scope="module")
def rising() -> Workload:
    """Half an hour in which three times as many come as at first."""
    rate = Rate.of(np.linspace(1, 3, 30), 60.0)
    return poisson("rising", rate, None, at_once=12, dice=np.random.default_rng(1))


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("levels", POLICIES)
def test_who_comes_is_served_once_or_turned_away_once(
    rising: Workload, scaler: Callable[[], Scaler], levels: Callable[[], LevelPolicy]
) -> None:
    outcome = replay(rising, SIX, scaler(), levels(), seed=1)
    assert outcome.arrivals == len(rising.arrivals) == outcome.served + outcome.blocked
    assert outcome.departed <= outcome.served
    assert outcome.session_hours <= outcome.worker_hours * SIX.at_lowest
    assert 0 <= outcome.harmed <= outcome.degraded <= 1


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_seed_says_it_all(rising: Workload, scaler: Callable[[], Scaler]) -> None:
    first, again = (replay(rising, SIX, scaler(), Planned(SIX), seed=1) for _ in range(2))
    assert first == again


def test_start_ups_differ_by_seed() -> None:
    rush = Workload("rush", 600.0, tuple(Arrival(2.0 * i, 600.0, 0) for i in range(1, 100)))
    assert len({replay(rush, SIX, Today(0), MOST_ACCURATE, seed=seed).blocked for seed in range(1, 9)}) > 1


def test_a_day_by_hand() -> None:
    # One session runs, so two workers are there: 8 sessions. Seven more come, the next one is turned away.
    arrivals = [Arrival(0.0, 1_000.0, 0), *(Arrival(10.0 * i, 1_000.0, 0) for i in range(1, 9))]
    arrivals.append(Arrival(1_015.0, 5.0, 0))
    outcome = replay(Workload("by hand", 3_600.0, tuple(arrivals)), SIX, Static("2", 2), MOST_ACCURATE, seed=1)
    assert (outcome.arrivals, outcome.served, outcome.blocked, outcome.departed) == (10, 9, 1, 9)
    assert outcome.worker_hours == pytest.approx(2)
    assert outcome.session_hours == pytest.approx(8_005 / 3_600)
    assert (outcome.degraded, outcome.turns_per_hour) == (0, 0)


def test_who_is_blocked_is_let_in_at_once_where_levels_make_room() -> None:
    arrivals = tuple(Arrival(10.0 * i, 10_000.0, 0) for i in range(1, 7))
    load = Workload("six", 3_600.0, arrivals)
    assert replay(load, SIX, Static("1", 1), MOST_ACCURATE, seed=1).blocked == 2
    lowered = replay(load, SIX, Static("1", 1), Planned(SIX), seed=1)
    assert lowered.blocked == 0
    assert lowered.excess == pytest.approx((3_550 + 3_540) / (lowered.session_hours * 3_600))


def test_up_after_down_is_a_turn() -> None:
    class Waves:
        """2, 3, 2, 3, ... every minute."""

        name = "waves"
        period_s = 60.0
        hears_blocked = False
        asked = 0

        def workers(self, seen: object) -> int:
            assert seen
            self.asked += 1
            return 2 + self.asked % 2

    outcome = replay(Workload("idle", 3_600.0, ()), SIX, Waves(), MOST_ACCURATE, seed=1)
    assert outcome.turns_per_hour == pytest.approx(59)


def test_shares_of_nothing_are_nothing(rising: Workload) -> None:
    empty = replay(Workload("empty", 60.0, ()), SIX, Static("1", 1), MOST_ACCURATE, seed=1)
    assert isinstance(empty, Outcome)
    assert (empty.blocked_share, empty.per_worker_hour) == (0, 0)
    assert replace(rising, arrivals=()).span_s == rising.span_s
