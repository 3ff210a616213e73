"""What is derived from counts: a kernel is bound by the longest of its three times, sessions share launches alone."""

import pytest

from bench.counted.cost import Cost, Entry, Tally
from bench.counted.roofline import Card, device_s, frames_per_second, seconds

CARD = Card("round numbers", bytes_per_s=1e9, operations_per_s=1e12, kernel_s=1e-6, launch_s=1e-5)


def tally(*costs: Cost) -> Tally:
    return Tally([Entry("op", cost) for cost in costs])


def test_each_kernel_takes_the_longest_of_memory_arithmetic_and_the_least_of_a_kernel() -> None:
    by_memory, by_products, by_launch = Cost(1, 3_000_000), Cost(1, 0, 2_000_000_000), Cost(1, 1, 1)
    assert device_s(tally(by_memory, by_products, by_launch), CARD) == pytest.approx(3e-3 + 2e-3 + 1e-6)


def test_only_a_graph_is_not_bound_by_the_host_that_launches() -> None:
    many = tally(*[Cost(1)] * 100)
    assert seconds(many, CARD, graph=False) == pytest.approx(1e-3)
    assert seconds(many, CARD, graph=True) == pytest.approx(1e-4)


def test_a_session_makes_four_pictures_in_a_micro_step_and_two_calls_of_the_coders() -> None:
    network, coder = tally(Cost(1, 10_000_000)), tally(Cost(1, 5_000_000))
    assert frames_per_second(network, [coder, coder], CARD, graph=True) == pytest.approx(4 / 0.02)


def test_sessions_together_share_what_the_host_launches_and_not_what_is_computed() -> None:
    network = tally(Cost(1, 10_000_000))
    launches, computes = tally(*[Cost(1)] * 1_000), tally(Cost(1, 5_000_000))
    assert frames_per_second(network, [launches], CARD, graph=True, sessions=5) == pytest.approx(20 / 0.02)
    assert frames_per_second(network, [computes], CARD, graph=True, sessions=5) == pytest.approx(20 / 0.035)
