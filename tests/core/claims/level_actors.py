"""Who changes levels: workers whose engine follows late, deciders who go by what was, and what their sessions cost.

A worker keeps to what its heartbeats tell it, as `genlock_worker.session.granted_level` does. Its engine follows at
some later moment; its settlements arrive at another one, or twice, or never.
"""

from dataclasses import dataclass, field, replace

from genlock_core.claims.claims import Claims, Held
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.record import Granted, HalfRate, PoolChoice, SessionRecord
from genlock_core.spec.session import Phase

POOL = "a"
LEVELS = (200, 350, 500, 700)
HALF = HalfRate(1, 120)
CHOICES = {
    "s0": PoolChoice(POOL, 700, LEVELS, half=HALF),
    "s1": PoolChoice(POOL, 700, LEVELS, half=HALF),
    "s2": PoolChoice(POOL, 700, LEVELS),
    "s3": PoolChoice(POOL, 700, LEVELS),
    "s4": PoolChoice(POOL, 1_000, (280, 500, 800, 1_000), half=HalfRate(1, 150)),
    "s5": PoolChoice(POOL, 700, LEVELS, half=HALF),
}
"""Three workers have no room for all of them at what they ask for."""
NEVER_LOWERED = "s3"


def price(session: str, steps: int, every: int = 1) -> int:
    return CHOICES[session.removeprefix("default/")].cost_at(steps, every)


@dataclass
class Served:
    """A session as its worker knows it, under one epoch."""

    record: SessionRecord
    told: Granted
    """What heartbeats said last."""
    running: Granted
    """What the engine may begin chunks with."""
    cost: int
    was_lower: bool = False
    """The last heartbeat told an older number."""

    def hear(self, ceiling: Ceiling) -> None:
        is_lower = ceiling.number < self.told.number
        went_back = is_lower and self.was_lower
        self.was_lower = is_lower and not went_back
        if is_lower and not went_back:
            return
        self.told = Granted(ceiling.steps, ceiling.number, every=ceiling.every)
        self.cost = ceiling.cost
        self.record = replace(self.record, limit=ceiling.limit, below_since_ms=ceiling.below_since_ms)


@dataclass(frozen=True)
class Settlement:
    """A worker's word that its engine keeps to a grant, on its way."""

    session: str
    epoch: int
    number: int


@dataclass
class Process:
    """A worker process. It dies by not beating any more; its engine may go on."""

    offer: WorkerOffer
    claims: Claims
    progress: int = 0
    serves: dict[str, Served] = field(default_factory=dict)

    async def beat(self) -> None:
        self.progress += 1
        renewal = await self.claims.renew(self.offer.identity, progress=self.progress, links={})
        if not renewal.known:
            return
        self.serves = {name: one for name, one in self.serves.items() if renewal.owned.get(name) == one.record.epoch}
        for session, epoch in renewal.owned.items():
            if session not in self.serves:
                await self._take(session, epoch)
            if session in self.serves and session in renewal.ceilings:
                self.serves[session].hear(renewal.ceilings[session])

    async def _take(self, session: str, epoch: int) -> None:
        """It reads the record, which may be newer than what the heartbeat was told."""
        record = await self.claims.record(session)
        if record is not None and record.owner == self.offer.identity and record.epoch == epoch:
            assert record.granted is not None
            self.serves[session] = Served(record, record.granted, record.granted, record.cost)

    def follow(self, session: str) -> Settlement | None:
        """The engine keeps to what is told from its next chunk on; the claim is to hear of it."""
        if session not in self.serves:
            return None
        served = self.serves[session]
        served.running = served.told
        return Settlement(session, served.record.epoch, served.told.number)

    async def reassert(self) -> None:
        held = [
            Held(
                name,
                one.record.epoch,
                one.cost,
                replace(one.record, phase=Phase.LIVE, granted=one.told),
            )
            for name, one in self.serves.items()
        ]
        outcome = await self.claims.reassert(self.offer, held)
        for session in outcome.refused:
            self.serves.pop(session, None)


@dataclass
class Decider:
    """Somebody who decides by what it read last, whoever else does."""

    known: dict[str, SessionRecord] = field(default_factory=dict)
