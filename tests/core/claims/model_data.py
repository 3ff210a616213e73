"""What the claims' model knows: workers and sessions, with the rungs of a session's ladder."""

from dataclasses import dataclass, field

from genlock_core.claims import liveness
from genlock_core.claims.claims import Claim, WorkerState
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.record import LevelLimit, PoolChoice
from genlock_core.spec.session import Phase
from tests.core.claims.passing import ProvenTime


@dataclass(frozen=True)
class Rung:
    """A level: so many steps of every frame, or of every second one."""

    steps: int
    every: int = 1

    @property
    def place(self) -> int:
        """In the ladder: at every second frame it is below all others, whatever its steps."""
        return 0 if self.every == 2 else self.steps


HALVED = Rung(0, 2)
"""The lowest one, in whatever pool."""


@dataclass
class ModelWorker:
    offer: WorkerOffer
    heartbeat_ms: int
    progress: int = -1
    draining: bool = False
    renewed_ms: int | None = None
    every_ms: int = 0
    overloaded: bool = False
    """What it said last."""
    room_ms: int | None = None
    """When it got room while somebody waited."""

    @property
    def lease_ms(self) -> int:
        return max(liveness.LEASE_MS, min(liveness.LEASE_HEARTBEATS * self.every_ms, liveness.LONGEST_LEASE_MS))

    @property
    def name(self) -> str:
        return self.offer.identity.name

    @property
    def state(self) -> WorkerState:
        return WorkerState.DRAINING if self.draining else WorkerState.READY


@dataclass
class ModelSession:
    pools: tuple[PoolChoice, ...]
    idle_timeout_ms: int
    ttl_ms: int
    active_ms: int
    phase: Phase = Phase.PENDING
    reason: str = ""
    epoch: int = 0
    claim: Claim | None = None
    lease_ms: int = 0
    format: int = 0
    over_ms: int = 0
    """When a finished one is forgotten."""
    seen_epoch: int = 0
    uid: str = ""

    steps: int = 2
    adaptive: bool = True
    wish: int | None = None
    wish_id: int = 0
    granted: Rung | None = None
    granted_epoch: int = 0
    number: int = 0
    granted_ms: int = 0
    surplus: Rung | None = None
    """The rung below what is granted that is wanted, since `surplus_ms`."""
    surplus_ms: int = 0
    limit: tuple[int, LevelLimit] | None = None
    """With the epoch of the claim that it is for."""
    below_ms: int = 0
    stand_in: str | None = None
    waits: tuple[int, int] | None = None
    """The epoch under which it asked for room that was not there, and when it asked last."""
    waits_since: dict[str, int] = field(default_factory=dict)
    """By pool."""

    @property
    def requested(self) -> int:
        return self.steps if self.wish is None else self.wish

    @property
    def last_granted(self) -> Rung | None:
        return self.granted if self.granted_epoch == self.epoch else None

    @property
    def had_worker(self) -> bool:
        """As far as the record or anybody that asked for it knows."""
        return max(self.epoch, self.seen_epoch) > 0

    # -- where it may run -------------------------------------------------------------------------------------------

    @property
    def own_choices(self) -> tuple[PoolChoice, ...]:
        return tuple(choice for choice in self.pools if choice.model is None)

    @property
    def choices(self) -> tuple[PoolChoice, ...]:
        """Of the model that it runs with."""
        found = tuple(choice for choice in self.pools if choice.model == self.stand_in)
        return found or self.own_choices

    @property
    def choice(self) -> PoolChoice | None:
        """That of the pool that it is in."""
        assert self.claim is not None
        return next((choice for choice in self.pools if choice.pool == self.claim.pool), None)

    @property
    def levels(self) -> tuple[int, ...]:
        choice = self.choice
        return () if choice is None else choice.levels

    # -- its rungs --------------------------------------------------------------------------------------------------

    def least_steps(self, wanted: int) -> int:
        """Of every frame, by its spec."""
        return 1 if self.adaptive else wanted

    def may_halve(self, choice: PoolChoice) -> bool:
        return self.adaptive and choice.half is not None and choice.half.steps <= self.requested

    def cost_at(self, choice: PoolChoice, rung: Rung) -> int | None:
        """None: it has no such rung there."""
        if rung.every == 1:
            return choice.cost_at(rung.steps)
        return choice.half.cost if choice.half is not None and self.may_halve(choice) else None

    def rung_at(self, choice: PoolChoice, rung: Rung) -> Rung:
        if rung.every == 2:
            assert choice.half is not None
            return Rung(choice.half.steps, 2)
        return Rung(min(rung.steps, len(choice.levels)))

    @property
    def has(self) -> Rung:
        """What its claim pays for."""
        assert self.claim is not None
        if self.last_granted is not None:
            rung = self.last_granted
            return rung if rung.every == 2 else Rung(min(rung.steps, len(self.levels)))
        return Rung(max([1, *(steps for steps, cost in enumerate(self.levels, 1) if cost <= self.claim.cost)]))

    @property
    def due(self) -> int:
        """What its claim pays once what is granted is settled."""
        assert self.claim is not None
        choice = self.choice
        cost = None if choice is None else self.cost_at(choice, self.has)
        return self.claim.cost if cost is None else cost

    def allowed(self, wish: int) -> Rung:
        """By the plan of levels, of what is wished."""
        choice = self.choice
        assert choice is not None
        wanted = Rung(min(wish, len(choice.levels)))
        if self.limit is None or self.limit[0] != self.epoch:
            return wanted
        limit = Rung(self.limit[1].steps, self.limit[1].every)
        if not (limit.every == 2 and self.may_halve(choice)):
            limit = Rung(max(limit.place, self.least_steps(wanted.steps)))
        return min(wanted, limit, key=lambda rung: rung.place)

    @property
    def rungs_to_go_on(self) -> list[Rung]:
        """With which it is claimed, and recovered: the highest first."""
        least = self.least_steps(self.requested)
        if self.had_worker and self.last_granted is not None and self.last_granted.every == 1:
            least = min(least, self.last_granted.steps)
        return [*self._rungs_down_to(least), *([HALVED] if self.adaptive else [])]

    @property
    def rungs_to_keep(self) -> list[Rung]:
        """With which it is moved politely."""
        last = self.last_granted
        if last is None:
            return [Rung(self.requested)]
        if last.every == 1:
            return self._rungs_down_to(min(last.steps, self.requested))
        return [*self._rungs_down_to(self.least_steps(self.requested)), HALVED]

    def _rungs_down_to(self, least: int) -> list[Rung]:
        return [Rung(steps) for steps in range(self.requested, min(least, self.requested) - 1, -1)]


@dataclass
class ModelData:
    """What Redis holds, and may lose."""

    workers: dict[str, ModelWorker] = field(default_factory=dict)
    sessions: dict[str, ModelSession] = field(default_factory=dict)
    reserve: dict[str, int] = field(default_factory=dict)
    holes: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """By pool, the last worker whose room was kept: for whom, which one, and since when."""
    deciders: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By pool: who, its rank, and until when."""
    guard: tuple[str, int] | None = None
    time: ProvenTime = field(default_factory=ProvenTime)
