"""What a pool does over time, in a world of nodes, pods and workers: each test one story, each step checked by it."""

from dataclasses import replace

import pytest

from genlock_operator.actions import LookAgain, Tell
from genlock_operator.plan.pool.outcome import outcome_of
from genlock_operator.plan.pool.plan import LOOK_IDLE_MS, plan_pool
from genlock_operator.reasons import EventReason
from tests.operator.plan.pool_world import DEFAULTS, fill, world


def test_a_new_pool_gets_its_replicas() -> None:
    pool = world(replicas=3)
    assert [pool.status.desired, pool.status.ready, len(pool.workers())] == [3, 3, 3]
    assert pool.condition("Available") == "Ready"
    assert pool.condition("Progressing") == "Settled"


def test_a_settled_pool_wants_nothing_done() -> None:
    pool = world(replicas=3)
    assert [type(action).__name__ for action in pool.wishes] == ["ShowScaling", "LookAgain"]


def test_a_pool_without_workers_is_looked_at_too_as_its_schedule_may_begin() -> None:
    pool = world(replicas=0)
    assert pool.workers() == []
    assert pool.wishes[-1] == LookAgain(pool.now_ms + LOOK_IDLE_MS)


def test_a_flood_of_sessions_makes_workers_at_once() -> None:
    pool = world(replicas=1)
    fill(pool, 8)
    pool.tick()
    assert pool.status.desired == 4
    pool.run(15)
    assert pool.waiting() == []
    assert len(pool.created) == 4


def test_a_pool_at_its_max_says_so() -> None:
    pool = world(replicas=1, max=2)
    fill(pool, 8)
    pool.run(30)
    assert len(pool.workers()) == 2
    assert pool.condition("ScalingLimited") == "AtMax"
    assert len(pool.waiting()) == 4


def test_too_many_workers_leave_only_after_a_while() -> None:
    pool = world(replicas=4, scaleInAfter="60s")
    pool.change(replicas=1)
    pool.run(55)
    assert len(pool.workers()) == 4
    assert pool.status.surplus_since is not None
    pool.run(30)
    assert len(pool.workers()) == 1
    assert pool.status.surplus_since is None


def test_scale_in_moves_sessions_to_fewer_workers() -> None:
    pool = world(replicas=4, scaleInAfter="10s")
    fill(pool, 8)
    pool.run(2)
    for number in (1, 3, 5, 7):
        pool.leave(f"studio/s{number}")
    pool.change(replicas=0)
    pool.run(60)
    assert len(pool.workers()) == 2
    assert pool.waiting() == []


def test_a_lowered_max_drains_whose_sessions_fit_elsewhere() -> None:
    pool = world(replicas=3, scaleInAfter="1h")
    fill(pool, 3, cost=400)
    pool.run(2)
    pool.change(replicas=0, max=2)
    pool.run(10)
    assert len(pool.workers()) == 2
    assert pool.waiting() == []


def test_a_lowered_max_cuts_nobody_who_fits_nowhere() -> None:
    pool = world(replicas=3, scaleInAfter="1s")
    fill(pool, 3, cost=900)
    pool.run(2)
    pool.change(replicas=0, max=2)
    pool.run(120)
    assert len(pool.workers()) == 3
    assert pool.waiting() == []


def test_a_rollout_replaces_every_worker_and_waits_for_each_new_one() -> None:
    pool = world(replicas=4)
    fill(pool, 6)
    pool.run(2)
    pool.change(template={"image": "worker:2"})
    for _ in range(240):
        pool.tick()
        assert sum(process.free >= 0 and not process.closed for process in pool.processes.values()) >= 4
    assert {pod.image for pod in pool.workers()} == {"worker:2"}
    assert pool.waiting() == []
    assert pool.condition("Progressing") == "Settled"
    assert len(pool.created) == 8


def test_placeholders_make_way_for_workers_and_come_back_when_there_is_room() -> None:
    pool = world(replicas=1, nodes={"a": 12}, headroom=1, scaleInAfter="10s")
    assert len(pool.placeholders()) == 1
    fill(pool, 6)
    pool.run(20)
    assert len(pool.workers()) == 3
    assert [pod for pod in pool.placeholders() if pod.facts.node] == []
    for number in range(6):
        pool.leave(f"studio/s{number}")
    pool.run(120)
    assert len([pod for pod in pool.placeholders() if pod.facts.node]) == 1


