"""The simulation of the scheduler's policies: the card it runs on, and that a run says the same twice."""

from dataclasses import asdict

import pytest

from bench.slo.card import TRUE_SIZE
from bench.slo.outcome import SloOutcome
from bench.slo.policies import POLICIES, Policy
from bench.slo.simulation import SloSimulation
from bench.slo.workload import Coming, from_trace, poisson

SECONDS = 8.0


def run(policy: Policy, comings: list[Coming], *, load: float = 0.95, depth: int = 2) -> SloSimulation:
    made = SloSimulation(TRUE_SIZE, policy, comings, load=load, depth=depth, seed=1)
    made.run(SECONDS)
    return made


def test_a_forward_between_two_sizes_and_beyond_the_largest_lies_on_their_line() -> None:
    assert TRUE_SIZE.forward_s(4) == 0.03311
    assert TRUE_SIZE.forward_s(6) == pytest.approx((0.03311 + 0.06600) / 2)
    assert TRUE_SIZE.forward_s(24) == pytest.approx(0.13179 + (0.13179 - 0.06600))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_card_that_is_half_full_stalls_nobody_for_long_under_any_policy(policy: Policy) -> None:
    comings = [Coming(0.1 * number, 60.0, steps=1 + number, frame_rate=8) for number in range(4)]
    made = run(policy, comings)
    outcome = SloOutcome.of(made, SECONDS)
    assert outcome.sessions == 4
    assert outcome.missed == 0
    assert outcome.played > 0.99
    assert 0 < outcome.busy < 0.6


def test_a_card_takes_no_more_than_its_load() -> None:
    comings = list(poisson(every_s=0.2, until_s=SECONDS, seed=3))
    made = run(POLICIES[2], comings, load=0.5)
    assert made.turned_away > 0
    assert made.busy_s < 0.55 * SECONDS


def test_a_run_says_the_same_twice_and_sees_the_same_arrivals_under_each_policy() -> None:
    comings = list(from_trace(until_s=SECONDS, seed=2))
    assert comings
    assert comings == list(from_trace(until_s=SECONDS, seed=2))
    first, again = (SloOutcome.of(run(POLICIES[2], comings), SECONDS) for _ in range(2))
    assert asdict(first) == asdict(again)
    assert run(POLICIES[0], comings).turned_away == run(POLICIES[3], comings).turned_away
