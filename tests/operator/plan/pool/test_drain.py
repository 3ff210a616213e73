"""How a worker leaves, step by step, and what its pod says meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from genlock_core.claims.facts import MoveCause, WorkerState
from genlock_core.sizing.measured import to_json
from genlock_core.spec.session import Resolution
from genlock_operator.actions import CloseWorker, MoveSession, RetirePod
from genlock_operator.observed import PodState
from genlock_operator.plan.policy import DRAINING_SINCE_ANNOTATION, KEEP_ANNOTATIONS, STATE_LABEL
from genlock_operator.plan.pool.drain import FAILED_KEPT_MS, Leaver, finished, mark, must_leave, see_out
from genlock_operator.plan.pool.members import Member, members_of
from tests.operator.plan.pool_cluster import START_MS
from tests.operator.plan.pool_world import DEFAULTS, World, pool_spec

LATER_MS = START_MS + 600_000


def settled(**spec: Any) -> World:
    made = World(pool_spec(replicas=2, **spec), {"a": 8, "b": 8})
    made.run(15)
    return made


def worker(*sessions: str, closed: bool = False, **pod: Any) -> Member:
    """A running worker with these sessions; `pod` changes its facts."""
    world = settled()
    name = world.workers()[0].name
    process = world.processes[name]
    process.sessions, process.closed = dict.fromkeys(sessions, 100), closed
    return Member(replace(world.pods[name].facts, **pod), world.seen().workers[name])


def steps(one: Member) -> list[type]:
    return [type(step) for step in see_out(Leaver(one, "it must"))]


# -- the steps ---------------------------------------------------------------------------------------------------------


def test_a_worker_with_sessions_is_closed_and_its_sessions_are_moved() -> None:
    first, *moves = see_out(Leaver(worker("a/1", "a/2"), "it must"))
    assert isinstance(first, CloseWorker)
    assert moves == [MoveSession("a/1", 1, MoveCause.DRAIN), MoveSession("a/2", 1, MoveCause.DRAIN)]


def test_a_closed_worker_is_not_closed_again() -> None:
    assert steps(worker("a/1", closed=True)) == [MoveSession]


def test_a_worker_without_sessions_is_retired_under_its_identity() -> None:
    one = worker(closed=True)
    (step,) = see_out(Leaver(one, "it must"))
    assert isinstance(step, RetirePod)
    assert one.view is not None
    assert step.worker == one.view.identity


# -- the marks ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_serves_is_marked_and_kept() -> None:
    found = mark(worker("a/1"), leaves=False, now_ms=START_MS)
    assert found is not None
    assert found.labels == {STATE_LABEL: "Serving"}
    assert found.annotations == KEEP_ANNOTATIONS


def test_a_worker_that_is_empty_again_is_let_go() -> None:
    found = mark(worker(state="Serving", protected=True), leaves=False, now_ms=START_MS)
    assert found is not None
    assert found.labels == {STATE_LABEL: "Warm"}
    assert found.annotations == dict.fromkeys(KEEP_ANNOTATIONS)


def test_what_is_said_already_is_not_said_again() -> None:
    assert mark(worker("a/1", state="Serving", protected=True), leaves=False, now_ms=START_MS) is None
    assert mark(worker(state="Warm"), leaves=False, now_ms=START_MS) is None


def test_a_drain_is_dated_once() -> None:
    first = mark(worker("a/1", state="Serving", protected=True), leaves=True, now_ms=START_MS)
    assert first is not None
    assert first.annotations == {DRAINING_SINCE_ANNOTATION: "2027-01-15T08:00:00Z"}
    again = worker("a/1", state="Serving", protected=True, draining_since_ms=START_MS)
    assert mark(again, leaves=True, now_ms=LATER_MS) is None


@pytest.mark.parametrize(("sessions", "state"), [(("a/1",), PodState.SERVING), ((), PodState.DRAINING)])
def test_a_worker_that_leaves_counts_as_serving_until_nobody_is_left(
    sessions: tuple[str, ...], state: PodState
) -> None:
    found = mark(worker(*sessions, state="Warm"), leaves=True, now_ms=START_MS)
    assert found is not None
    assert found.labels == {STATE_LABEL: state.value}


def test_nothing_is_said_of_a_worker_that_redis_does_not_know() -> None:
    assert mark(replace(worker(state="Serving"), view=None), leaves=False, now_ms=START_MS) is None


# -- who cannot stay ---------------------------------------------------------------------------------------------------


def reasons(world: World, *, now_ms: int | None = None) -> dict[str, str]:
    seen = world.seen()
    revision = world.status.revision
    leavers = must_leave(members_of(seen, revision), seen, DEFAULTS, now_ms or world.now_ms)
    return {leaver.worker.name: leaver.why for leaver in leavers}


def test_everybody_may_stay_in_a_healthy_pool() -> None:
    assert reasons(settled()) == {}


def test_the_node_comes_before_the_annotation() -> None:
    world = settled()
    first, second = world.workers()
    world.nodes["a"].cordoned = True
    for pod in (first, second):
        pod.set(drain_asked=True, node="a" if pod is first else "b")
    assert "node a" in reasons(world)[first.name]
    assert "asked" in reasons(world)[second.name]


def test_a_node_that_may_not_be_read_is_no_reason() -> None:
    world = settled()
    world.nodes.clear()
    assert reasons(world) == {}


def test_a_silent_worker_is_stuck_only_after_a_while() -> None:
    world = settled()
    process = world.processes[world.workers()[0].name]
    process.heartbeat_ms = world.now_ms - 40_000
    world.workers()[0].set(started_ms=world.now_ms - 10_000)
    assert reasons(world) == {}
    world.workers()[0].set(started_ms=world.now_ms - 60_000)
    assert list(reasons(world)) == [world.workers()[0].name]


def test_a_ready_pod_that_never_registers_is_stuck() -> None:
    world = settled()
    first = world.workers()[0]
    del world.processes[first.name]
    assert reasons(world) == {}
    assert reasons(world, now_ms=world.now_ms + 60_000) == {first.name: "it is ready, but has not registered"}


def test_a_container_that_fails_while_others_run_is_given_up_after_long() -> None:
    world = settled(rollout={"stalledAfter": "60s"})
    first = world.workers()[0]
    first.set(failing="CrashLoopBackOff: exit 1", ready=False)
    assert reasons(world) == {}
    assert list(reasons(world, now_ms=world.now_ms + 120_000)) == [first.name]


def test_one_that_does_not_start_is_made_anew_once_its_model_has_been_measured() -> None:
    """A mock of a model that nobody measured fails until it is told a speed, which only a new pod is."""
    world = settled()
    measured = {Resolution(width=832, height=480): {1: 20.0}}
    first, second = world.workers()
    del world.processes[first.name]
    first.set(failing="CrashLoopBackOff: exit 2", ready=False, ready_ms=0)

    def leaving(**seen: Any) -> list[str]:
        observed = replace(world.seen(), **seen)
        leavers = must_leave(members_of(observed, world.status.revision), observed, DEFAULTS, world.now_ms)
        return [leaver.worker.name for leaver in leavers]

    assert leaving() == []
    assert leaving(measured=measured) == [first.name]
    first.set(told=to_json(measured))
    assert leaving(measured=measured) == []
    assert second.facts.told == ""


def test_without_redis_nobody_is_called_stuck() -> None:
    world = settled()
    world.store_answers = False
    assert reasons(world, now_ms=world.now_ms + 600_000) == {}


def test_a_pod_that_failed_before_it_was_ready_is_kept_for_a_while() -> None:
    world = settled()
    first = world.workers()[0]
    world.fail_pod(first.name)
    members = members_of(world.seen(), world.status.revision)
    assert [leaver.worker.name for leaver in finished(members, world.now_ms)] == [first.name]
    first.set(ready_ms=0, meta=replace(first.facts.meta, created_ms=world.now_ms))
    members = members_of(world.seen(), world.status.revision)
    assert finished(members, world.now_ms + FAILED_KEPT_MS - 1) == ()
    assert len(finished(members, world.now_ms + FAILED_KEPT_MS)) == 1


def test_a_closed_worker_is_leaving_whatever_its_pod_says() -> None:
    world = settled()
    name = world.workers()[0].name
    world.processes[name].closed = True
    (leaving,) = members_of(world.seen(), world.status.revision).leaving
    assert leaving.name == name
    assert leaving.view is not None
    assert leaving.view.state is WorkerState.DRAINING


def test_a_drain_that_redis_forgot_is_known_from_the_pod() -> None:
    world = settled()
    first = world.workers()[0]
    first.set(draining_since_ms=START_MS)
    assert [worker.name for worker in members_of(world.seen(), world.status.revision).leaving] == [first.name]
