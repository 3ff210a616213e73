"""How many workers a pool should have, and why."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import CAPACITY
from genlock_core.spec.autoscaling import ScalingMode
from genlock_operator.autoscale.explain import explain
from genlock_operator.autoscale.recommend import Measured, Recommendation, ScaleReason, as_replicas_say, recommend
from tests.operator.autoscale.flows import flow_of
from tests.operator.plan.pool_cluster import START_MS
from tests.operator.plan.pool_world import pool_spec

BUSY = flow_of(arrivals=90, departures=90, minute=6)
"""With a start-up of 80 s and 1 %: 11 warm slots."""
QUIET = flow_of()


def measured(**facts: Any) -> Measured:
    """Four sessions to a worker, four workers of them full."""
    return Measured(
        **{
            "need": 4,
            "loads": (1_000,) * 4,
            "staying": 4,
            "before": facts.get("staying", 4),
            "session_cost": 250,
            "start_up_s": 80.0,
            "flow": QUIET,
            **facts,
        }
    )


def recommended(seen: Measured | None = None, *, budget: int | None = None, **spec: Any) -> Recommendation:
    fields = {"replicas": 0, "max": 100, **spec}
    return recommend(seen or measured(), pool_spec(**fields), START_MS, budget=budget)


def test_a_quiet_pool_has_what_its_sessions_need() -> None:
    found = recommended()
    assert (found.desired, found.reason) == (4, ScaleReason.SESSIONS)


def test_who_comes_while_a_worker_starts_finds_room() -> None:
    found = recommended(measured(flow=BUSY))
    assert (found.desired, found.warm, found.reason) == (4 + 3, 3, ScaleReason.ARRIVALS)


def test_room_on_the_needed_workers_is_warm_already() -> None:
    found = recommended(measured(flow=BUSY, loads=(1_000, 1_000, 500, 250)))
    assert (found.slots.free, found.warm) == (5, 2)


def test_fragments_are_no_slots() -> None:
    assert recommended(measured(flow=BUSY, loads=(800,) * 4)).slots.free == 0


def test_levels_carry_what_they_can_and_only_the_rest_is_bought() -> None:
    """Where a worker of 4 holds 6, four full ones take 8 more; a new one takes 6 of the other 3."""
    found = recommended(measured(flow=BUSY, lowest_share=4 / 6))
    assert (found.slots.by_levels, found.slots_per_worker, found.warm) == (8, 6, 1)


def test_the_buffer_stays_a_floor() -> None:
    found = recommended(measured(lowest_share=0.5), buffer=2)
    assert (found.desired, found.reason) == (6, ScaleReason.BUFFER)


def test_who_was_turned_away_makes_it_grow_at_once() -> None:
    found = recommended(measured(flow=flow_of(arrivals=1, minute=1, blocked=1)))
    assert (found.desired, found.blocked, found.reason) == (5, 1, ScaleReason.BLOCKED)
    at_their_lowest = measured(flow=flow_of(arrivals=9, minute=9, blocked=9), lowest_share=4 / 6)
    assert recommended(at_their_lowest).blocked == 1, "levels had room for eight of them"


def test_who_was_turned_away_and_finds_room_now_asks_for_nobody() -> None:
    seen = measured(flow=flow_of(arrivals=1, minute=1, blocked=1), loads=(1_000, 1_000, 1_000, 250))
    assert recommended(seen).desired == 4


def test_who_was_turned_away_and_waits_is_part_of_the_need_alone() -> None:
    """Where a session takes a whole worker, nobody finds room beside it."""
    seen = measured(flow=flow_of(blocked=2), session_cost=CAPACITY, waiting=2)
    assert (recommended(seen).desired, recommended(seen).blocked) == (4, 0)
    assert recommended(replace(seen, waiting=1)).desired == 5


def test_a_share_of_the_gpus_bounds_it_as_max_does() -> None:
    assert recommended(budget=3).reason is ScaleReason.GPU_BUDGET
    assert recommended(budget=3, max=2).reason is ScaleReason.MAXIMUM
    assert recommended(budget=3).desired == 3


@pytest.mark.parametrize("blind", [{"flow": None}, {"flow": BUSY, "age_s": 61.0}])
def test_without_fresh_counters_nobody_goes_and_who_waits_still_gets_a_worker(blind: dict[str, Any]) -> None:
    held = recommended(measured(staying=9, **blind))
    assert (held.desired, held.reason) == (9, ScaleReason.METRICS_STALE)
    grown = recommended(measured(staying=2, waiting=3, **blind))
    assert (grown.desired, grown.reason) == (4, ScaleReason.WAITING)
    assert held.stale
    assert grown.holds


def test_a_minute_must_be_seen_before_anybody_goes() -> None:
    found = recommended(measured(staying=9, flow=flow_of(seconds=55.0)))
    assert (found.desired, found.reason) == (9, ScaleReason.MEASURING)


def test_a_lowered_max_counts_while_nobody_can_count() -> None:
    assert recommended(measured(staying=9, flow=None), max=6).desired == 6


def test_with_external_the_replicas_decide_between_the_bounds() -> None:
    def told(**spec: Any) -> Recommendation:
        return as_replicas_say(measured(flow=BUSY), pool_spec(autoscaling={"mode": "External"}, **spec))

    assert told(replicas=2).desired == 2
    assert told(replicas=2, min=3).desired == 3
    bounded = told(replicas=8, max=6)
    assert (bounded.desired, bounded.reason) == (6, ScaleReason.MAXIMUM)
    assert bounded.asked_with(20) == 8, "who is there counts for nothing"


def test_what_is_shown_to_whoever_sets_the_replicas_is_not_made_of_them() -> None:
    """Else a number that was once set would never come down again."""
    found = recommended(measured(flow=BUSY), replicas=50, autoscaling={"mode": "External"})
    assert (found.desired, found.reason) == (7, ScaleReason.ARRIVALS)


def test_the_schedule_is_a_floor() -> None:
    always = {"schedule": [{"from": "00:00", "to": "24:00", "min": 12}]}
    found = recommended(autoscaling=always)
    assert (found.desired, found.reason) == (12, ScaleReason.SCHEDULE)


def test_nobody_goes_sooner_than_a_worker_starts() -> None:
    assert recommended(measured(start_up_s=400.0)).scale_in_after_ms == 400_000
    assert recommended(measured(start_up_s=10.0)).scale_in_after_ms == 300_000
    assert recommended(measured(start_up_s=None), scaleInAfter="10s").scale_in_after_ms == 10_000


def test_a_pod_that_waited_for_a_node_all_night_holds_nobody_all_day() -> None:
    night = recommended(measured(start_up_s=36_000.0, flow=BUSY))
    quarter = recommended(measured(start_up_s=900.0, flow=BUSY))
    assert night.scale_in_after_ms == 900_000
    assert night.desired == quarter.desired
    assert "A new worker takes 900 s or longer until it serves (p95)." in explain(night)


def test_until_a_worker_was_seen_starting_a_minute_is_assumed() -> None:
    found = recommended(measured(flow=BUSY, start_up_s=None))
    assert (found.start_up_s, found.start_up_seen) == (60.0, False)
    assert found.warm > 0


def test_a_rollouts_surge_makes_nobody_hold_more_than_were_wanted() -> None:
    """Each plan would ask for one more, else."""
    assert recommended(measured(staying=6, before=5, flow=None)).desired == 5


FLOWS = st.builds(
    flow_of,
    arrivals=st.integers(0, 300),
    departures=st.integers(0, 300),
    minute=st.integers(0, 60),
    blocked=st.integers(0, 5),
    seconds=st.sampled_from([30.0, 60.0, 900.0]),
)


@st.composite
def measurements(draw: st.DrawFn) -> Measured:
    loads = tuple(draw(st.lists(st.integers(1, CAPACITY), max_size=20)))
    return Measured(
        need=len(loads) + draw(st.integers(0, 2)),
        loads=loads,
        staying=draw(st.integers(0, 30)),
        before=draw(st.integers(0, 30)),
        waiting=draw(st.integers(0, 3)),
        session_cost=draw(st.integers(1, CAPACITY)),
        lowest_share=draw(st.floats(0.1, 1)),
        flow=draw(st.none() | FLOWS),
        start_up_s=draw(st.none() | st.floats(0, 300)),
        age_s=draw(st.sampled_from([0.0, 61.0])),
    )


@given(
    measurements(),
    st.sampled_from(list(ScalingMode)),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(0, 3),
    st.none() | st.integers(0, 20),
)
def test_it_stays_between_its_bounds_and_says_why(
    seen: Measured, mode: ScalingMode, least: int, replicas: int, buffer: int, budget: int | None
) -> None:
    found = recommended(
        seen, budget=budget, min=least, replicas=replicas, buffer=buffer, max=16, autoscaling={"mode": mode.value}
    )
    assert 0 <= found.desired <= 16
    assert found.desired <= found.asked
    if budget is None:
        assert found.desired >= min(16, max(least, 0 if mode is ScalingMode.EXTERNAL else replicas))
    assert found.desired >= min(found.cap, seen.need + buffer)
    assert not found.holds or found.desired >= min(seen.staying, seen.before, 16)
    assert explain(found)[0].startswith(("1 worker should", f"{found.desired} workers should"))


@given(measurements(), st.integers(0, 4))
def test_more_sessions_never_ask_for_fewer_workers(seen: Measured, more: int) -> None:
    found = recommended(seen, max=1_000)
    assert found.asked_with(seen.need + more) >= found.asked_with(seen.need)
