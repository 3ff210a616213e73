"""Whom new figures and new room concern: read once, from a board and a table that the test writes."""

from collections.abc import Mapping

import pytest

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.figure_board import PostedFigures
from genlock_core.claims.identity import CAPACITY, FormatRange, WorkerIdentity
from genlock_core.clock import ManualClock
from genlock_operator.observed import Demand
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.queue import WorkQueue
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.store_watch import StoreWatch
from genlock_operator.reconcile.tables import FigureTable, WorkerTable
from genlock_operator.watch.watcher import Scope

A, B = "studio/a", "studio/b"


class Redis:
    """What the watch reads: figures and workers."""

    def __init__(self) -> None:
        self.figures: Mapping[str, PostedFigures] = {}
        self.views: list[WorkerView] = []

    async def read(self) -> Mapping[str, PostedFigures]:
        return self.figures

    async def workers(self) -> list[WorkerView]:
        return self.views

    async def run_id(self) -> str | None:
        return "one"


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def watch(redis: Redis) -> StoreWatch:
    clock = ManualClock()
    return StoreWatch(
        claims=redis,  # type: ignore[arg-type]
        board=redis,  # type: ignore[arg-type]
        workers=WorkerTable(stuck_after_ms=30_000),
        figures=FigureTable(),
        pending=PendingSessions(),
        queue=WorkQueue(clock),
        store_state=StoreState(clock),
        clock=clock,
        scope=Scope(("studio",), "studio", "genlock-operator"),
        beat=lambda _loop: None,
        spread=lambda: 0.0,
    )


def queued(watch: StoreWatch) -> set[str]:
    found = set()
    while (taken := watch.queue.take()) is not None:
        found.add(taken.name)
        watch.queue.done(taken, failed=False)
    return found


def view(*, free: int) -> WorkerView:
    return WorkerView(
        identity=WorkerIdentity("w0", "an incarnation"),
        pool="studio/warm",
        model="wan2.1-1.3b",
        address="w0:7000",
        state=WorkerState.READY,
        heartbeat_age_ms=0,
        progress=1,
        links={},
        capacity=CAPACITY,
        free=free,
        sessions={},
        formats=FormatRange(1, 1),
        gpu_product="NVIDIA-H100",
        gpus=4,
    )


async def test_sessions_are_looked_at_when_their_figures_come_change_or_go(redis: Redis, watch: StoreWatch) -> None:
    redis.figures = {A: PostedFigures(viewers=1), B: PostedFigures(viewers=1)}
    await watch.read_figures()
    assert queued(watch) == {A, B}
    redis.figures = {A: PostedFigures(viewers=2), B: PostedFigures(viewers=1)}
    await watch.read_figures()
    assert queued(watch) == {A}
    redis.figures = {A: PostedFigures(viewers=2)}
    await watch.read_figures()
    assert queued(watch) == {B}


async def test_figures_of_namespaces_that_are_not_watched_are_nobodys(redis: Redis, watch: StoreWatch) -> None:
    redis.figures = {"other/a": PostedFigures(viewers=1)}
    await watch.read_figures()
    assert queued(watch) == set()


async def test_room_that_came_calls_those_who_wait_and_room_that_went_only_the_pool(
    redis: Redis, watch: StoreWatch
) -> None:
    watch.pending.note(A, Demand(A, "studio/warm", 250, 0))
    redis.views = [view(free=0)]
    await watch.read_workers()
    assert queued(watch) == {"studio/warm"}
    redis.views = [view(free=250)]
    await watch.read_workers()
    assert queued(watch) == {"studio/warm", A}
    redis.views = [view(free=0)]
    await watch.read_workers()
    assert queued(watch) == {"studio/warm"}
