"""What a pool does over time, in a world of nodes, pods and workers: each test one story, each step checked by it."""

from dataclasses import replace

import pytest

from genlock_operator.actions import CloseWorker, RetirePod
from genlock_operator.plan.pool import plan_pool
from tests.operator.plan.pool_world import DEFAULTS, World, pool_spec

NODES = {"a": 8, "b": 8, "c": 8}


def world(*, nodes: dict[str, int] | None = None, quota: int | None = None, **spec: object) -> World:
    made = World(pool_spec(**spec), nodes or dict(NODES), quota=quota)
    made.run(15)
    return made


def fill(made: World, count: int, cost: int = 500) -> None:
    for number in range(count):
        made.arrive(f"studio/s{number}", cost)


def test_a_new_pool_gets_its_replicas() -> None:
    pool = world(replicas=3)
    assert [pool.status.desired, pool.status.ready, len(pool.workers())] == [3, 3, 3]
    assert pool.condition("Available") == "Ready"
    assert pool.condition("Progressing") == "Settled"


def test_a_settled_pool_wants_nothing_done() -> None:
    pool = world(replicas=3)
    assert [type(action).__name__ for action in pool.wishes] == ["LookAgain"]


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


def test_a_rollout_to_a_broken_image_stalls_and_leaves_the_old_workers_alone() -> None:
    pool = world(replicas=3, rollout={"surge": 1, "stalledAfter": "60s"})
    fill(pool, 6)
    pool.run(2)
    pool.broken_images.add("worker:broken")
    pool.change(template={"image": "worker:broken"})
    pool.run(90)
    assert pool.condition("Progressing") == "Stalled"
    assert pool.condition("ScalingLimited") == "WorkersFailing"
    assert sorted(pod.image for pod in pool.workers()) == ["worker:1", "worker:1", "worker:1", "worker:broken"]
    assert pool.waiting() == []


def test_a_mended_template_takes_the_broken_workers_away_and_goes_on() -> None:
    pool = world(replicas=3)
    pool.broken_images.add("worker:broken")
    pool.change(template={"image": "worker:broken"})
    pool.run(30)
    pool.change(template={"image": "worker:3"})
    pool.run(120)
    assert [pod.image for pod in pool.workers()] == ["worker:3"] * 3


def test_a_broken_image_does_not_fill_the_cluster() -> None:
    pool = World(pool_spec(replicas=2), dict(NODES))
    pool.broken_images.add("worker:1")
    pool.run(120)
    fill(pool, 20)
    pool.run(600)
    assert len(pool.created) == 2


def test_a_cordoned_node_is_emptied_and_its_workers_replaced() -> None:
    pool = world(replicas=4)
    fill(pool, 8)
    pool.run(2)
    pool.nodes["a"].cordoned = True
    pool.run(60)
    assert {pod.facts.node for pod in pool.workers()} == {"b", "c"}
    assert len(pool.workers()) == 4
    assert pool.waiting() == []


def test_an_uncordoned_node_does_not_bring_a_closed_worker_back() -> None:
    pool = world(replicas=2)
    fill(pool, 2, cost=900)
    pool.run(2)
    first = {pod.name for pod in pool.workers()}
    pool.nodes["a"].cordoned = True
    pool.tick()
    pool.nodes["a"].cordoned = False
    pool.run(60)
    assert first.isdisjoint(pod.name for pod in pool.workers())
    assert len(pool.workers()) == 2


def test_a_drain_without_room_elsewhere_serves_on_and_says_that_it_is_overdue() -> None:
    pool = world(replicas=1, nodes={"a": 4}, drain={"timeout": "30s"})
    fill(pool, 1)
    pool.run(2)
    pool.nodes["a"].cordoned = True
    pool.run(60)
    (process,) = pool.processes.values()
    assert list(process.sessions) == ["studio/s0"]
    assert pool.condition("Progressing") == "DrainOverdue"


