"""What pools leave each other of a GPU budget, and what their plans are told."""

from dataclasses import replace
from typing import Any

import pytest

from genlock_core.claims.identity import CAPACITY
from genlock_core.clock import ManualClock
from genlock_operator.actions import ShowScaling
from genlock_operator.autoscale.correction import Correction
from genlock_operator.observed import Demand, PoolResource
from genlock_operator.reconcile.autoscaler import Autoscaler
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches
from tests.operator.autoscale.test_recommend import recommended
from tests.operator.reconcile.autoscalers import Told, autoscaler
from tests.operator.reconcile.views import record_of, view_of


def pool(caches: Caches, name: str, *, gpus: int = 1, product: str = "NVIDIA-H100", **spec: Any) -> PoolResource:
    metadata = {"namespace": "studio", "name": name, "uid": name, "resourceVersion": "1"}
    shape = {"model": "tiny", "engine": "mock", "gpu": {"product": product, "count": gpus}}
    made = facts.pool_of({"metadata": metadata, "spec": {**shape, "max": 30, **spec}})
    caches.pools.put(made)
    return made


@pytest.fixture
def caches() -> Caches:
    return Caches()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def scaler(caches: Caches, told: Told, clock: ManualClock) -> Autoscaler:
    return autoscaler(caches, clock, told=told, gpu_budget={"NVIDIA-H100": 8})


def budget(scaler: Autoscaler, of: PoolResource) -> int | None:
    return scaler.traffic_of(of).budget


async def ask(scaler: Autoscaler, **workers: int) -> None:
    for name, asked in workers.items():
        await scaler.show(ShowScaling(f"studio/{name}", recommended(), asked))


async def test_pools_of_a_product_share_its_budget(caches: Caches, scaler: Autoscaler) -> None:
    small, large = pool(caches, "small"), pool(caches, "large", gpus=2, autoscaling={"weight": 3})
    await ask(scaler, small=20, large=20)
    assert (budget(scaler, small), budget(scaler, large)) == (2, 3)
    await ask(scaler, large=1)
    assert (budget(scaler, small), budget(scaler, large)) == (6, 1)


def runs(caches: Caches, of: PoolResource, workers: int) -> None:
    for number in range(workers):
        name = f"{of.meta.name}-{number}"
        owner = {"kind": "WorkerPool", "name": of.meta.name, "uid": of.meta.uid, "controller": True}
        labels = {"genlock.dev/pool": of.meta.name, "genlock.dev/role": "worker"}
        made = facts.pod_of(
            {
                "metadata": {
                    "namespace": "studio",
                    "name": name,
                    "uid": name,
                    "resourceVersion": "1",
                    "labels": labels,
                    "ownerReferences": [owner],
                },
                "status": {"phase": "Running"},
            }
        )
        assert made is not None
        caches.pods.put(made)


async def test_what_another_pool_still_has_of_the_budget_is_not_there(caches: Caches, scaler: Autoscaler) -> None:
    """Its sessions cannot move yet: together they would have more GPUs than there may be."""
    small, large = pool(caches, "small"), pool(caches, "large", gpus=2)
    runs(caches, large, 4)
    await ask(scaler, small=20, large=20)
    assert (budget(scaler, small), budget(scaler, large)) == (0, 2)
    caches.pods.drop("studio/large-0", "large-0")
    assert budget(scaler, small) == 2
    runs(caches, small, 3)
    assert budget(scaler, small) == 3, "what it has itself is no reason to go"


async def test_a_new_leader_takes_what_sessions_pay_until_it_has_read_what_they_ask_for(
    caches: Caches, scaler: Autoscaler
) -> None:
    small = pool(caches, "small")
    assert scaler.traffic_of(small).session_cost == CAPACITY, "nobody knows"
    view = replace(view_of("w1", "studio/small"), free=100, sessions={"studio/a": 1, "studio/b": 1, "studio/c": 1})
    scaler.counting.workers.take({"w1": view}, now_ms=0)
    assert scaler.traffic_of(small).session_cost == 300
    scaler.costs.note("studio/a", record_of("studio/a", "studio/small", cost=400))
    assert scaler.traffic_of(small).session_cost == 400


async def test_a_floor_of_the_schedule_comes_first_as_min_does(caches: Caches, scaler: Autoscaler) -> None:
    schedule = [{"from": "00:00", "to": "24:00", "min": 6}]
    small = pool(caches, "small", autoscaling={"schedule": schedule})
    other = pool(caches, "other", autoscaling={"weight": 9})
    await ask(scaler, small=6, other=20)
    assert (budget(scaler, small), budget(scaler, other)) == (6, 2)


async def test_a_session_that_is_planned_here_and_waits_in_redis_waits_once(caches: Caches, scaler: Autoscaler) -> None:
    planned, known = (Demand(f"studio/{name}", "studio/small", 250, 0) for name in ("a", "b"))
    scaler.pending.note("studio/a", planned)
    scaler.counting.waiting = (replace(planned, cost=300), known, replace(known, pool="studio/other"))
    assert scaler.demand_of("studio/small") == (planned, known)


async def test_a_product_without_a_budget_has_none(caches: Caches, scaler: Autoscaler) -> None:
    assert budget(scaler, pool(caches, "other", product="NVIDIA-A100")) is None


async def test_a_pool_that_is_gone_leaves_its_share(caches: Caches, scaler: Autoscaler) -> None:
    small = pool(caches, "small")
    pool(caches, "other", min=4)
    await ask(scaler, small=20, other=20)
    assert budget(scaler, small) == 4
    caches.pools.drop("studio/other", "other")
    scaler.forget("studio/other")
    assert budget(scaler, small) == 8


async def test_a_pool_that_was_not_planned_yet_keeps_what_it_wanted(caches: Caches, scaler: Autoscaler) -> None:
    small, other = pool(caches, "small"), pool(caches, "other")
    status = other.status.model_copy(update={"desired": 3})
    caches.pools.put(PoolResource(other.meta, other.spec, status))
    await ask(scaler, small=20)
    assert budget(scaler, small) == 5


async def test_people_are_told_when_it_changes_and_now_and_then(
    scaler: Autoscaler, told: Told, clock: ManualClock
) -> None:
    small = "studio/small"
    scaler.counting.speeds[small] = Correction(0.5)
    await scaler.show(ShowScaling(small, recommended(), 4))
    await scaler.show(ShowScaling(small, recommended(), 4))
    ((pool, first),) = told.scalings
    assert (pool, first.desired, first.reason, first.mode, first.speed) == (small, 4, "Sessions", "SLO", 0.5)
    assert first.terms["need"] == 4
    assert first.sentences[0] == "4 workers should be there: the sessions need them."

    await scaler.show(ShowScaling(small, recommended(replicas=6), 6))
    assert len(told.scalings) == 2
    clock.advance(10.0)
    await scaler.show(ShowScaling(small, recommended(replicas=6), 6))
    assert len(told.scalings) == 3
