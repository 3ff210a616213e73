"""One worker and two sessions whose levels change, as the tests of levels, limits and waiting sessions use them."""

from genlock_core import store
from genlock_core.claims.claims import Claims, GrantAnswer, LimitOutcome
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.clock import ManualClock
from genlock_core.spec.session import Phase
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record

NOISY, QUIET = "default/noisy", "default/quiet"
LEVELS = (300, 500, 700, 1_000)
POOL = PoolChoice("a", LEVELS[0], LEVELS)


class Floor:
    """One worker with two sessions at 1 step each, and 400 thousandths left."""

    def __init__(self, claims: Claims, clock: ManualClock, redis: store.Store) -> None:
        self.claims = claims
        self.clock = clock
        self.redis = redis
        self.worker = offer("w0")
        self.progress = 0
        self.wishes = 0

    async def open(self) -> None:
        await self.claims.register(self.worker)
        for name in ("noisy", "quiet"):
            await self.claims.create(record(name, POOL, steps=1))
            await self.claims.claim(f"default/{name}")

    async def wish(self, steps: int, session: str = NOISY) -> GrantAnswer:
        """As a gateway does it."""
        answer = await self.claims.grant(session, steps)
        self.wishes += 1
        await self.claims.remember_control(session, {"steps": str(steps)}, f"{self.wishes}-0")
        return answer

    async def beat(self, worker: WorkerOffer | None = None, *, overloaded: bool | None = None) -> dict[str, Ceiling]:
        """`overloaded`: what it says of that; None: nothing."""
        self.progress += 1
        identity = (worker or self.worker).identity
        vitals = None if overloaded is None else Vitals(1, "stepping", 0, 0, patient=False, overloaded=overloaded)
        return dict((await self.claims.renew(identity, progress=self.progress, links={}, vitals=vitals)).ceilings)

    async def record(self, session: str = NOISY) -> SessionRecord:
        found = await self.claims.record(session)
        assert found is not None
        return found

    async def end(self, session: str = QUIET) -> None:
        await self.claims.release(session, epoch=(await self.record(session)).epoch, phase=Phase.ENDED)

    async def costs(self) -> tuple[int, int, int]:
        """Of both, and what is free."""
        (view,) = [view for view in await self.claims.workers() if view.identity.name == "w0"]
        return (await self.record(NOISY)).cost, (await self.record(QUIET)).cost, view.free

    async def time_passes(self, ms: int) -> None:
        """The worker beats twice a second meanwhile."""
        for _ in range(ms // 500):
            await time_passes(self.claims, self.clock, 0.5)
            await self.beat()

    async def number(self, session: str = NOISY) -> int:
        """Of what is granted."""
        granted = (await self.record(session)).granted
        assert granted is not None
        return granted.number

    async def limit(
        self, steps: int | None, session: str = NOISY, *, every: int = 1, number: int | None = None
    ) -> LimitOutcome:
        """As whoever decides does it, by what is true unless another `number` is given."""
        known = await self.number(session) if number is None else number
        epoch = (await self.record(session)).epoch
        return await self.claims.limit(session, epoch=epoch, number=known, steps=steps, every=every)

    async def settle(self, session: str = NOISY) -> bool:
        """As the worker does it once its engine keeps to what is granted."""
        epoch, number = (await self.record(session)).epoch, await self.number(session)
        return await self.claims.settle(session, epoch=epoch, number=number)
