"""A recommendation in sentences."""

from dataclasses import replace

import pytest

from genlock_operator.autoscale.correction import Correction
from genlock_operator.autoscale.explain import explain
from genlock_operator.autoscale.recommend import ScaleReason
from tests.operator.autoscale.flows import flow_of
from tests.operator.autoscale.test_recommend import BUSY, measured, recommended


def test_it_is_told_in_sentences() -> None:
    told = " ".join(explain(recommended(measured(flow=BUSY, lowest_share=4 / 6), replicas=1)))
    for part in (
        "5 workers should be there: who comes while a worker starts would find no room.",
        "The sessions need 4 workers",
        "In the last 15 min 90 sessions came and 90 went; in the last minute 6 came.",
        "A new worker takes 80 s",
        "11 sessions more",
        "0 of them find room on the needed workers, 8 more if sessions run at their lowest levels; 1 worker more",
        "At least: spec.replicas 1.",
    ):
        assert part in told


def test_a_start_up_that_nobody_measured_is_told_as_assumed() -> None:
    told = explain(recommended(measured(flow=BUSY, start_up_s=None)))
    assert "No worker was seen starting yet: 60 s are assumed." in told


def test_without_counters_it_says_that_nobody_goes() -> None:
    assert any("nobody knows who will come" in one for one in explain(recommended(measured(flow=None))))


def test_a_share_of_a_budget_and_what_it_leaves_out_are_told() -> None:
    told = explain(recommended(budget=3))
    assert told[0] == "3 workers should be there: the GPU budget has no more for this pool."
    assert "Its share of the GPU budget is 3 workers." in told
    assert "4 workers are asked for, 3 are allowed." in told


def test_who_was_turned_away_is_told() -> None:
    found = recommended(measured(flow=flow_of(arrivals=1, minute=1, blocked=1)))
    assert "Within the last minute somebody was turned away: 1 worker more for that." in explain(found)


def test_slow_workers_are_told_of() -> None:
    told = explain(recommended(), Correction(2 / 3))
    assert "Its workers compute at 0.67 of the speed that was profiled; what sessions pay is divided by that." in told
    assert explain(recommended(), Correction()) == explain(recommended())


def test_the_modes_that_do_not_follow_it_say_so() -> None:
    external = explain(recommended(replicas=2, autoscaling={"mode": "External"}))
    assert external[1] == "Mode External: this is only shown; spec.replicas decides, whoever sets it."
    assert "Mode Recommend: this is only shown" in explain(recommended(autoscaling={"mode": "Recommend"}))[1]


@pytest.mark.parametrize("reason", list(ScaleReason))
def test_every_reason_has_its_words(reason: ScaleReason) -> None:
    assert explain(replace(recommended(), reason=reason))[0].endswith(".")
