"""How many workers sessions need, and who goes when there are too many."""

import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import CAPACITY, WorkerIdentity
from genlock_core.claims.pulse import Vitals
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_operator.autoscale.recommend import Measured, Recommendation, recommend_by_need
from genlock_operator.observed import Meta, PodFacts, PodRole, PoolSeen
from genlock_operator.plan.pool.members import Member, Members, members_of
from genlock_operator.plan.pool.scale import missing, need_of, needed, place, surplus, victims
from tests.operator.plan.pool_cluster import START_MS, Process
from tests.operator.plan.pool_world import World, pool_spec, resource_of

blocks = st.lists(st.integers(1, CAPACITY), max_size=40)
LOADS = st.lists(st.integers(0, CAPACITY), max_size=25)


def members(loads: list[int], *, revision: str = "new", outdated: int = 0) -> Members:
    """Ready workers with these loads; the first `outdated` are of an old revision."""
    world = World(pool_spec(), {"a": 4})
    pods, views = [], {}
    for number, load in enumerate(loads):
        name = f"w{number:02}"
        pods.append(
            PodFacts(
                meta=Meta("studio", name, name, 1, "1", START_MS, deleting=False),
                pool="h100",
                role=PodRole.WORKER,
                revision="old" if number < outdated else revision,
                state="Warm",
                phase="Running",
                ready=True,
                node="a",
                started_ms=START_MS,
                ready_ms=START_MS,
            )
        )
        sessions = {f"studio/{name}": load} if load else {}
        views[name] = world.view(Process(WorkerIdentity(name, name), heartbeat_ms=world.now_ms, sessions=sessions))
    return members_of(PoolSeen(resource_of(pool_spec()), tuple(pods), views), revision)


def rule(before: Members, spec: WorkerPoolSpec, waiting: Sequence[int] = ()) -> Recommendation:
    """What its sessions need, and its buffer."""
    need = need_of(before, spec, waiting)
    return recommend_by_need(Measured(need=need.workers, loads=need.loads, staying=len(before.staying)), spec, START_MS)


def wanted_by(before: Members, spec: WorkerPoolSpec, waiting: Sequence[int] = ()) -> int:
    return rule(before, spec, waiting).desired


def leaving(before: Members, spec: WorkerPoolSpec, count: int) -> tuple[Member, ...]:
    return victims(before, spec, [], count, by=rule(before, spec))


@given(blocks, LOADS)
def test_placing_loses_nothing_and_overfills_nobody(wanting: list[int], loads: list[int]) -> None:
    after = place(wanting, loads)
    assert sum(after) == sum(wanting) + sum(loads)
    assert max(after, default=0) <= CAPACITY


@given(blocks)
def test_packing_is_never_below_the_sum_and_never_twice_of_it(wanting: list[int]) -> None:
    least = math.ceil(sum(wanting) / CAPACITY)
    assert least <= needed(wanting, []).workers <= max(least, 2 * least - 1)


def test_a_session_goes_to_the_fullest_worker_with_room() -> None:
    assert place([300], [600, 200, 800]) == [200, 800, 900]


def test_packing_fills_workers_with_what_fits_together() -> None:
    assert needed([300, 700, 600, 400], []).loads == (1_000, 1_000)


@given(LOADS)
def test_sessions_that_have_workers_never_need_more_of_them(loads: list[int]) -> None:
    assert needed(loads, []).workers <= sum(load > 0 for load in loads)


@given(LOADS, blocks)
def test_what_is_needed_is_enough_as_things_stand_or_packed(loads: list[int], waiting: list[int]) -> None:
    need = needed(loads, waiting).workers
    busy = [load for load in loads if load]
    fits = len(place(sorted(waiting, reverse=True), busy)) == len(busy)
    if fits:
        assert need <= len(busy)
    else:
        assert need > len(busy)  # somebody waits who needs a new worker


def test_a_session_that_would_only_fit_if_others_moved_gets_a_worker() -> None:
    assert needed([500, 300], [800]).workers == 3


def test_a_session_that_fits_as_things_stand_asks_for_nobody() -> None:
    assert needed([500, 300], [500]).workers == 2


def test_a_reserve_makes_room_for_itself() -> None:
    assert needed([1_000, 1_000, 950], []).workers == 3
    assert needed([1_000, 1_000, 950], [], reserve=0.1).workers == 4


@given(LOADS, blocks)
def test_the_loads_of_what_is_needed_are_all_that_sessions_take(loads: list[int], waiting: list[int]) -> None:
    need = needed(loads, waiting)
    assert sum(need.loads) == sum(loads) + sum(waiting)
    assert len(need.loads) == need.workers
    assert len(needed(loads, waiting, reserve=0.3).loads) <= needed(loads, waiting, reserve=0.3).workers


