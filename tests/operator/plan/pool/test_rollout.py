"""Who of the old revision may go, and when a rollout counts as stalled."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_operator.plan.pool.members import Member, Members, members_of
from genlock_operator.plan.pool.rollout import relieved, stalled, useless
from tests.operator.plan.pool_world import World, pool_spec

SPEC = pool_spec(rollout={"surge": 1, "stalledAfter": "60s"})


def pool(*, old: int, new: int, unready: int = 0, loads: dict[int, int] | None = None) -> tuple[Members, int]:
    """Ready workers of both revisions, `unready` more of the new one, and the time; `loads` by index, old first."""
    world = World(pool_spec(replicas=old + new + unready), {"a": 80})
    world.run(15)
    for index, pod in enumerate(world.workers()):
        if index < old:
            pod.set(revision="old")
        elif index >= old + new:
            pod.set(ready=False, ready_ms=0)
        world.processes[pod.name].sessions = {f"s/{index}": load} if (load := (loads or {}).get(index, 0)) else {}
    return members_of(world.seen(), world.status.revision), world.now_ms


def names(workers: tuple[Member, ...]) -> list[int]:
    return [int(worker.name.rpartition("-")[2]) for worker in workers]


def test_nobody_goes_before_a_new_one_is_ready() -> None:
    members, now_ms = pool(old=3, new=0, unready=1)
    assert relieved(members, SPEC, 3, now_ms) == ()


def test_one_goes_for_one_that_is_ready() -> None:
    members, now_ms = pool(old=3, new=1)
    assert len(relieved(members, SPEC, 3, now_ms)) == 1


def test_the_emptiest_goes_first() -> None:
    members, now_ms = pool(old=3, new=1, loads={0: 500, 1: 100, 2: 300})
    assert names(relieved(members, SPEC, 3, now_ms)) == [1]


def test_while_one_leaves_with_sessions_the_next_waits() -> None:
    members, now_ms = pool(old=3, new=2, loads={0: 500})
    busy = members.without([worker for worker in members.staying if worker.load])
    assert relieved(busy, SPEC, 3, now_ms) == ()


def test_a_wider_surge_lets_more_go_at_once() -> None:
    members, now_ms = pool(old=4, new=2)
    assert len(relieved(members, pool_spec(rollout={"surge": 2}), 4, now_ms)) == 2


def test_a_new_worker_that_never_gets_ready_stalls_it() -> None:
    members, now_ms = pool(old=3, new=1, unready=1)
    assert stalled(members, SPEC, now_ms) == ()
    assert len(stalled(members, SPEC, now_ms + 60_000)) == 1


def test_nobody_goes_while_it_is_stalled() -> None:
    members, now_ms = pool(old=3, new=1, unready=1)
    assert relieved(members, SPEC, 3, now_ms + 60_000) == ()


def test_a_worker_that_was_ready_once_does_not_stall_it() -> None:
    members, now_ms = pool(old=0, new=1)
    (one,) = members.staying
    unwell = replace(members, staying=(replace(one, pod=replace(one.pod, ready=False)),))
    assert stalled(unwell, SPEC, now_ms + 600_000) == ()


def test_an_old_worker_that_is_not_ready_and_serves_nobody_is_useless() -> None:
    members, _ = pool(old=2, new=0)
    idle, busy = (replace(worker, pod=replace(worker.pod, ready=False)) for worker in members.staying)
    assert busy.view is not None
    busy = replace(busy, view=replace(busy.view, sessions={"s/1": 1}))
    assert useless(replace(members, staying=(idle, busy))) == (idle,)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 8), st.integers(1, 3))
def test_there_are_never_fewer_ready_workers_than_wanted_for_a_rollout(
    old: int, new: int, unready: int, want: int, surge: int
) -> None:
    members, now_ms = pool(old=old, new=new, unready=unready)
    spec: Any = pool_spec(rollout={"surge": surge})
    gone = relieved(members, spec, want, now_ms)
    assert len(gone) <= surge
    assert not gone or old + new - len(gone) >= want
