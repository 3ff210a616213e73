"""A pool that follows its sessions: before they come, after they have gone, and while nobody can count."""

import random
from dataclasses import replace
from typing import Any

import pytest

from genlock_operator.autoscale.recommend import ScaleReason
from genlock_operator.observed import SessionCost
from genlock_operator.plan.pool.members import members_of
from genlock_operator.plan.pool.scaling import measured_of, scaling_of, start_up_s
from tests.operator.plan.pool_world import Traffic, World, fill, world

NODES = {f"node-{number}": 8 for number in range(20)}


def counted(**spec: Any) -> World:
    """A pool whose sessions have been counted for a while."""
    pool = world(**{"replicas": 0, "max": 30, "nodes": NODES, "scaleInAfter": "20s", **spec})
    pool.traffic = Traffic()
    pool.run(70)
    return pool


def autoscaling(pool: World) -> tuple[int, str]:
    said = pool.status.autoscaling
    assert said is not None
    return said.desired, said.reason


def rise(pool: World, *, per_minute: float, seconds: int, lasts_s: int, seed: int = 1) -> int:
    """Sessions come at random, stay for a while, and go; how many of them ever waited for a worker."""
    rng = random.Random(seed)
    ends: dict[int, list[str]] = {}
    waited: set[str] = set()
    for second in range(seconds):
        for session in ends.pop(second, []):
            pool.leave(session)
        if rng.random() < per_minute / 60:
            session = f"studio/r{second}"
            pool.arrive(session)
            ends.setdefault(second + lasts_s, []).append(session)
        pool.run(1, tick_ms=1_000)
        waited |= set(pool.waiting())
    return len(waited)


def test_while_load_rises_a_worker_is_started_before_anybody_waits() -> None:
    """Against the same load with need alone, where every fourth session waits for its worker to start."""
    follows, needs = counted(), counted(autoscaling={"mode": "Recommend"})
    rise(follows, per_minute=20, seconds=60, lasts_s=200)
    rise(needs, per_minute=20, seconds=60, lasts_s=200)
    assert rise(follows, per_minute=20, seconds=180, lasts_s=200, seed=2) <= 1
    assert rise(needs, per_minute=20, seconds=180, lasts_s=200, seed=2) >= 5
    assert autoscaling(follows)[1] == ScaleReason.ARRIVALS.value


def test_the_longer_a_worker_takes_to_start_the_more_are_kept_warm() -> None:
    """A large model: with a start-up of a minute and a half, at the same load."""
    fast, slow = counted(), counted()
    slow.warm_ms = 90_000
    for pool in (fast, slow):
        rise(pool, per_minute=10, seconds=300, lasts_s=240)
    assert slow.shown is not None
    assert fast.shown is not None
    assert slow.shown.arrivals is not None
    assert slow.shown.start_up_s == 90.5
    assert slow.shown.warm > fast.shown.warm
    assert rise(slow, per_minute=10, seconds=300, lasts_s=240, seed=2) <= 2


def test_a_burst_is_answered_at_once_and_its_workers_go_when_it_is_over() -> None:
    pool = counted()
    rise(pool, per_minute=2, seconds=300, lasts_s=120)
    for number in range(20):
        pool.arrive(f"studio/burst{number}")
        pool.run(1)
    pool.run(10)
    assert pool.waiting() == []
    assert pool.shown is not None
    assert pool.shown.arrivals is not None
    assert pool.shown.arrivals.surge > 0
    assert len(pool.workers()) > pool.shown.need, "more than the burst itself needs: it may go on"

    for session in list(pool.costs):
        pool.leave(session)
    pool.run(1_000, tick_ms=1_000)
    assert len(pool.workers()) == 0


def test_when_load_falls_pods_go_and_nobody_is_cut() -> None:
    pool = counted()
    fill(pool, 40, cost=250)
    pool.run(60)
    assert len(pool.workers()) >= 10
    assert pool.waiting() == []

    # One of four stays on every worker: they have to be moved together.
    for worker in list(pool.processes.values()):
        for session in sorted(worker.sessions)[1:]:
            pool.leave(session)
    left = set(pool.costs)
    for _ in range(300):
        pool.run(4, tick_ms=1_000)
        assert pool.waiting() == []
    assert set(pool.costs) == left
    assert len(pool.workers()) <= 4
    assert autoscaling(pool) == (len(pool.workers()), ScaleReason.SESSIONS.value)


def test_too_many_workers_wait_before_one_goes_and_the_pool_says_so() -> None:
    pool = counted(replicas=4, scaleInAfter="30s")
    pool.change(replicas=0)
    pool.run(20)
    assert pool.condition("Stabilizing") == "TooMany"
    assert len(pool.workers()) == 4
    pool.run(120)
    assert len(pool.workers()) == 0
    assert pool.condition("Stabilizing") == "Enough"


def test_a_pool_goes_no_further_than_to_the_most_that_was_wanted_while_it_had_too_many() -> None:
    pool = counted(min=10)
    assert len(pool.workers()) == 10
    pool.change(min=5)
    pool.run(15)
    pool.change(min=1)
    pool.run(15)
    assert len(pool.workers()) == 5, "5 were wanted until 15 s ago"
    pool.run(30)
    assert len(pool.workers()) < 5


def test_nobody_goes_sooner_than_a_worker_starts() -> None:
    pool = counted(replicas=4, scaleInAfter="0s")
    pool.change(replicas=0)
    pool.run(5)
    assert len(pool.workers()) == 4
    pool.run(60)
    assert len(pool.workers()) == 0


