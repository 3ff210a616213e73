"""A small installation on a real Redis that is full: workers that beat and settle, sessions that come and go, keepers.

Redis' clock is the test's. Whoever found no room asks again with each beat, as a gateway does for an offer that waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from genlock_core import store
from genlock_core.approximation.options import SETTLE_MS
from genlock_core.claims.claims import Claims
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.price_list import PoolChoice
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity
from genlock_core.levelling.keeper import RANK_OF_GATEWAY, LevelKeeper
from genlock_core.levelling.told import ToldPools
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.spec.session import Phase
from tests.core.claims import samples
from tests.core.claims.passing import time_passes

PRICES = (62, 83, 100, 125)
"""At 1 to 4 steps: eight sessions at 4 steps fill a worker, and one step costs half of four."""
BEAT_S = 0.5
EVERYBODY = tuple("abcdefgh")


@dataclass
class Decider:
    """A keeper that is driven by hand. One that is dead does nothing any more."""

    name: str
    keeper: LevelKeeper
    metrics: LevellingMetrics
    dead: bool = False

    async def decide(self) -> None:
        """One round of each of its loops."""
        if not self.dead:
            await self.keeper.hold()
            await self.keeper.follow(0)
            await self.keeper.plan()


@dataclass
class BusyHour:
    """`workers` by name; `waits`: who found no room, in the order in which they came."""

    redis: store.Store
    clock: ManualClock
    workers: dict[str, WorkerOffer] = field(default_factory=dict)
    deciders: list[Decider] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)
    """Workers that settle nothing."""
    silent: set[str] = field(default_factory=set)
    progress: int = 0
    wishes: int = 0

    def __post_init__(self) -> None:
        self.claims = Claims(self.redis, now_ms=self.clock.wall_ms)
        self.told = ToldPools(self.redis, now_ms=self.clock.wall_ms)

    # -- who is there -----------------------------------------------------------------------------------------------

    def decider(self, name: str = "gateway", rank: int = RANK_OF_GATEWAY) -> Decider:
        metrics = LevellingMetrics(CollectorRegistry())
        keeper = LevelKeeper(self.claims, self.told, holder=name, rank=rank, clock=self.clock, metrics=metrics)
        made = Decider(name, keeper, metrics)
        self.deciders.append(made)
        return made

    async def worker(self, name: str, pool: str = "a") -> None:
        self.workers[name] = samples.offer(name, pool)
        await self.claims.register(self.workers[name])

    async def create(
        self, name: str, *, pools: Sequence[str] = ("a",), steps: int = 4, adaptive: bool = True, least: int = 1
    ) -> str:
        choices = [PoolChoice(pool, PRICES[steps - 1], PRICES) for pool in pools]
        made = samples.record(name, *choices, steps=steps, adaptive=adaptive)
        spec = made.session.approximation.model_copy(update={"min_steps": least})
        session = made.session.model_copy(update={"approximation": spec, "idle_timeout_ms": 86_400_000})
        await self.claims.create(SessionRecord(session, made.pools))
        return made.name

    async def arrive(self, name: str, *, pools: Sequence[str] = ("a",), adaptive: bool = True, least: int = 1) -> str:
        """A session is created and asks for a worker."""
        session = await self.create(name, pools=pools, adaptive=adaptive, least=least)
        self.waits.append(session)
        await self.claim_again()
        return session

    async def fill(self, names: Sequence[str] = EVERYBODY) -> None:
        """They are served as they wish."""
        for name in names:
            await self.arrive(name)
        assert self.waits == []

    async def leave(self, name: str) -> None:
        session = f"default/{name}"
        record = await self.record(name)
        if session in self.waits:
            self.waits.remove(session)
        await self.claims.release(session, epoch=record.epoch, phase=Phase.ENDED)

    async def wish(self, name: str, steps: int) -> None:
        """As a gateway does it."""
        await self.claims.grant(f"default/{name}", steps)
        self.wishes += 1
        await self.claims.remember_control(f"default/{name}", {"steps": str(steps)}, f"{self.wishes}-0")

    # -- time -------------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Each worker renews, and keeps to what it is told."""
        self.progress += 1
        for name, offer in self.workers.items():
            if name in self.silent:
                continue
            renewal = await self.claims.renew(offer.identity, progress=self.progress, links={})
            for session, told in renewal.ceilings.items():
                if told.due < told.cost and name not in self.slow:
                    await self.claims.settle(session, epoch=renewal.owned[session], number=told.number)

    async def claim_again(self) -> None:
        for session in list(self.waits):
            try:
                await self.claims.claim(session)
            except NoCapacity:
                continue
            self.waits.remove(session)

    async def settle_down(self) -> None:
        """Nothing happens for longer than a level takes to settle."""
        await time_passes(self.claims, self.clock, SETTLE_MS / 1_000 + 1)
        await self.beat()

    async def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / BEAT_S)):
            self.clock.advance(BEAT_S)
            await self.beat()
            for decider in self.deciders:
                await decider.decide()
            await self.claim_again()

    # -- what is seen -----------------------------------------------------------------------------------------------

    async def record(self, name: str) -> SessionRecord:
        found = await self.claims.record(f"default/{name}")
        assert found is not None
        return found

    async def steps(self) -> dict[str, int]:
        """What is granted to whoever has a worker."""
        records = {one.session.key.name: one for one in await self.claims.records() if one.owner is not None}
        return {name: 0 if one.granted is None else one.granted.steps for name, one in records.items()}

    async def check(self) -> None:
        """Whatever happens: free and what is paid is all there is, and nobody has less than its spec allows."""
        records = [one for one in await self.claims.records() if one.owner is not None]
        for view in await self.claims.workers():
            paid = sum(one.cost for one in records if one.owner == view.identity)
            assert view.free + paid == view.capacity
            assert view.free >= 0
        for one in records:
            assert one.granted is not None
            approximation = one.session.approximation
            assert one.granted.steps >= min(approximation.min_steps, one.requested_steps), one.name
            assert one.cost >= PRICES[one.granted.steps - 1], f"{one.name} runs what it does not pay for"
