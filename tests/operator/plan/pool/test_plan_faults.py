"""What a pool does when something goes wrong: nodes, pods, workers, images, quotas, Redis."""

from genlock_operator.actions import CloseWorker, RetirePod
from genlock_operator.plan.pool.plan import plan_pool
from tests.operator.plan.pool_cluster import Node
from tests.operator.plan.pool_world import DEFAULTS, NODES, World, fill, pool_spec, world


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


def test_a_pool_without_free_gpus_says_so_and_its_pods_show_whoever_adds_nodes_what_is_wanted() -> None:
    pool = world(replicas=2, nodes={"a": 4})
    assert len(pool.created) == 2, "one waits for a node"
    fill(pool, 24)
    pool.run(1)
    assert len(pool.created) == 2 + 8, "one step"
    pool.run(6)
    assert len(pool.created) == 12, "all that are wanted"
    assert pool.condition("ScalingLimited") == "InsufficientGPUs"
    pool.nodes |= {f"new-{number}": Node(4) for number in range(11)}
    pool.run(30)
    assert pool.waiting() == []
    assert len(pool.created) == 12


def test_sessions_that_come_while_a_pod_waits_for_a_node_get_pods_up_to_max() -> None:
    pool = world(replicas=1, max=10, nodes={"a": 0})
    fill(pool, 40)
    pool.run(60)
    assert len(pool.created) == 10
    assert len(pool.workers()) == 10


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


def test_while_redis_is_away_a_node_that_leaves_makes_the_pool_no_larger_than_it_may_be() -> None:
    pool = world(replicas=6, max=6)
    pool.store_answers = False
    pool.nodes["a"].cordoned = True
    pool.run(60)
    assert len(pool.created) == 6
    pool.store_answers = True
    pool.run(60)
    assert "a" not in {pod.facts.node for pod in pool.workers()}


def test_while_redis_is_away_even_what_never_ran_stays_and_the_rest_of_the_plan_goes_on() -> None:
    """Deleting asks Redis first, so a plan that deletes would come to nothing, again and again."""
    pool = World(pool_spec(replicas=2, headroom=1), NODES)
    pool.broken_images.add("worker:4")
    pool.change(template={"image": "worker:4"})
    pool.run(15)
    pool.store_answers = False
    pool.change(template={"image": "worker:2"}, headroom=0)
    pool.run(60)
    assert not [wish for wish in pool.wishes if isinstance(wish, RetirePod)]
    assert len([pod for pod in pool.workers() if pod.facts.ready]) == pool.resource.spec.rollout.surge
    assert len(pool.placeholders()) == 1
    pool.store_answers = True
    pool.run(60)
    assert {pod.image for pod in pool.workers()} == {"worker:2"}
    assert pool.condition("Progressing") == "Settled"
    assert not pool.placeholders()


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