def test_while_the_counters_are_old_nobody_goes_and_afterwards_the_wait_begins_anew() -> None:
    pool = counted(replicas=4)
    assert pool.traffic is not None
    pool.traffic.silent_since_ms = pool.now_ms
    pool.run(61)
    pool.change(replicas=0)
    pool.run(300, tick_ms=1_000)
    assert len(pool.workers()) == 4
    assert pool.condition("MetricsStale") == "MetricsStale"
    assert "MetricsStale" in pool.told
    assert autoscaling(pool) == (4, ScaleReason.METRICS_STALE.value)

    # Who waits is known all the same.
    fill(pool, 20, cost=250)
    pool.run(30)
    assert pool.waiting() == []
    for session in list(pool.costs):
        pool.leave(session)

    pool.traffic.silent_since_ms = None
    pool.run(61)
    assert pool.condition("MetricsStale") == "MetricsFresh"
    assert len(pool.workers()) == 5
    pool.run(900 + 120, tick_ms=1_000)
    assert len(pool.workers()) == 0


def test_while_the_counters_are_old_a_rollout_goes_on_and_makes_no_pool_larger() -> None:
    pool = counted(replicas=3)
    assert pool.traffic is not None
    pool.traffic.silent_since_ms = pool.now_ms
    pool.run(61)
    pool.change(template={"image": "worker:2"})
    for _ in range(120):
        pool.run(1)
        assert len([pod for pod in pool.workers() if not pod.facts.draining_since_ms]) <= 4
    assert {pod.image for pod in pool.workers()} == {"worker:2"}
    assert len(pool.workers()) == 3


def test_with_external_the_replicas_decide_and_nobody_is_cut() -> None:
    pool = counted(replicas=2, autoscaling={"mode": "External"})
    fill(pool, 40, cost=250)
    pool.run(60)
    assert len(pool.workers()) == 2
    assert len(pool.waiting()) == 40 - 8
    assert autoscaling(pool)[0] >= 10, "what whoever sets the replicas may go by"
    for session in pool.waiting():
        pool.leave(session)

    # Both are full: none can leave before its sessions have gone.
    pool.change(replicas=1)
    pool.run(60)
    assert len(pool.workers()) == 2
    for session in sorted(pool.costs)[:4]:
        pool.leave(session)
    pool.run(60)
    assert len(pool.workers()) == 1
    assert len(pool.costs) == 4
    assert pool.waiting() == []


@pytest.mark.parametrize(("mode", "held"), [("SLO", True), ("External", False), ("Recommend", False)])
def test_old_counters_hold_whom_they_would_have_sent_away_and_nobody_else(mode: str, held: bool) -> None:
    pool = counted(replicas=3, autoscaling={"mode": mode})
    assert pool.traffic is not None
    pool.traffic.silent_since_ms = pool.now_ms
    pool.run(61)
    (said,) = [one.message for one in pool.status.conditions if one.type == "MetricsStale"]
    assert ("no worker leaves" in said) is held
    pool.change(replicas=0)
    pool.run(120, tick_ms=1_000)
    assert len(pool.workers()) == (3 if held else 0)


def test_a_recommendation_that_is_only_shown_makes_no_worker() -> None:
    pool = counted(autoscaling={"mode": "Recommend"})
    rise(pool, per_minute=20, seconds=60, lasts_s=400)
    desired, reason = autoscaling(pool)
    assert (desired > pool.status.desired, reason) == (True, ScaleReason.ARRIVALS.value)


def test_a_share_of_the_gpus_bounds_the_pool_and_says_so() -> None:
    pool = counted()
    assert pool.traffic is not None
    pool.traffic.budget = 2
    fill(pool, 40, cost=250)
    pool.run(60)
    assert len(pool.workers()) == 2
    assert pool.condition("ScalingLimited") == "GPUBudget"


def test_since_stands_as_long_as_it_says_the_same() -> None:
    pool = counted(replicas=2)
    before = pool.status.autoscaling
    pool.run(30)
    assert pool.status.autoscaling == before
    pool.change(replicas=3)
    pool.run(10)
    assert pool.status.autoscaling != before


def test_sessions_that_run_below_their_wish_ask_for_the_workers_that_they_lack() -> None:
    pool = world(replicas=1, max=30, nodes=NODES)
    fill(pool, 6, cost=150)
    pool.run(10)
    assert len(pool.workers()) == 1
    pool.lowered = {session: SessionCost(asked=250, paid=150, lowest=150) for session in pool.costs}
    seen = pool.seen()
    measured = measured_of(members_of(seen, pool.status.revision), seen)
    assert (measured.need, sorted(measured.loads)) == (2, [500, 1_000])
    assert measured.lowest_share == pytest.approx(150 / 250)
    pool.run(20)
    assert len(pool.workers()) == 2


def test_the_start_up_is_that_of_the_last_workers_else_what_the_status_says_else_unknown() -> None:
    pool = counted(replicas=1)
    seen = pool.seen()
    assert start_up_s(seen) == 5.5
    assert start_up_s(replace(seen, start_ups=())) == 5.5
    unknown = replace(pool.resource, status=pool.status.model_copy(update={"start_up": []}))
    assert start_up_s(replace(seen, start_ups=(), resource=unknown)) is None


def test_a_pool_that_nobody_counts_has_what_its_sessions_need() -> None:
    pool = world(replicas=0, buffer=1)
    fill(pool, 8, cost=250)
    pool.run(20)
    seen = pool.seen()
    scaling = scaling_of(members_of(seen, pool.status.revision), seen, pool.now_ms)
    assert scaling.decided is scaling.shown
    assert (scaling.decided.desired, scaling.decided.stale) == (3, False)
