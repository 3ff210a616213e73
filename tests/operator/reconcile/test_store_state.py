"""Since when Redis answers, or does not, on a clock that the test sets; and who is told."""

from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError as NoConnection

from genlock_core.claims.record import SessionRecord
from genlock_core.clock import ManualClock
from genlock_operator.actions import PoolAction, SessionAction, Tell, WriteSessionStatus
from genlock_operator.observed import Meta, PoolSeen, SessionResource
from genlock_operator.plan.policy import WorkerDefaults
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.pool import PoolReconciler
from genlock_operator.reconcile.queue import WorkQueue, session_key
from genlock_operator.reconcile.session import SessionReconciler
from genlock_operator.reconcile.store_state import STORE_AWAY_AFTER_S, StoreState
from genlock_operator.reconcile.tables import FigureTable, WorkerTable
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches
from tests.operator.reconcile.autoscalers import autoscaler

META = Meta("studio", "demo", "uid-1", 1, "1", 1_700_000_000_000, deleting=False)
NAME = META.key


class NoRedis:
    """Claims while Redis is away."""

    async def records_of(self, sessions: Sequence[str]) -> dict[str, SessionRecord]:
        raise NoConnection(f"nobody answers about {sessions}")


class Recorder:
    """An executor that only remembers."""

    def __init__(self) -> None:
        self.done: list[SessionAction | PoolAction] = []

    async def perform(self, action: SessionAction | PoolAction) -> str:
        self.done.append(action)
        return ""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state(clock: ManualClock) -> StoreState:
    return StoreState(clock)


@pytest.fixture
def executor() -> Recorder:
    return Recorder()


@pytest.fixture
def sessions(clock: ManualClock, state: StoreState, executor: Recorder) -> SessionReconciler:
    caches = Caches()
    caches.sessions.put(SessionResource(META, b"{}", b""))
    return SessionReconciler(
        caches=caches,
        claims=NoRedis(),  # type: ignore[arg-type]
        workers=WorkerTable(stuck_after_ms=30_000),
        figures=FigureTable(),
        pending=PendingSessions(),
        queue=WorkQueue(clock, jitter=lambda: 1.0),
        executor=executor,  # type: ignore[arg-type]
        clock=clock,
        public_url="",
        store_state=state,
        costs=CostTable(),
        speeds={},
    )


async def test_a_session_is_only_tried_again_while_redis_is_away_for_a_moment(
    clock: ManualClock, sessions: SessionReconciler, executor: Recorder
) -> None:
    await sessions.reconcile(NAME)
    clock.advance(STORE_AWAY_AFTER_S - 0.1)
    sessions.queue.release_due()
    assert sessions.queue.take() == session_key(NAME)
    await sessions.reconcile(NAME)
    assert executor.done == []


async def test_a_session_says_so_when_redis_stays_away(
    clock: ManualClock, sessions: SessionReconciler, executor: Recorder
) -> None:
    await sessions.reconcile(NAME)
    clock.advance(STORE_AWAY_AFTER_S)
    await sessions.reconcile(NAME)
    written, told = executor.done
    assert isinstance(written, WriteSessionStatus)
    assert isinstance(told, Tell)
    assert told.reason == "StoreAway"


async def test_a_new_absence_is_a_new_wait(
    clock: ManualClock, state: StoreState, sessions: SessionReconciler, executor: Recorder
) -> None:
    await sessions.reconcile(NAME)
    clock.advance(STORE_AWAY_AFTER_S)
    state.answered()
    await sessions.reconcile(NAME)
    assert executor.done == []


def test_it_answers_since_it_was_first_asked_and_then_since_it_came_back(clock: ManualClock, state: StoreState) -> None:
    begun_ms = clock.wall_ms()
    clock.advance(60.0)
    state.answered()
    assert state.since_ms == begun_ms
    state.failed()
    clock.advance(10.0)
    state.failed()
    assert not state.answers
    state.answered()
    assert (state.answers, state.since_ms) == (True, begun_ms + 70_000)
    assert state.came_back.is_set()


def test_a_break_that_nobody_noticed_is_none(state: StoreState) -> None:
    state.answered()
    assert not state.came_back.is_set()


async def test_a_pool_is_planned_by_when_redis_came_back(
    clock: ManualClock, state: StoreState, executor: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[PoolSeen] = []

    def plan(one: PoolSeen, _now_ms: int, _defaults: WorkerDefaults) -> list[PoolAction]:
        seen.append(one)
        return []

    monkeypatch.setattr("genlock_operator.reconcile.pool.plan_pool", plan)
    state.failed()
    clock.advance(30.0)
    state.answered()
    metadata = {"namespace": "studio", "name": "warm", "uid": "uid-2", "resourceVersion": "1"}
    spec = {"model": "tiny", "engine": "mock", "gpu": {"product": "NVIDIA-H100", "count": 1}}
    caches = Caches()
    caches.pools.put(facts.pool_of({"metadata": metadata, "spec": spec}))
    reconciler = PoolReconciler(
        caches=caches,
        workers=WorkerTable(stuck_after_ms=30_000),
        pending=PendingSessions(),
        queue=WorkQueue(clock),
        executor=executor,  # type: ignore[arg-type]
        clock=clock,
        defaults=WorkerDefaults(image="worker:1"),
        store_state=state,
        costs=CostTable(),
        autoscaler=autoscaler(caches, clock),
        started=lambda _pool, _times: None,
    )
    await reconciler.reconcile("studio/warm")
    (one,) = seen
    assert one.store_since_ms == clock.wall_ms()
