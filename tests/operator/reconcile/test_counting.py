"""What Redis has counted, as the operator reads it: how new it is, who came and went, and how fast workers are."""

import asyncio
from dataclasses import replace

import pytest

from genlock_core import store as stores
from genlock_core.claims.claims import Claims
from genlock_core.claims.counters import CostShape, CounterBoard, LearnedCost, PoolCounters, WorkerCounters
from genlock_core.claims.facts import Waiting
from genlock_core.claims.price_list import PoolChoice
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity
from genlock_core.levelling.scaling import ScalingTold
from genlock_core.spec.session import Phase
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.counting import READ_EVERY_S, Counting, speed_of
from genlock_operator.reconcile.tables import WorkerTable
from genlock_operator.watch import facts
from genlock_operator.watch.caches import Caches
from tests.core.claims.samples import offer, record
from tests.operator.reconcile.autoscalers import Told
from tests.operator.reconcile.views import record_of, view_of

POOL = "studio/h100"
SLOW = LearnedCost(
    CostShape("tiny", 64, 64), base_s=0.0, row_s=0.15, weight=30.0, promised_base_s=0.0, promised_row_s=0.1
)
"""At two thirds of the promised speed."""


class Board:
    """The counters in Redis."""

    def __init__(self) -> None:
        self.counts = {POOL: PoolCounters()}
        self.asked = 0
        """How often all was read."""
        self.records: dict[str, SessionRecord] = {}
        """Of sessions that wait."""
        self.pages = {"w1": WorkerCounters("w1", "i1", POOL, costs=(SLOW,))}

    async def pools(self, names: list[str]) -> dict[str, PoolCounters]:
        self.asked += 1
        return {name: self.counts[name] for name in names if name in self.counts}

    async def workers(self) -> dict[str, WorkerCounters]:
        return dict(self.pages)

    async def waiting(self, pool: str) -> tuple[Waiting, ...]:
        return tuple(
            Waiting(name, 0, recovers=False)
            for name, record in self.records.items()
            if any(choice.pool == pool for choice in record.pools)
        )

    async def records_of(self, names: list[str]) -> dict[str, SessionRecord]:
        return {name: self.records[name] for name in names}

    def send(self, frames: int, *, late: int = 0, worker: str = "w1") -> None:
        page = self.pages[worker]
        self.pages[worker] = replace(page, frames=page.frames + frames, late=page.late + late)