def test_what_lowered_sessions_ask_for_is_room_that_is_missing() -> None:
    """Six sessions that would take a quarter each sit on one worker, at four fifths of that in sum."""
    (worker,) = members([800]).staying
    lowered = replace(members([800]), staying=(replace(worker, beyond=700),))
    assert need_of(members([800]), pool_spec(), []).workers == 1
    assert need_of(lowered, pool_spec(), []) == needed([1_000], [500])
    assert need_of(replace(lowered, staying=(replace(worker, beyond=2_700),)), pool_spec(), []).workers == 4


@given(LOADS, st.integers(0, 3))
def test_who_leaves_fits_elsewhere_and_nobody_is_made_in_their_place(loads: list[int], buffer: int) -> None:
    spec = pool_spec(replicas=0, max=1_000, buffer=buffer)
    before = members(loads)
    count = surplus(before, spec, wanted_by(before, spec))
    chosen = leaving(before, spec, count)
    after = before.without(chosen)
    assert len(chosen) <= min(count, max(1, len(loads) // 4))
    assert not chosen or wanted_by(after, spec) <= len(after.staying)
    staying = [worker.load for worker in after.staying]
    assert len(place(sorted(after.to_place, reverse=True), staying)) == len(staying)


@given(LOADS)
def test_a_pool_that_shrinks_step_by_step_ends_where_nobody_more_can_go(loads: list[int]) -> None:
    spec = pool_spec(replicas=0, max=1_000)
    loads = list(loads)
    for _ in range(len(loads) + 1):
        before = members(loads)
        chosen = leaving(before, spec, surplus(before, spec, wanted_by(before, spec)))
        if not chosen:
            break
        gone = {worker.name for worker in chosen}
        stay = [worker.load for worker in before.staying if worker.name not in gone]
        loads = place(sorted((worker.load for worker in chosen if worker.load), reverse=True), stay)
    assert not chosen
    assert 0 not in loads


def test_free_workers_go_before_busy_ones_and_the_emptiest_before_fuller_ones() -> None:
    spec = pool_spec(replicas=0, max=100)
    assert [worker.load for worker in leaving(members([300, 0, 100, 400]), spec, 1)] == [0]
    assert [worker.load for worker in leaving(members([300, 150, 100, 400]), spec, 1)] == [100]


def test_old_revisions_go_before_the_new_one() -> None:
    chosen = leaving(members([0, 0, 0, 0], outdated=1), pool_spec(replicas=0), 1)
    assert [worker.name for worker in chosen] == ["w00"]


def test_a_quarter_leaves_at_a_time() -> None:
    assert len(leaving(members([0] * 12), pool_spec(replicas=0), 12)) == 3


def test_those_on_their_way_count_among_the_quarter() -> None:
    whole = members([0] * 12)
    some = whole.without(whole.staying[:2])
    assert len(leaving(some, pool_spec(replicas=0), 10)) == 0


def test_the_buffer_of_empty_workers_is_kept() -> None:
    assert leaving(members([800, 800, 0, 0]), pool_spec(replicas=0, buffer=2), 2) == ()


def test_a_worker_on_the_emptier_node_goes_first() -> None:
    whole = members([0, 0, 0])
    lone = replace(whole.staying[1], pod=replace(whole.staying[1].pod, node="b"))
    spread = replace(whole, staying=(whole.staying[0], lone, whole.staying[2]))
    assert leaving(spread, pool_spec(replicas=0), 1) == (lone,)


def test_missing_workers_are_made_within_the_surge() -> None:
    spec = pool_spec(rollout={"surge": 2})
    assert missing(members([0, 0], outdated=2), spec, 2) == 2
    assert missing(members([0, 0, 0], outdated=2), spec, 2) == 1
    assert missing(members([0, 0]), spec, 5) == 3


def test_a_surge_is_no_surplus_while_old_workers_are_there() -> None:
    spec = pool_spec(rollout={"surge": 1})
    assert surplus(members([0, 0, 0], outdated=1), spec, 2) == 0
    assert surplus(members([0, 0, 0]), spec, 2) == 1


def overloaded(pool: Members, name: str) -> Members:
    """The same, where that worker says that it can do no more."""
    said = Vitals(1, "stepping", 0, 1_000, patient=True, overloaded=True)
    staying = tuple(
        replace(one, view=replace(one.view, vitals=said)) if one.name == name and one.view is not None else one
        for one in pool.staying
    )
    return replace(pool, staying=staying)


def test_a_session_that_waits_beside_an_overloaded_worker_asks_for_another_one() -> None:
    pool, spec = members([300]), pool_spec(max=5)
    assert wanted_by(pool, spec, [200]) == 1
    assert wanted_by(overloaded(pool, "w00"), spec, [200]) == 2


def test_nobody_is_too_many_beside_an_overloaded_worker_and_one_without_sessions_is_none() -> None:
    spec, pool = pool_spec(max=5), members([300, 200])
    assert surplus(pool, spec, wanted_by(pool, spec, [])) == 1
    strained = overloaded(pool, "w00")
    assert surplus(strained, spec, wanted_by(strained, spec, [])) == 0
    assert wanted_by(overloaded(members([0]), "w00"), spec, [200]) == 1
