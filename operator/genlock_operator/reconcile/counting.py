"""What Redis has counted of each pool, read every few seconds: who comes and goes, and how late the workers are.

It goes on while another replica leads, so that this one has seen a quarter of an hour when its turn comes. Only what is
learned of the workers' speed is kept by the leader alone, as it changes what sessions pay.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.counters import CounterBoard, WorkerCounters
from genlock_core.claims.identity import CAPACITY
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.levelling.told import ToldPools
from genlock_operator.autoscale.arrivals import Flow, FlowMeter
from genlock_operator.autoscale.correction import FASTEST, SLOWEST, WINDOW_S, Correction, LateWindow, corrected
from genlock_operator.observed import Demand
from genlock_operator.reconcile.costs import CostTable
from genlock_operator.reconcile.tables import WorkerTable
from genlock_operator.watch.caches import Caches

logger = logging.getLogger(__name__)

READ_EVERY_S: Final = 5.0
TOGETHER_S: Final = 0.2


@dataclass(slots=True)
class _Account:
    """What was read of one pool. Times are seconds of the operator's monotonic clock."""

    fresh_s: float
    """When what was read last was written, at the latest."""
    window_s: float
    """When the window of late frames began."""
    meter: FlowMeter = field(default_factory=FlowMeter)
    correction: Correction = field(default_factory=Correction)
    frames: int = 0
    """In this window, as `late`."""
    late: int = 0


