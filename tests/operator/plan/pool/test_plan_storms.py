"""A pool under any sequence of mishaps, with an operator that dies anywhere: nobody is cut, and it settles."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from genlock_operator.actions import CreatePod, RetirePod
from tests.operator.plan.pool_world import NODES, World, pool_spec

mishaps = st.one_of(
    st.tuples(st.just("arrive"), st.integers(0, 9), st.sampled_from([100, 250, 333, 500, 1_000])),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("cordon"), st.sampled_from("abc")),
    st.tuples(st.just("uncordon"), st.sampled_from("abc")),
    st.tuples(st.just("lose"), st.sampled_from("abc")),
    st.tuples(st.just("kill"), st.integers(0, 9)),
    st.tuples(st.just("fail"), st.integers(0, 9)),
    st.tuples(st.just("hang"), st.integers(0, 9)),
    st.tuples(st.just("image"), st.integers(1, 4)),
    st.tuples(st.just("replicas"), st.integers(0, 6)),
    st.tuples(st.just("max"), st.integers(1, 6)),
    st.tuples(st.just("buffer"), st.integers(0, 2)),
    st.tuples(st.just("headroom"), st.integers(0, 2)),
    st.tuples(st.just("redis"), st.booleans()),
    st.tuples(st.just("quota"), st.integers(1, 8)),
    st.tuples(st.just("wait"), st.integers(1, 20)),
    st.tuples(st.just("crash"), st.integers(0, 6)),
)


def befall(world: World, mishap: tuple[object, ...]) -> None:
    workers = world.workers()
    match mishap:
        case ("arrive", int(number), int(cost)):
            if f"studio/s{number}" not in world.costs:
                world.arrive(f"studio/s{number}", cost)
        case ("leave", number):
            world.leave(f"studio/s{number}")
        case ("cordon", str(node)):
            world.nodes[node].cordoned = True
        case ("uncordon", str(node)):
            world.nodes[node].cordoned = world.nodes[node].lost = False
        case ("lose", str(node)):
            world.nodes[node].lost = True
        case ("kill", int(number)) if workers:
            world.kill_pod(workers[number % len(workers)].name)
        case ("fail", int(number)) if workers:
            world.fail_pod(workers[number % len(workers)].name)
        case ("hang", int(number)) if workers:
            workers[number % len(workers)].stuck = True
        case ("image", number):
            world.change(template={"image": f"worker:{number}"})
        case ("redis", bool(answers)):
            world.store_answers = answers
        case ("quota", int(count)):
            world.quota = count
        case ("wait", int(ticks)):
            world.run(ticks, tick_ms=1_000)
        case ("crash", int(after)):
            world.tick(crash_after=after)
        case (("replicas" | "max" | "buffer" | "headroom") as name, count):
            world.change(**{name: count})


def heal(world: World) -> None:
    """Everything works again, and there is room for everybody."""
    for node in world.nodes.values():
        node.cordoned = node.lost = False
        node.gpus = 40
    world.broken_images.clear()
    world.store_answers, world.quota = True, None
    for pod in world.pods.values():
        pod.stuck = False
    world.change(max=12, headroom=0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mishaps, max_size=25), st.booleans())
@example([("kill", 0), ("redis", False), ("wait", 1), ("leave", 0), ("leave", 0), ("cordon", "a")], True)
@example([("image", 2), ("max", 1)], True)
@example([("replicas", 5), ("image", 2)], True)
def test_nobody_is_cut_and_it_settles(sequence: list[tuple[object, ...]], lag: bool) -> None:
    world = World(pool_spec(replicas=2, max=6, scaleInAfter="10s"), NODES)
    world.broken_images.add("worker:4")
    world.lag = lag
    world.run(10)
    for mishap in sequence:
        befall(world, mishap)  # every action is checked by the world
        world.tick()
    heal(world)
    world.run(600, tick_ms=5_000)
    assert world.waiting() == []
    assert world.condition("Progressing") == "Settled"
    assert world.condition("Available") == "Ready"
    created = len(world.created)
    world.run(120, tick_ms=5_000)
    assert len(world.created) == created
    assert not [action for action in world.wishes if isinstance(action, CreatePod | RetirePod)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40))
def test_an_operator_that_dies_between_any_two_actions_makes_no_pod_twice(crashes: list[int]) -> None:
    world = World(pool_spec(replicas=3, max=6), NODES)
    for session in range(6):
        world.arrive(f"studio/s{session}", 500)
    for after in crashes:
        world.tick(crash_after=after)
    world.change(template={"image": "worker:2"})
    for after in crashes:
        world.tick(crash_after=after)
    world.run(90)
    assert world.waiting() == []
    assert {pod.image for pod in world.workers()} == {"worker:2"}
    assert len(world.created) <= 6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.sampled_from([100, 250, 500])), max_size=60))
def test_sessions_that_come_and_go_do_not_make_workers_come_and_go(traffic: list[tuple[int, int]]) -> None:
    world = World(pool_spec(replicas=0, max=6, buffer=1, scaleInAfter="60s"), NODES)
    most = 0
    for number, cost in traffic:
        session = f"studio/s{number}"
        if session in world.costs:
            world.leave(session)
        else:
            world.arrive(session, cost)
        world.tick()
        most = max(most, world.status.desired)
    assert len(world.created) <= most
