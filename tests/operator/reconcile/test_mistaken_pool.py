"""A pool that cannot be read, as a laxer schema let it in: it says so once, what runs runs on, others go on as ever."""

import pytest

from genlock_core.clock import ManualClock
from genlock_operator.actions import PoolAction, SessionAction, WritePoolStatus
from genlock_operator.observed import Meta
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.pool import PoolReconciler
from genlock_operator.reconcile.queue import WorkQueue
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.tables import WorkerTable
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches, Mistaken
from tests.operator.reconcile.autoscalers import autoscaler

GOOD = {"model": "tiny", "engine": "mock", "gpu": {"product": "NVIDIA-H100", "count": 1}}


class Recorder:
    """An executor that only remembers."""

    def __init__(self) -> None:
        self.done: list[SessionAction | PoolAction] = []

    async def perform(self, action: SessionAction | PoolAction) -> str:
        self.done.append(action)
        return ""


@pytest.fixture
def executor() -> Recorder:
    return Recorder()


@pytest.fixture
def pools(executor: Recorder) -> PoolReconciler:
    clock, caches = ManualClock(), Caches()
    body = {"metadata": {"namespace": "studio", "name": "good", "uid": "uid-2", "resourceVersion": "1"}, "spec": GOOD}
    caches.pools.put(facts.pool_of(body))
    mistaken(caches, generation=1)
    return PoolReconciler(
        caches=caches,
        workers=WorkerTable(stuck_after_ms=30_000),
        pending=PendingSessions(),
        queue=WorkQueue(clock),
        executor=executor,  # type: ignore[arg-type]
        clock=clock,
        defaults=WorkerDefaults(image="worker:1"),
        store_state=StoreState(clock),
        costs=CostTable(),
        autoscaler=autoscaler(caches, clock),
        started=lambda _pool, _times: None,
    )


def mistaken(caches: Caches, *, generation: int) -> None:
    """Its spec, in that generation, has a mistake."""
    meta = Meta("studio", "odd", "uid-1", generation, f"{generation}", 0, deleting=False)
    caches.mistaken[meta.key] = Mistaken(meta, ("spec.engine must be one of mock, diffusion",))


async def test_it_says_what_is_wrong_and_does_nothing_else(pools: PoolReconciler, executor: Recorder) -> None:
    await pools.reconcile("studio/odd")
    (written,) = executor.done
    assert isinstance(written, WritePoolStatus)
    (condition,) = written.status.conditions
    assert (condition.type, condition.status, condition.reason) == ("Available", "Unknown", "Invalid")
    assert "spec.engine" in condition.message


async def test_it_says_so_once_and_again_of_another_spec(pools: PoolReconciler, executor: Recorder) -> None:
    for _ in range(3):
        await pools.reconcile("studio/odd")
    assert len(executor.done) == 1
    mistaken(pools.caches, generation=2)
    await pools.reconcile("studio/odd")
    assert len(executor.done) == 2


async def test_other_pools_are_planned_as_ever(pools: PoolReconciler, executor: Recorder) -> None:
    await pools.reconcile("studio/odd")
    executor.done.clear()
    await pools.reconcile("studio/good")
    (status,) = [action for action in executor.done if isinstance(action, WritePoolStatus)]
    assert status.meta.key == "studio/good"
