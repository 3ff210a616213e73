"""What pools leave each other of a GPU budget, and what their plans are told."""

from dataclasses import replace
from typing import Any

import pytest

from genlock_core.clock import ManualClock
from genlock_operator.observed import Demand, PoolResource
from genlock_operator.reconcile.autoscaler import Autoscaler
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches
from tests.operator.autoscale.test_recommend import recommended
from tests.operator.reconcile.autoscalers import autoscaler


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
def scaler(caches: Caches) -> Autoscaler:
    return autoscaler(caches, ManualClock(), gpu_budget={"NVIDIA-H100": 8})


def budget(scaler: Autoscaler, of: PoolResource) -> int | None:
    return scaler.traffic_of(of).budget


def ask(scaler: Autoscaler, **workers: int) -> None:
    for name, asked in workers.items():
        scaler.note(f"studio/{name}", recommended(), asked)


def test_pools_of_a_product_share_its_budget(caches: Caches, scaler: Autoscaler) -> None:
    small, large = pool(caches, "small"), pool(caches, "large", gpus=2, autoscaling={"weight": 3})
    ask(scaler, small=20, large=20)
    assert (budget(scaler, small), budget(scaler, large)) == (2, 3)
    ask(scaler, large=1)
    assert (budget(scaler, small), budget(scaler, large)) == (6, 1)


def test_a_session_that_is_planned_here_and_waits_in_redis_waits_once(caches: Caches, scaler: Autoscaler) -> None:
    planned, known = (Demand(f"studio/{name}", "studio/small", 250, 0) for name in ("a", "b"))
    scaler.pending.note("studio/a", planned)
    scaler.counting.waiting = (replace(planned, cost=300), known, replace(known, pool="studio/other"))
    assert scaler.demand_of("studio/small") == (planned, known)


def test_a_product_without_a_budget_has_none(caches: Caches, scaler: Autoscaler) -> None:
    assert budget(scaler, pool(caches, "other", product="NVIDIA-A100")) is None


def test_a_pool_that_is_gone_leaves_its_share(caches: Caches, scaler: Autoscaler) -> None:
    small = pool(caches, "small")
    pool(caches, "other", min=4)
    ask(scaler, small=20, other=20)
    assert budget(scaler, small) == 4
    caches.pools.drop("studio/other", "other")
    scaler.forget("studio/other")
    assert budget(scaler, small) == 8


def test_a_pool_that_was_not_planned_yet_keeps_what_it_wanted(caches: Caches, scaler: Autoscaler) -> None:
    small, other = pool(caches, "small"), pool(caches, "other")
    status = other.status.model_copy(update={"desired": 3})
    caches.pools.put(PoolResource(other.meta, other.spec, status))
    ask(scaler, small=20)
    assert budget(scaler, small) == 5