class Running:
    """A reader with one pool and one worker."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.board = Board()
        self.caches = Caches()
        self.workers = WorkerTable(stuck_after_ms=30_000)
        self.workers.take({"w1": view_of("w1", POOL)}, now_ms=0)
        self.costs = CostTable()
        self.costs.note("studio/s1", record_of("studio/s1", POOL, cost=250))
        self.leads = True
        self.told = Told()
        self.placed_anew = 0
        self.changed: list[str] = []
        metadata = {"namespace": "studio", "name": "h100", "uid": "uid-2", "resourceVersion": "1"}
        spec = {"model": "tiny", "engine": "mock", "gpu": {"product": "NVIDIA-H100", "count": 1}}
        self.caches.pools.put(facts.pool_of({"metadata": metadata, "spec": spec}))
        self.counting = Counting(
            board=self.board,  # type: ignore[arg-type]
            claims=self.board,  # type: ignore[arg-type]
            told=self.told,
            caches=self.caches,
            workers=self.workers,
            costs=self.costs,
            clock=self.clock,
            beat=lambda _loop: None,
            leads=lambda: self.leads,
            corrected=self._place_anew,
            changed=self.changed.append,
        )

    def _place_anew(self) -> None:
        self.placed_anew += 1

    async def go_on(self, seconds: float, *, frames: int = 0, late: int = 0) -> None:
        """Read every 5 s; so many frames come between two readings."""
        for _ in range(round(seconds / READ_EVERY_S)):
            self.clock.advance(READ_EVERY_S)
            if frames:
                self.board.send(frames, late=late)
            await self.counting.read()

    @property
    def speed(self) -> float:
        found = self.counting.speeds.get(POOL)
        return 1.0 if found is None else found.speed


@pytest.fixture
def running() -> Running:
    return Running()


async def test_who_came_and_went_is_read_from_the_counters(running: Running) -> None:
    assert not running.counting.flow_of(POOL).is_known
    await running.counting.read()
    running.board.counts[POOL] = PoolCounters(arrivals=3, departures=1)
    await running.go_on(60)
    flow = running.counting.flow_of(POOL)
    assert (flow.is_known, flow.long.arrivals, flow.long.departures) == (True, 3, 1)


async def test_counters_are_as_old_as_the_newest_page_of_the_pools_workers(running: Running) -> None:
    await running.go_on(5)
    running.board.pages["w1"] = replace(running.board.pages["w1"], age_s=70.0)
    await running.go_on(5)
    assert running.counting.age_s(POOL) == pytest.approx(5.0), "they were new when it began to read"
    await running.go_on(60)
    assert running.counting.age_s(POOL) == pytest.approx(65.0)
    running.board.pages["w2"] = WorkerCounters("w2", "i", POOL, age_s=3.0)
    await running.go_on(5)
    assert running.counting.age_s(POOL) == pytest.approx(3.0)


async def test_a_worker_of_a_release_that_writes_no_page_makes_its_pool_blind(running: Running) -> None:
    await running.go_on(5)
    running.board.pages.clear()
    await running.go_on(65)
    assert running.counting.age_s(POOL) > 60


async def test_a_pool_without_workers_is_as_new_as_the_reading(running: Running) -> None:
    running.workers.take({}, now_ms=0)
    running.board.pages.clear()
    await running.go_on(100)
    assert running.counting.age_s(POOL) == 0.0
    running.clock.advance(61.0)
    assert running.counting.age_s(POOL) == 61.0, "nobody reads"


async def test_a_pool_that_was_made_since_the_last_reading_is_no_older_than_that(running: Running) -> None:
    await running.go_on(300)
    running.clock.advance(3.0)
    assert running.counting.age_s("studio/new") == pytest.approx(3.0)
    running.clock.advance(60.0)
    assert running.counting.age_s("studio/new") == pytest.approx(63.0), "nobody reads"


async def test_counts_that_cannot_be_read_are_no_news(running: Running) -> None:
    await running.go_on(5)
    del running.board.counts[POOL]
    await running.go_on(70)
    assert running.counting.age_s(POOL) == pytest.approx(70.0)


async def test_a_slow_worker_whose_sessions_are_late_makes_them_pay_more(running: Running) -> None:
    await running.go_on(60, frames=80, late=8)
    assert running.speed == 1.0
    await running.go_on(65, frames=80, late=8)
    assert running.speed == pytest.approx(2 / 3)
    assert running.placed_anew == 1

    # Once they are in time nothing changes, as the worker is as slow as before.
    await running.go_on(300, frames=80)
    assert running.speed == pytest.approx(2 / 3)
    assert running.placed_anew == 1


async def test_late_frames_of_a_worker_that_is_as_fast_as_profiled_change_nothing(running: Running) -> None:
    fine = replace(SLOW, row_s=0.1)
    running.board.pages["w1"] = replace(running.board.pages["w1"], costs=(fine,))
    await running.go_on(300, frames=80, late=40)
    assert running.speed == 1.0


async def test_late_frames_of_sessions_that_are_gone_break_no_budget(running: Running) -> None:
    """Theirs went with them: a single late frame would break one of 0."""
    running.costs.note("studio/s1", None)
    await running.go_on(125, frames=80, late=1)
    running.costs.note("studio/s1", record_of("studio/s1", POOL, cost=250))
    await running.go_on(60, frames=80)
    assert running.speed == 1.0


async def test_what_a_worker_had_sent_before_it_was_seen_counts_nowhere(running: Running) -> None:
    running.board.send(100_000, late=100_000)
    await running.go_on(180, frames=80)
    assert running.speed == 1.0


async def test_a_worker_that_began_anew_is_counted_from_there(running: Running) -> None:
    running.board.send(1_000_000, late=0)
    await running.go_on(5)
    running.board.pages["w1"] = replace(running.board.pages["w1"], incarnation="i2", frames=0)
    await running.go_on(125, frames=80, late=8)
    assert running.speed == pytest.approx(2 / 3)


async def test_who_does_not_lead_corrects_nothing(running: Running) -> None:
    running.leads = False
    await running.go_on(300, frames=80, late=40)
    assert running.speed == 1.0


@pytest.mark.parametrize("nonsense", [replace(SLOW, row_s=1e308, rows=10.0), replace(SLOW, row_s=0.0, base_s=5e-324)])
async def test_what_no_worker_can_have_learned_is_not_believed(running: Running, nonsense: LearnedCost) -> None:
    running.board.pages["w1"] = replace(running.board.pages["w1"], costs=(nonsense,))
    await running.go_on(125, frames=80, late=8)
    assert running.speed == 1.0


@pytest.mark.parametrize(("told", "believed"), [(0.7, 0.7), (1.0, 1.0), (0.01, 1.0), (30.0, 1.0)])
async def test_a_new_leader_believes_what_the_last_one_had_learned(
    running: Running, told: float, believed: float
) -> None:
    scaling = ScalingTold(at_ms=0, mode="SLO", desired=1, reason="Sessions", terms={}, speed=told, sentences=())
    await running.told.tell_scaling(POOL, scaling)
    await running.counting.inherit()
    assert running.speed == believed
    await running.go_on(120, frames=80)
    assert running.speed == believed, "as long as the worker is as slow as it says"


async def test_a_pool_that_is_gone_is_forgotten(running: Running) -> None:
    await running.go_on(125, frames=80, late=8)
    assert running.speed < 1.0
    running.caches.pools.drop(POOL, "uid-2")
    await running.go_on(5)
    assert (running.speed, running.counting.flow_of(POOL).covered_s) == (1.0, 0.0)


async def test_who_waits_makes_the_pool_of_its_first_choice_grow(running: Running) -> None:
    record = record_of("studio/s9", POOL, cost=300, levels=(100, 200, 300), steps=3)
    waits = replace(record, owner=None, pools=(*record.pools, PoolChoice("studio/other", 500)))
    running.board.records["studio/s9"] = waits
    await running.go_on(5)
    (demand,) = running.counting.waiting
    assert (demand.session, demand.pool, demand.cost) == ("studio/s9", POOL, 300)
    assert running.changed == [POOL]
    await running.go_on(5)
    assert running.changed == [POOL], "nobody else waits"
    running.board.records.clear()
    await running.go_on(5)
    assert (running.counting.waiting, running.changed) == ((), [POOL, POOL])


async def test_who_ran_with_a_model_that_stands_in_makes_a_pool_of_that_one_grow(running: Running) -> None:
    """Its own model's pools are not for it any more."""
    record = record_of("studio/s9", "studio/own", cost=300)
    stand_in = PoolChoice(POOL, 200, model="small")
    waits = replace(record, owner=None, stand_in="small", pools=(*record.pools, stand_in))
    running.board.records["studio/s9"] = waits
    await running.go_on(5)
    (demand,) = running.counting.waiting
    assert (demand.pool, demand.cost) == (POOL, 200)


