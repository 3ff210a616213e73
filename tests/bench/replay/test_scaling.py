"""Each scaler against a case worked by hand."""

import pytest
from scipy.stats import poisson

from bench.replay.ladders import SIX
from bench.replay.scaling.buffers import WAITS_S, Patience, Poisson, Today, need, poisson_quantile
from bench.replay.scaling.hpa import Behaviour, Hpa, Keda, recommended_by_ratio
from bench.replay.scaling.ours import Ours
from bench.replay.scaling.scaler import Seen
from genlock_operator.plan.pool.scale import Need
from tests.bench.replay.test_fleet import fleet_of


@pytest.mark.parametrize(
    ("used", "ready", "unready", "target", "count"),
    [
        (9.0, 10, 0, 0.6, 15),  # 0.9 of 0.6: half as many again
        (6.5, 10, 0, 0.6, 10),  # 8 % too much is within the tolerance
        (3.0, 10, 0, 0.6, 5),
        (9.0, 10, 5, 0.6, 15),  # those that start are what is missing
        (9.0, 10, 2, 0.6, 15),  # 9 of 12 is 1.25 times too much still
        (9.0, 10, 4, 0.6, 14),  # with them it is within the tolerance
        (5.0, 10, 2, 0.6, 9),  # too few are busy: 5 of 10 is 0.83 times the target, ready ones count
        (1.0, 0, 2, 0.6, 2),  # nobody is ready, nothing is known
    ],
)
def test_the_ratio_of_an_hpa(used: float, ready: int, unready: int, target: float, count: int) -> None:
    assert recommended_by_ratio(used, ready, unready, target) == count


def test_an_hpa_goes_down_to_the_most_that_was_recommended_within_300_s() -> None:
    behaviour = Behaviour()
    assert behaviour.settled(0, 10, 8) == 8
    assert behaviour.settled(15, 10, 4) == 8
    assert behaviour.settled(300, 8, 4) == 8
    assert behaviour.settled(301, 8, 4) == 4


def test_an_hpa_goes_up_by_4_or_to_twice_as_many_within_15_s() -> None:
    assert Behaviour().settled(0, 2, 20) == 6
    behaviour = Behaviour()
    assert behaviour.settled(0, 10, 50) == 20
    assert behaviour.settled(10, 20, 50) == 20
    assert behaviour.settled(15, 20, 50) == 40


def test_hpa_and_keda_see_what_sessions_ask_for_however_low_they_run() -> None:
    fleet = fleet_of(6, place=3)
    assert Hpa(0.75).workers(Seen(fleet)) == 2
    assert Keda(0.75).workers(Seen(fleet)) == 2


def test_keda_counts_workers_that_start() -> None:
    fleet = fleet_of(4, 4)
    fleet.start()
    assert Keda(0.7).workers(Seen(fleet)) == 3
    assert Keda(0.5).workers(Seen(fleet)) == 4


def test_todays_rule_is_need_and_buffer_and_counts_who_waits() -> None:
    seen = Seen(fleet_of(4, 4))
    assert Today(2).workers(seen) == 4
    seen.blocked_s.append(0.0)
    assert Today(2).workers(seen) == 5
    seen.fleet.advance(WAITS_S + 1)
    assert Today(2).workers(seen) == 4


def test_sessions_need_what_they_ask_for_however_low_they_run() -> None:
    seen = Seen(fleet_of(6, place=3))
    assert need(seen, waiting=0) == Need(2, (500, 1_000))


def test_too_many_go_once_it_has_lasted_a_quarter_at_a_time() -> None:
    patience = Patience()
    assert patience.settled(0, 12, 6) == 12
    assert patience.settled(299, 12, 6) == 12
    assert patience.settled(300, 12, 6) == 9
    assert patience.settled(305, 9, 9) == 9
    assert patience.settled(310, 9, 6) == 9


@pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, 60.0])
@pytest.mark.parametrize("chance", [0.2, 0.01])
def test_the_quantile_of_poisson(mean: float, chance: float) -> None:
    assert poisson_quantile(mean, chance) == max(0, poisson.ppf(1 - chance, mean))


def test_a_poisson_buffer_holds_the_arrivals_of_a_start_up() -> None:
    # 6 in the first minute: an upper bound of 9 a minute, 12 within 80 s, of which 17 and more come once in 20 times.
    seen = Seen(fleet_of(4))
    scaler = Poisson(0.05)
    assert scaler.workers(seen) == 2
    seen.arrivals = 6
    seen.fleet.advance(60)
    assert scaler.workers(seen) == -(-(4 + 18) // 4)


def test_our_scaler_asks_the_product_and_counts_what_levels_carry() -> None:
    seen = Seen(fleet_of(4, 4))
    with_levels, without = Ours(0.01, levels=True), Ours(0.01, levels=False)
    for _ in range(31):
        # One comes and one goes every 5 s.
        seen.fleet.advance(seen.now_s + 5)
        seen.fleet.meter.served += 1
        seen.departures += 1
        wanted = with_levels.workers(seen), without.workers(seen)

    told = without.recommendation(seen)
    assert told.need == 2
    assert told.arrivals is not None
    assert told.arrivals.slots > 4
    assert wanted[1] == told.desired == 2 + -(-told.arrivals.slots // SIX.at_top)
    assert with_levels.recommendation(seen).slots.by_levels == 4
    assert wanted[0] < wanted[1]
