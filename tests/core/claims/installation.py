"""A small installation on a real Redis: workers that renew, a gateway that announces itself and sweeps, a publisher.

Redis' clock is the test's. `Installation.healthy` lets time pass with everybody at work, and a `StoreFault` is
what may befall the store meanwhile.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from redis.exceptions import RedisError

from genlock_core import store
from genlock_core.claims.claims import Claim, Claims, Held
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.liveness import HOLD_MS, RENEW_EVERY_S
from genlock_core.claims.publisher import Contender, Gateways, Publishers, PublisherSlot
from genlock_core.errors import UnknownSession
from genlock_core.spec.session import Phase
from tests.core.claims import probes, samples

START_MS = 1_700_000_000_000
ROUND_MS = round(RENEW_EVERY_S * 1_000)
GATEWAY_TTL_S = 5.0
SESSIONS = ("default/s0", "default/s1", "default/s2")
CAMERA = Contender("k", "g0", "r1")


class StoreFault(StrEnum):
    """What befalls Redis; each lasts for eight seconds where it lasts."""

    FULL = "full"
    READ_ONLY = "read-only"
    NO_REPLICAS = "no replicas"
    STALLED = "stalled"
    CLOCK_FORWARD = "clock forward"
    CLOCK_BACK = "clock back"
    PROMOTED_AHEAD = "replica with a clock ahead"
    PROMOTED_BEHIND = "replica with a clock behind"
    LOST = "lost data"


_STEPS_MS = {
    StoreFault.STALLED: 8_000,
    StoreFault.CLOCK_FORWARD: 3_600_000,
    StoreFault.CLOCK_BACK: -3_600_000,
    StoreFault.PROMOTED_AHEAD: 60_000,
    StoreFault.PROMOTED_BEHIND: -60_000,
}


@dataclass
class Installation:
    """`lost` collects the sessions whose owner was taken away by a sweep."""

    client: store.Store
    wall_ms: int = START_MS
    workers: list[WorkerOffer] = field(default_factory=lambda: [samples.offer("w0"), samples.offer("w1")])
    silent: set[str] = field(default_factory=set)
    claimed: dict[str, Claim] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    run: int = 0
    progress: int = 0
    copied: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.claims = Claims(self.client, now_ms=lambda: self.wall_ms)
        self.publishers = Publishers(self.client, now_ms=lambda: self.wall_ms)
        self.gateways = Gateways(self.client, now_ms=lambda: self.wall_ms)

    async def begin(self) -> None:
        """All are up for longer than Redis holds back, each session is owned, and somebody publishes to the first."""
        await probes.flush(self.client)
        for offer in self.workers:
            await self.claims.register(offer)
        await self.gateways.announce("g0", "http://g0", GATEWAY_TTL_S)
        for name in SESSIONS:
            await self.claims.create(samples.record(name.removeprefix("default/")))
            self.claimed[name] = await self.claims.claim(name)
        self.run = (await self._publish()).run
        await self.healthy(HOLD_MS + ROUND_MS)

    async def _publish(self) -> PublisherSlot:
        return await self.publishers.promote(
            SESSIONS[0], CAMERA, run_seen=await self.publishers.enter(SESSIONS[0], CAMERA)
        )

    async def healthy(self, ms: int) -> None:
        """Everybody is at work, but for the silent."""
        for _ in range(ms // ROUND_MS):
            self.wall_ms += ROUND_MS
            await self.one_round()
        if ms:
            self.copied = await probes.dump(self.client)

    async def one_round(self) -> None:
        """A gateway sweeps before any worker renews: that is the worst order. Raises RedisError."""
        self.progress += 1
        self.lost += await self.claims.expire()
        await self.gateways.announce("g0", "http://g0", GATEWAY_TTL_S)
        kept = await self.publishers.keep(SESSIONS[0], key="k", gateway="g0", resource="r1", run=self.run)
        assert kept is not None
        for offer in self.workers:
            if offer.identity.name not in self.silent:
                await self._renew(offer)
        for name in SESSIONS:
            await self.claims.touch(name)

    async def _renew(self, offer: WorkerOffer) -> None:
        renewal = await self.claims.renew(offer.identity, progress=self.progress, links={})
        mine = {name: claim for name, claim in self.claimed.items() if claim.worker == offer.identity}
        if not renewal.known or (renewal.holding and mine.keys() - renewal.owned.keys()):
            await self.claims.reassert(offer, [_held(claim) for claim in mine.values()])

    async def suffer(self, fault: StoreFault) -> None:
        """The fault comes and goes."""
        match fault:
            case StoreFault.FULL | StoreFault.READ_ONLY | StoreFault.NO_REPLICAS:
                async with probes.refusing(self.client, probes.Refusal(fault)):
                    for _ in range(16):
                        self.wall_ms += ROUND_MS
                        await self._refused_round()
            case StoreFault.LOST:
                await probes.flush(self.client)
            case StoreFault.PROMOTED_AHEAD | StoreFault.PROMOTED_BEHIND:
                await probes.restore(self.client, self.copied)
                await probes.set_guard(self.client, "another run")
                self.wall_ms += _STEPS_MS[fault]
            case _:
                self.wall_ms += _STEPS_MS[fault]

    async def _refused_round(self) -> None:
        """Redis takes no writes, and all go on asking: the worst is that a sweep is not refused as a renewal is."""
        with suppress(RedisError):
            self.lost += await self.claims.expire()
        for offer in self.workers:
            with suppress(RedisError):
                await self.claims.renew(offer.identity, progress=self.progress, links={})
        for name in SESSIONS:
            with suppress(RedisError, UnknownSession):
                await self.claims.claim(name)

    # -- what is seen -------------------------------------------------------------------------------------------------

    async def owners(self) -> dict[str, str]:
        """Session -> the name of its owner; whoever has none is left out."""
        records = [await self.claims.record(name) for name in SESSIONS]
        return {one.name: one.owner.name for one in records if one is not None and one.owner is not None}

    async def is_as_it_was(self) -> bool:
        """Everybody owns what it owned, under its epoch; the gateway is there, and the publisher has its slot."""
        records = [await self.claims.record(name) for name in SESSIONS]
        owned = {one.name: (one.owner, one.epoch) for one in records if one is not None}
        publication = await self.publishers.publications(dict.fromkeys(SESSIONS[:1], 0))
        return (
            owned == {name: (claim.worker, claim.epoch) for name, claim in self.claimed.items()}
            and await self.gateways.find("g0") is not None
            and publication[SESSIONS[0]] == "now"
        )


def _held(claim: Claim) -> Held:
    record = samples.record(claim.session.removeprefix("default/"), (claim.pool, claim.cost))
    return Held(claim.session, claim.epoch, claim.cost, replace(record, phase=Phase.LIVE))