def test_placeholders_go_when_the_spec_says_so() -> None:
    pool = world(replicas=1, headroom=2)
    pool.change(headroom=0)
    pool.run(5)
    assert pool.placeholders() == []


def test_under_a_quota_a_worker_comes_before_a_placeholder() -> None:
    pool = world(replicas=1, headroom=1, quota=2)
    fill(pool, 4)
    pool.run(60)
    assert len(pool.workers()) == 2


def test_labels_follow_the_sessions() -> None:
    pool = world(replicas=1)
    pool.arrive("studio/one")
    pool.run(2)
    (pod,) = pool.workers()
    assert (pod.facts.state, pod.facts.protected) == ("Serving", True)
    pool.leave("studio/one")
    pool.run(2)
    assert (pod.facts.state, pod.facts.protected) == ("Warm", False)


def test_the_reserve_follows_the_workers() -> None:
    pool = world(replicas=3, moveReserve="10%")
    assert pool.reserve == 300
    pool.change(moveReserve="0%")
    pool.run(2)
    assert pool.reserve == 0


def test_a_pool_that_is_deleted_is_left_to_the_garbage_collection() -> None:
    pool = world(replicas=2)
    seen = pool.seen()
    gone = replace(seen, resource=replace(seen.resource, meta=replace(seen.resource.meta, deleting=True)))
    assert plan_pool(gone, pool.now_ms, DEFAULTS) == []


@pytest.mark.parametrize("reason", ["AtMax", "InsufficientGPUs"])
def test_a_limit_is_told_once_as_an_event(reason: str) -> None:
    pool = world(replicas=1, max=1) if reason == "AtMax" else world(replicas=1, nodes={"a": 4})
    fill(pool, 4)
    pool.run(60)
    assert pool.told.count(reason) == 1


def test_no_placeholder_is_made_while_a_worker_finds_no_room() -> None:
    pool = world(replicas=2, nodes={"a": 4}, headroom=0)
    pool.change(headroom=1)
    pool.run(10)
    assert pool.condition("ScalingLimited") == "InsufficientGPUs"
    assert pool.placeholders() == []


def test_it_is_told_who_leaves_with_how_many_sessions_and_who_is_deleted_at_once() -> None:
    pool = world(replicas=2)
    fill(pool, 2)
    pool.run(2)
    busy, idle = sorted(pool.workers(), key=lambda pod: -len(pool.processes[pod.name].sessions))
    assert len(pool.processes[busy.name].sessions) == 2
    pool.nodes[busy.facts.node].cordoned = True
    idle.set(node=busy.facts.node)
    told = {
        action.message.split(" ")[0]: (action.reason, action.message)
        for action in plan_pool(pool.seen(), pool.now_ms, DEFAULTS)
        if isinstance(action, Tell) and action.reason.startswith("Worker")
    }
    reason, message = told[busy.name]
    assert reason == EventReason.WORKER_DRAINING.value
    assert message.startswith(f"{busy.name} leaves: ")
    assert message.endswith("; 2 sessions move first")
    reason, message = told[idle.name]
    assert reason == EventReason.WORKER_DELETED.value
    assert message.startswith(f"{idle.name} is deleted: ")


def test_one_that_must_leave_takes_no_useless_one_of_the_old_revision_with_it() -> None:
    """Both go, each for its own reason, and nobody goes twice."""
    pool = world(replicas=3)
    forced, useless, both = pool.workers()
    for pod in (useless, both):
        pod.set(revision="old", ready=False)
    for pod in (forced, both):
        pod.set(node="leaving")
    pool.nodes["leaving"] = replace(pool.nodes["a"], cordoned=True)
    outcome = outcome_of(pool.seen(), pool.now_ms, DEFAULTS)
    reasons = [(leaver.worker.name, "old revision" in leaver.why) for leaver in outcome.begins]
    assert sorted(reasons) == sorted([(forced.name, False), (useless.name, True), (both.name, False)])