@dataclass(slots=True)
class Counting:
    """`run` as a task. `leads`: whether this replica acts; `corrected` is called when costs have changed."""

    board: CounterBoard
    claims: Claims
    told: ToldPools
    caches: Caches
    workers: WorkerTable
    costs: CostTable
    clock: Clock
    beat: Callable[[str], None]
    leads: Callable[[], bool]
    corrected: Callable[[], None]
    changed: Callable[[str], None]
    """Told the pools for which other sessions wait now."""
    speeds: dict[str, Correction] = field(default_factory=dict)
    """Of pools whose workers are not as fast as profiled."""
    waiting: tuple[Demand, ...] = ()
    """Sessions that claims found no room for lately, each for the pool of its first choice."""
    outdated: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody was turned away: it is read again at once."""
    _accounts: dict[str, _Account] = field(default_factory=dict)
    _pages: Mapping[str, WorkerCounters] = field(default_factory=dict)
    _read_s: float = field(init=False)
    """When all was read last; before the first time: when this was made."""

    def __post_init__(self) -> None:
        self._read_s = self.clock.monotonic()

    async def run(self) -> None:
        """Read for ever."""
        loop = asyncio.get_running_loop()
        while True:
            next_s = loop.time() + READ_EVERY_S
            try:
                await self.read()
                await self._follow_waiting(next_s)
            except RedisError as error:
                logger.warning("the counters cannot be read: %s", error)
            self.beat("counters")
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def inherit(self) -> None:
        """Believe of the workers' speed what the leader before this one did: a new leader must not undo it."""
        now_s = self.clock.monotonic()
        try:
            for pool in sorted(self.caches.pools.keys()):
                told = await self.told.scaling(pool)
                if told is not None and told.speed != 1 and SLOWEST <= told.speed <= FASTEST:
                    account = self._accounts.setdefault(pool, _Account(fresh_s=now_s, window_s=now_s))
                    account.correction = self.speeds[pool] = Correction(told.speed)
        except RedisError as error:
            logger.warning("what was learned of the workers' speed cannot be read: %s", error)

    async def read(self) -> None:
        """One reading. Raises RedisError."""
        pools = sorted(self.caches.pools.keys())
        counted = await self.board.pools(pools)
        pages = await self.board.workers()
        now_s = self.clock.monotonic()

        for pool in self._accounts.keys() - set(pools):
            del self._accounts[pool]
            self.speeds.pop(pool, None)
            self.costs.forget_pool(pool)
        for pool in pools:
            account = self._accounts.setdefault(pool, _Account(fresh_s=now_s, window_s=now_s))
            if pool in counted:
                account.meter.note(counted[pool], now_s)
                self._note_age(pool, account, pages, now_s)
            self._add_frames(pool, account, pages)
            if now_s - account.window_s >= WINDOW_S:
                self._close_window(pool, account, pages, now_s)
        self._pages = pages
        self._read_s = now_s
        await self._read_waiting()

    def flow_of(self, pool: str) -> Flow:
        """Who came and went; nothing is known of a pool before its first reading."""
        account = self._accounts.get(pool)
        meter = account.meter if account is not None else FlowMeter()
        return meter.flow(self.clock.monotonic())

    def age_s(self, pool: str) -> float:
        """Since the pool's counters were known to be new; of a pool that was not read yet, since the last reading."""
        account = self._accounts.get(pool)
        return self.clock.monotonic() - (account.fresh_s if account is not None else self._read_s)

    async def _follow_waiting(self, until_s: float) -> None:
        """Until that time of the loop: who is turned away is read at once, and those that follow soon together."""
        with suppress(TimeoutError):
            while True:
                # A reading is not broken off: the time ends the waiting alone.
                async with asyncio.timeout_at(until_s):
                    await self.outdated.wait()
                await self._read_waiting()
                await asyncio.sleep(TOGETHER_S)

    async def _read_waiting(self) -> None:
        """Who waits waits in every pool that could serve it, and makes the first grow of those where it may go now."""
        self.outdated.clear()
        pools = sorted(self.caches.pools.keys())
        names = {one.session for pool in pools for one in await self.claims.waiting(pool)}
        records = await self.claims.records_of(sorted(names)) if names else {}
        before = self.waiting
        self.waiting = tuple(
            _demand_of(name, record) for name, record in records.items() if record.choices and record.owner is None
        )
        for pool in {one.pool for one in {*before, *self.waiting}}:
            if [one for one in before if one.pool == pool] != [one for one in self.waiting if one.pool == pool]:
                self.changed(pool)

    def _note_age(self, pool: str, account: _Account, pages: Mapping[str, WorkerCounters], now_s: float) -> None:
        """A pool's counters are as new as the newest page of its workers; without workers, as this reading.

        A worker of a release that writes no page makes its pool blind: then nobody leaves, until it is replaced.
        """
        ages = [page.age_s for page in pages.values() if page.pool == pool]
        if not any(view.pool == pool for view in self.workers.views.values()):
            account.fresh_s = now_s
        elif ages:
            account.fresh_s = max(account.fresh_s, now_s - min(ages))

    def _add_frames(self, pool: str, account: _Account, pages: Mapping[str, WorkerCounters]) -> None:
        for name, page in pages.items():
            before = self._pages.get(name)
            # What a worker had sent before it was first seen may be hours old.
            if page.pool == pool and before is not None:
                frames, late = page.since(before)
                account.frames += frames
                account.late += late

    def _close_window(self, pool: str, account: _Account, pages: Mapping[str, WorkerCounters], now_s: float) -> None:
        frames, late = account.frames, account.late
        account.window_s = now_s
        account.frames = 0
        account.late = 0
        # Who does not lead knows no sessions. Where the last one has just gone, nobody knows its budget any more.
        budget = self.costs.miss_budget(pool)
        if not self.leads() or budget is None:
            return

        speed = speed_of(page for page in pages.values() if page.pool == pool)
        window = LateWindow(frames=frames, late=min(late, frames), budget=budget, speed=speed)
        before = account.correction
        account.correction = corrected(before, window)
        if account.correction.speed != before.speed:
            self._tell_correction(pool, before, account.correction)

    def _tell_correction(self, pool: str, before: Correction, after: Correction) -> None:
        logger.info(
            "%s: its workers compute at %.2f of the profile's speed, not at %.2f: its sessions' costs follow",
            pool,
            after.speed,
            before.speed,
            extra={"pool": pool},
        )
        if after.speed == 1.0:
            self.speeds.pop(pool, None)
        else:
            self.speeds[pool] = after
        self.corrected()


def _demand_of(session: str, record: SessionRecord) -> Demand:
    first = record.choices[0]
    cost = min(CAPACITY, first.cost_at(record.requested_steps))
    return Demand(session=session, pool=first.pool, cost=cost, since_ms=record.created_ms)


def speed_of(pages: Iterable[WorkerCounters]) -> float | None:
    """How fast these workers are, 1 being as profiled: the mean over their batches, by how much speaks in each.

    None while nobody has learned anything of a shape that was profiled. What no worker can have learned is left out.
    """
    learned = [(cost.weight, cost.speed) for page in pages for cost in page.costs]
    known = [(weight, speed) for weight, speed in learned if speed is not None and weight > 0 and speed > 0]
    total = sum(weight for weight, _ in known)
    mean = sum(weight * speed for weight, speed in known) / total if total else 0.0
    return mean if math.isfinite(mean) and mean > 0 else None
