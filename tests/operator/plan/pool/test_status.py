"""What a pool's status says, and what a session that waits for it is told."""

from dataclasses import replace

from genlock_core.spec.pool import PoolConditionType
from genlock_operator.actions import SetReserve, WritePoolStatus
from genlock_operator.observed import StartUpTimes
from genlock_operator.plan.conditions import find
from genlock_operator.plan.pool.plan import outlook_of, plan_pool
from genlock_operator.plan.pool.start_up import next_worker_ms, percentile, start_up_figures
from tests.operator.plan.pool_cluster import BIND_MS, RUN_MS, WARM_MS
from tests.operator.plan.pool_world import DEFAULTS, fill, world


def test_a_percentile_is_one_of_the_figures() -> None:
    assert [percentile([1.0, 2.0, 3.0, 10.0], share) for share in (0.5, 0.95, 0.0)] == [2.0, 10.0, 1.0]


def test_start_up_is_told_by_phase_in_order_and_only_where_known() -> None:
    starts = [StartUpTimes({"ready": 4.0, "scheduled": 0.5}), StartUpTimes({"scheduled": 1.5})]
    assert [(one.phase, one.p50, one.p95) for one in start_up_figures(starts)] == [
        ("scheduled", 0.5, 1.5),
        ("ready", 4.0, 4.0),
    ]


def test_the_counts_are_those_of_the_pool() -> None:
    pool = world(replicas=3)
    fill(pool, 3)
    pool.run(2)
    status = pool.status
    assert (status.replicas, status.ready, status.updated, status.serving, status.sessions) == (3, 3, 3, 2, 3)
    assert status.free == 1.5
    assert status.observed_generation == 1


def test_the_selector_is_that_of_the_scale_subresource() -> None:
    assert world(replicas=1).status.selector == "genlock.dev/pool=h100,genlock.dev/role=worker"


def test_an_unchanged_status_is_not_written() -> None:
    pool = world(replicas=1)
    plan = plan_pool(pool.seen(), pool.now_ms + 60_000, DEFAULTS)
    assert not [action for action in plan if isinstance(action, WritePoolStatus)]


def test_what_only_redis_knows_stays_while_it_is_away() -> None:
    pool = world(replicas=2)
    fill(pool, 3)
    pool.run(2)
    pool.store_answers = False
    pool.run(2)
    assert (pool.status.sessions, pool.status.ready) == (3, 2)


def test_a_session_that_waits_is_told_that_workers_start() -> None:
    pool = world(replicas=1)
    fill(pool, 4)
    pool.tick()
    outlook = outlook_of(pool.seen(), pool.now_ms)
    assert (outlook.name, outlook.starting, outlook.limit) == ("studio/h100", 1, "")


def test_a_session_that_waits_is_told_what_stands_in_the_way() -> None:
    pool = world(replicas=1, max=1)
    fill(pool, 4)
    pool.run(2)
    assert outlook_of(pool.seen(), pool.now_ms).limit == "AtMax"


def test_a_worker_that_never_gets_ready_is_told_as_failing() -> None:
    pool = world(replicas=1)
    first = pool.workers()[0]
    first.set(ready=False, ready_ms=0)
    pool.processes.clear()
    seen = replace(pool.seen(), workers={})
    assert outlook_of(seen, pool.now_ms).limit == ""
    assert outlook_of(seen, pool.now_ms + 600_000).limit == "WorkersFailing"


def test_a_pool_with_nothing_to_do_says_so() -> None:
    pool = world(replicas=1)
    pool.run(2)

    progressing = find(pool.status.conditions, PoolConditionType.PROGRESSING)
    limited = find(pool.status.conditions, PoolConditionType.SCALING_LIMITED)
    assert progressing is not None
    assert (progressing.status, progressing.reason, progressing.message) == ("False", "Settled", "nothing to do")
    assert limited is not None
    assert (limited.status, limited.message) == ("False", "nothing keeps it from growing")


def test_a_worker_that_is_not_ready_has_no_room_and_pays_for_no_reserve() -> None:
    pool = world(replicas=2, moveReserve="10%")
    pool.run(2)
    assert (pool.status.free, pool.reserve) == (2.0, 200)

    pool.workers()[0].set(ready=False)
    plan = plan_pool(pool.seen(), pool.now_ms, DEFAULTS)
    (status,) = [action.status for action in plan if isinstance(action, WritePoolStatus)]
    assert (status.ready, status.free) == (1, 1.0)
    assert [action.thousandths for action in plan if isinstance(action, SetReserve)] == [100]


def test_the_next_worker_is_expected_after_what_the_last_ones_took_and_one_that_is_late_is_not_expected() -> None:
    took = [StartUpTimes({"ready": seconds}) for seconds in (10.0, 20.0, 90.0)]
    assert next_worker_ms([1_000, 4_000], took, 5_000) == 21_000
    assert next_worker_ms([1_000, 4_000], took, 21_500) == 24_000
    assert next_worker_ms([1_000, 4_000], took, 30_000) is None
    assert next_worker_ms([1_000], (), 5_000) is None, "none has started yet"


def test_a_pool_says_when_its_next_worker_is_expected_while_one_starts() -> None:
    pool = world(replicas=1)
    pool.run(15)
    pool.expected.clear()
    pool.run(1)
    assert pool.expected == [], "none starts"

    pool.change(replicas=2)
    pool.run(1)
    assert pool.expected == sorted(pool.expected, reverse=True), "it comes nearer"
    assert 0 < pool.expected[-1] <= pool.expected[0] <= BIND_MS + RUN_MS + WARM_MS


def test_how_many_workers_serve_stays_too_while_redis_is_away() -> None:
    pool = world(replicas=2)
    fill(pool, 3)
    pool.run(2)
    serving = pool.status.serving
    assert serving > 0

    seen = replace(pool.seen(), store_answers=False, workers={})
    (written,) = [one for one in plan_pool(seen, pool.now_ms, DEFAULTS) if isinstance(one, WritePoolStatus)]
    assert written.status.serving == serving