async def test_who_is_turned_away_is_read_at_once(running: Running) -> None:
    """Not with the next reading of all, which comes seconds later."""
    reading = asyncio.create_task(running.counting.run())
    try:
        async with asyncio.timeout(20.0):
            while not running.board.asked:
                await asyncio.sleep(0.01)
            record = record_of("studio/s9", POOL, cost=300)
            running.board.records["studio/s9"] = replace(record, owner=None)
            running.counting.outdated.set()
            while not running.counting.waiting:
                await asyncio.sleep(0.01)
    finally:
        reading.cancel()
    assert running.board.asked == 1, "the counters were left alone"
    assert running.changed == [POOL]


def test_the_speed_of_workers_is_a_mean_by_what_speaks_in_it() -> None:
    fast = replace(SLOW, row_s=0.1, weight=10.0)
    unknown = replace(SLOW, promised_row_s=None)
    page = WorkerCounters("w", "i", POOL, costs=(SLOW, fast, unknown))
    assert speed_of([page]) == pytest.approx((30 * 2 / 3 + 10) / 40)
    assert speed_of([replace(page, costs=(unknown,))]) is None
    assert speed_of([]) is None


async def test_sessions_that_come_and_go_are_counted_by_redis_itself(redis_url: str) -> None:
    """The claims of gateways, as the operator reads them: no session passes it."""
    running = Running()
    store = stores.connect(redis_url)
    claims = Claims(store)
    running.counting.board = CounterBoard(store)
    running.counting.claims = claims
    await claims.register(offer("w1", POOL))
    await CounterBoard(store).post(WorkerCounters("w1", "i1", POOL))
    await running.counting.read()

    for name in ("one", "two", "three"):
        await claims.create(record(name, (POOL, 400)))
    first, _ = await claims.claim("default/one"), await claims.claim("default/two")
    with pytest.raises(NoCapacity):
        await claims.claim("default/three")
    await claims.set_phase("default/one", first.epoch, Phase.ENDED)
    running.clock.advance(60.0)
    await running.counting.read()
    await store.aclose()

    flow = running.counting.flow_of(POOL)
    assert flow is not None
    assert (flow.short.arrivals, flow.short.departures, flow.short.blocked) == (2, 1, 1)
    assert [(one.session, one.pool, one.cost) for one in running.counting.waiting] == [("default/three", POOL, 400)]
    assert running.changed == [POOL]
    assert running.counting.age_s(POOL) < 5