def test_a_worker_that_drains_with_sessions_stays_protected() -> None:
    pool = world(replicas=1, nodes={"a": 4})
    fill(pool, 1)
    pool.run(2)
    pool.nodes["a"].cordoned = True
    pool.run(5)
    (pod,) = [pod for pod in pool.workers() if pod.facts.draining_since_ms]
    assert (pod.facts.state, pod.facts.protected) == ("Serving", True)


def test_workers_of_a_lost_node_are_replaced_once_their_pods_are_given_up() -> None:
    pool = world(replicas=4)
    fill(pool, 8)
    pool.run(2)
    pool.nodes["a"].lost = True
    pool.run(60)
    assert len(pool.workers()) == 4
    assert "a" not in {pod.facts.node for pod in pool.workers()}
    assert pool.waiting() == []


def test_a_stuck_worker_is_replaced() -> None:
    pool = world(replicas=3)
    stuck = pool.workers()[0]
    stuck.stuck = True
    pool.run(60)
    assert stuck.name not in pool.pods
    assert len(pool.workers()) == 3
    assert len(pool.created) == 4


def test_a_silence_of_most_workers_replaces_them_one_at_a_time() -> None:
    pool = world(replicas=3)
    for pod in pool.workers():
        pod.stuck = True
    pool.run(33)
    assert [pod.stuck for pod in pool.workers()].count(True) == 2
    pool.run(60)
    assert not any(pod.stuck for pod in pool.workers())


def test_heartbeats_from_before_an_outage_of_redis_say_nothing() -> None:
    pool = world(replicas=1)
    pool.arrive("studio/one")
    pool.run(2)
    before, process = pool.now_ms, pool.processes[pool.workers()[0].name]
    pool.run(120)
    process.heartbeat_ms = before
    pool.store_since_ms = pool.now_ms
    plan = plan_pool(pool.seen(), pool.now_ms + 1_000, DEFAULTS)
    assert not [action for action in plan if isinstance(action, CloseWorker | RetirePod)]


def test_a_person_asks_for_a_drain_by_annotation() -> None:
    pool = world(replicas=2)
    fill(pool, 2)
    pool.run(2)
    asked = pool.workers()[0]
    asked.set(drain_asked=True)
    pool.run(30)
    assert asked.name not in pool.pods
    assert len(pool.workers()) == 2
    assert pool.waiting() == []


def test_a_quota_is_told_in_the_words_of_the_api_server_and_tried_again() -> None:
    pool = world(replicas=3, quota=2)
    assert pool.condition("ScalingLimited") == "QuotaExceeded"
    assert "exceeded quota: pods=2" in next(
        one.message for one in pool.status.conditions if one.type == "ScalingLimited"
    )
    pool.quota = None
    pool.run(20)
    assert len(pool.workers()) == 3
    assert pool.condition("ScalingLimited") == "Unlimited"


def test_a_pool_without_free_gpus_says_so_and_makes_no_more_pods() -> None:
    pool = world(replicas=2, nodes={"a": 4})
    fill(pool, 20)
    pool.run(60)
    assert len(pool.created) == 2
    assert pool.condition("ScalingLimited") == "InsufficientGPUs"


def test_while_redis_is_away_nobody_is_drained_or_deleted() -> None:
    pool = world(replicas=3, scaleInAfter="1s")
    fill(pool, 3)
    pool.run(2)
    pool.store_answers = False
    pool.change(replicas=0, template={"image": "worker:2"})
    pool.nodes["a"].cordoned = True
    pool.run(60)
    assert {pod.image for pod in pool.workers()} >= {"worker:1"}
    assert sum(len(process.sessions) for process in pool.processes.values()) == 3


def test_a_failed_pod_is_replaced() -> None:
    pool = world(replicas=2)
    failed = pool.workers()[0].name
    pool.fail_pod(failed)
    pool.run(30)
    assert failed not in pool.pods
    assert len(pool.workers()) == 2


def test_a_node_that_refuses_every_pod_gets_few_of_them() -> None:
    pool = world(replicas=1)
    pool.kill_pod(pool.workers()[0].name)
    for _ in range(600):
        for pod in pool.workers():
            if pod.facts.node and pod.alive:
                pool.fail_pod(pod.name)
        pool.tick()
    assert len(pool.created) < 15


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
