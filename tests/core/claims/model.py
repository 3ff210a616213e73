"""What the claims must do, in plain Python: the state machine compares every answer and the whole state with this.

It has no free counters and no indices: room is what the sessions leave, leases and timeouts are looked up one by one.
So a script that books wrongly, or forgets an index, differs from it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from genlock_core.claims import liveness
from genlock_core.claims.claims import (
    Claim,
    Fit,
    GrantAnswer,
    GrantOutcome,
    Held,
    Move,
    MoveCause,
    MoveHeld,
    Reasserted,
    Renewal,
    SessionEnded,
    WorkerState,
)
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.claims.record import FINISHED, PoolChoice, SessionRecord
from genlock_core.errors import NoCapacity, Overloaded, StaleEpoch, UnknownSession
from genlock_core.spec.session import ApproximationPolicy, Phase
from tests.core.claims.passing import ProvenTime


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
    granted: int | None = None
    granted_epoch: int = 0
    number: int = 0
    granted_ms: int = 0
    surplus: int | None = None
    """The wish below what is granted, since `surplus_ms`."""
    surplus_ms: int = 0

    @property
    def requested(self) -> int:
        return self.steps if self.wish is None else self.wish

    @property
    def last_granted(self) -> int | None:
        return self.granted if self.granted_epoch == self.epoch else None

    @property
    def lowest(self) -> int:
        """With no fewer steps it is recovered."""
        possible = [
            self.requested,
            *([self.last_granted] if self.last_granted else []),
            *([1] if self.adaptive else []),
        ]
        return min(possible) if self.had_worker else self.requested

    @property
    def had_worker(self) -> bool:
        """As far as the record or anybody that asked for it knows."""
        return max(self.epoch, self.seen_epoch) > 0

    @property
    def levels(self) -> tuple[int, ...]:
        """Of the pool that it is in."""
        assert self.claim is not None
        return next((choice.levels for choice in self.pools if choice.pool == self.claim.pool), ())

    @property
    def has(self) -> int:
        """What its claim pays for."""
        assert self.claim is not None
        if self.last_granted is not None:
            return self.last_granted
        return max([1, *(steps for steps, cost in enumerate(self.levels, 1) if cost <= self.claim.cost)])


@dataclass
class ModelData:
    """What Redis holds, and may lose."""

    workers: dict[str, ModelWorker] = field(default_factory=dict)
    sessions: dict[str, ModelSession] = field(default_factory=dict)
    reserve: dict[str, int] = field(default_factory=dict)
    guard: tuple[str, int] | None = None
    time: ProvenTime = field(default_factory=ProvenTime)


class Model:
    """The rules of the claims, one method per verb. `run` stands for Redis' run id, `wall` for its clock."""

    def __init__(self, *, wall: int) -> None:
        self.wall = wall
        self.run = "run 0"
        self.data = ModelData()

    def prove(self) -> None:
        """A script runs, and Redis takes its writes."""
        stalled = self.data.time.prove(self.wall)
        if stalled and self.data.guard is not None:
            run, since_ms = self.data.guard
            self.data.guard = run, max(since_ms, self.now - liveness.HOLD_MS + liveness.SETTLE_MS)

    @property
    def now(self) -> int:
        """Proven time, in ms."""
        proven_ms = self.data.time.proven_ms
        return self.wall if proven_ms is None else proven_ms

    def copy_of_data(self) -> ModelData:
        return copy.deepcopy(self.data)

    # -- what is true now -------------------------------------------------------------------------------------------

    def owned(self, worker: str) -> dict[str, Claim]:
        claims = {name: session.claim for name, session in self.data.sessions.items()}
        return {name: claim for name, claim in sorted(claims.items()) if claim and claim.worker.name == worker}

    def free(self, worker: str) -> int:
        taken = sum(claim.cost for claim in self.owned(worker).values())
        return self.data.workers[worker].offer.capacity - taken

    def holding(self) -> bool:
        if self.data.guard is None or self.data.guard[0] != self.run:
            self.data.guard = (self.run, self.now)
        return self.now - self.data.guard[1] < liveness.HOLD_MS

    def _fresh(self, worker: ModelWorker) -> bool:
        return self.now - worker.heartbeat_ms <= liveness.HEARTBEAT_STALE_MS

    def _current(self, session: str, epoch: int) -> ModelSession | None:
        found = self.data.sessions.get(session)
        return found if found and found.claim and found.epoch == epoch else None

    def _active(self, session: str) -> ModelSession:
        found = self.data.sessions.get(session)
        if found is None:
            raise UnknownSession(session)
        if found.phase in FINISHED:
            raise SessionEnded(session)
        return found

    def is_overloaded(self, worker: ModelWorker) -> bool:
        return worker.overloaded and bool(self.owned(worker.name))

    def _choose(
        self,
        session: str,
        found: ModelSession,
        *,
        excluded: Sequence[str | None],
        reserve: bool,
        lowest: int | None = None,
        at_least: int | None = None,
    ) -> tuple[ModelWorker, int, int | None]:
        """The worker, the cost and the steps. An overloaded worker is the last choice, and none for a session that
        never had a worker."""
        overloaded = [worker.name for worker in self.data.workers.values() if self.is_overloaded(worker)]
        top = at_least or found.requested
        for without in (overloaded, []):
            for steps in range(top, min(top, at_least or lowest or top) - 1, -1):
                chosen = self._choose_at(found, steps, excluded=[*excluded, *without], reserve=reserve)
                if chosen is not None and not without and overloaded and not found.had_worker:
                    raise Overloaded(session)
                if chosen is not None:
                    worker, choice = chosen
                    return worker, choice.cost_at(steps), steps if choice.levels else None
        raise NoCapacity(session, "model")

    def _choose_at(
        self, found: ModelSession, steps: int, *, excluded: Sequence[str | None], reserve: bool
    ) -> tuple[ModelWorker, PoolChoice] | None:
        for choice in found.pools:
            cost = choice.cost_at(steps)
            ready = [
                worker
                for worker in self.data.workers.values()
                if worker.offer.pool == choice.pool and not worker.draining and self._fresh(worker)
            ]
            fits = [
                worker
                for worker in ready
                if self.free(worker.name) >= cost
                and worker.name not in excluded
                and worker.offer.formats.reads(found.format)
            ]
            if fits and not (reserve and self._breaks_reserve(choice.pool, cost)):
                return min(fits, key=lambda worker: (self.free(worker.name), worker.name)), choice
        return None

    def _breaks_reserve(self, pool: str, cost: int) -> bool:
        workers = self.data.workers.values()
        ready = [one for one in workers if one.offer.pool == pool and not one.draining and self._fresh(one)]
        kept = self.data.reserve.get(pool, 0)
        return 0 < kept > sum(self.free(worker.name) for worker in ready) - cost

    def _give(
        self, session: str, found: ModelSession, worker: ModelWorker, cost: int, epoch: int, steps: int | None
    ) -> Claim:
        offer = worker.offer
        found.epoch, found.lease_ms = epoch, self.now + worker.lease_ms
        if steps is not None:
            self._note_grant(found, steps)
        found.claim = Claim(session, epoch, offer.identity, offer.address, offer.pool, cost)
        return found.claim

    # -- levels -----------------------------------------------------------------------------------------------------

    def _note_grant(self, found: ModelSession, steps: int) -> None:
        found.granted, found.granted_epoch = steps, found.epoch
        found.number, found.granted_ms = max(found.number + 1, self.wall), self.now
        found.surplus = None

    def _can_pay(self, found: ModelSession, cost: int, *, reserve: bool) -> bool:
        assert found.claim is not None
        worker, more = self.data.workers[found.claim.worker.name], cost - found.claim.cost
        if more <= 0:
            return True
        kept = reserve and not worker.draining and self._breaks_reserve(found.claim.pool, more)
        return more <= self.free(worker.name) and not kept

    def _raise(self, found: ModelSession, wanted: int, *, reserve: bool) -> None:
        assert found.claim is not None
        affordable = [
            s for s in range(found.has + 1, wanted + 1) if self._can_pay(found, found.levels[s - 1], reserve=reserve)
        ]
        overloaded = self.data.workers[found.claim.worker.name].overloaded
        steps = found.has if overloaded else max([found.has, *affordable])
        due = found.levels[min(steps, wanted) - 1]
        if due > found.claim.cost and self._can_pay(found, due, reserve=reserve):
            found.claim = replace(found.claim, cost=due)
        if found.last_granted != steps:
            self._note_grant(found, steps)

    def _beat(self, found: ModelSession) -> None:
        assert found.claim is not None
        if not found.levels:
            if found.has < found.requested and not self.data.workers[found.claim.worker.name].overloaded:
                self._note_grant(found, found.requested)
            return

        self._raise(found, found.requested, reserve=True)
        if found.has <= found.requested:
            found.surplus = None
        elif found.surplus != found.requested:
            found.surplus, found.surplus_ms = found.requested, self.now
        elif self.now - found.surplus_ms >= liveness.GIVE_BACK_MS:
            self._note_grant(found, found.requested)

    def wish(self, session: str, steps: int, id: int) -> None:  # noqa: A002 - the stream's word
        found = self.data.sessions.get(session)
        if found is not None and (found.wish is None or id > found.wish_id):
            found.wish, found.wish_id = steps, id

    def grant(self, session: str, steps: int) -> GrantAnswer:
        found = self._active(session)
        if found.claim is None or not found.levels:
            return GrantAnswer(GrantOutcome.UNSERVED)
        self._raise(found, steps, reserve=True)
        fits = found.has >= steps and found.claim.cost >= found.levels[steps - 1]
        return GrantAnswer(GrantOutcome.FITS if fits else GrantOutcome.NO_ROOM, found.has)

    def settle(self, session: str, epoch: int, number: int) -> bool:
        found = self._current(session, epoch)
        if found is None or found.claim is None or found.last_granted is None or found.number != number:
            return False
        if found.levels:
            found.claim = replace(found.claim, cost=min(found.claim.cost, found.levels[found.has - 1]))
        return True

    def _orphan(self, found: ModelSession, reason: str) -> None:
        found.claim, found.phase, found.reason = None, Phase.RECOVERING, reason

    def _release(self, found: ModelSession, phase: Phase, reason: str) -> None:
        found.claim, found.phase, found.reason = None, phase, reason
        if phase in FINISHED:
            found.over_ms = self.now + found.ttl_ms

    # -- the verbs --------------------------------------------------------------------------------------------------

    def create(self, record: SessionRecord) -> bool:
        found = self.data.sessions.get(record.name)
        ttl_ms = record.session.ttl_seconds_after_finished * 1_000
        if found is not None:
            found.over_ms += ttl_ms - found.ttl_ms
            found.pools, found.idle_timeout_ms, found.ttl_ms = record.pools, record.session.idle_timeout_ms, ttl_ms
            found.steps = record.session.steps
            return False
        phase = Phase.RECOVERING if record.epoch else Phase.PENDING
        new = ModelSession(record.pools, record.session.idle_timeout_ms, ttl_ms, self.now, phase, epoch=record.epoch)
        new.format, new.uid, new.steps = record.snapshot_format, record.uid, record.session.steps
        new.adaptive = record.session.approximation.policy is ApproximationPolicy.ADAPTIVE
        if record.granted is not None:
            new.granted, new.granted_epoch = record.granted.steps, record.epoch
            new.number, new.granted_ms = record.granted.number, record.granted.since_ms
        if (said := record.control.get("steps")) is not None:
            new.wish, new.wish_id = int(said.value), int(said.id.partition("-")[0])
        self.data.sessions[record.name] = new
        return True

    def forget(self, session: str) -> bool:
        found = self.data.sessions.get(session)
        if found is None or found.claim:
            return False
        del self.data.sessions[session]
        return True

    def set_phase(self, session: str, epoch: int, phase: Phase, reason: str) -> bool:
        found = self.data.sessions.get(session)
        if found is None or found.phase in FINISHED:
            return False
        if (found.claim is not None) if epoch == 0 else self._current(session, epoch) is None:
            return False
        if phase in FINISHED:
            self._release(found, phase, reason)
        found.phase, found.reason = phase, reason
        return True

    def touch(self, session: str) -> None:
        found = self.data.sessions.get(session)
        if found and found.phase not in FINISHED:
            found.active_ms = self.now

    def note_snapshot_format(self, session: str, epoch: int, version: int) -> bool:
        found = self._current(session, epoch)
        if found is None:
            return False
        found.format = version
        return True

    def register(self, offer: WorkerOffer) -> tuple[str, ...]:
        known = self.data.workers.get(offer.identity.name)
        if known and known.offer.identity == offer.identity:
            return ()
        voided = tuple(self.owned(offer.identity.name))
        for session in voided:
            self._orphan(self.data.sessions[session], "WorkerRestarted")
        self.data.workers[offer.identity.name] = ModelWorker(offer, self.now)
        return voided

    def renew(self, identity: WorkerIdentity, progress: int, *, overloaded: bool | None = None) -> Renewal:
        """`overloaded`: what it says of that; None: nothing, as a worker of an older release."""
        worker = self.data.workers.get(identity.name)
        holding = self.holding()
        if worker is None or worker.offer.identity != identity:
            return Renewal(known=False, holding=holding, owned={}, closed=False, superseded=worker is not None)
        owned = self.owned(identity.name)
        worker.every_ms = 0 if worker.renewed_ms is None else self.now - worker.renewed_ms
        worker.renewed_ms = self.now
        worker.overloaded = worker.overloaded if overloaded is None else overloaded
        if progress > worker.progress:
            worker.progress, worker.heartbeat_ms = progress, self.now
            for session in owned:
                self.data.sessions[session].lease_ms = self.now + worker.lease_ms
        mine = {session: self.data.sessions[session] for session in owned}
        levelled = {name: found for name, found in mine.items() if found.levels or found.last_granted is not None}
        for session in sorted(levelled, key=lambda session: (levelled[session].granted_ms, session)):
            self._beat(levelled[session])
        epochs = {session: claim.epoch for session, claim in owned.items()}
        ceilings = {session: self._ceiling(found) for session, found in levelled.items()}
        return Renewal(known=True, holding=holding, owned=epochs, closed=worker.draining, ceilings=ceilings)

    def _ceiling(self, found: ModelSession) -> Ceiling:
        assert found.claim is not None
        due = found.levels[found.has - 1] if found.levels else found.claim.cost
        return Ceiling(found.has, found.number, found.claim.cost, due)

    def close(self, identity: WorkerIdentity) -> tuple[str, ...]:
        worker = self.data.workers.get(identity.name)
        if worker is None or worker.offer.identity != identity:
            return ()
        worker.draining = True
        return tuple(self.owned(identity.name))

    def reassert(self, offer: WorkerOffer, held: list[Held], *, closed: bool) -> Reasserted:
        self.holding()
        name = offer.identity.name
        known = self.data.workers.get(name)
        if known and known.offer.identity != offer.identity:
            return Reasserted((), tuple(one.session for one in held))
        if known is None:
            self.register(offer)
        worker = self.data.workers[name]
        worker.draining = worker.draining or closed
        kept = [one.session for one in held if self._reclaim(worker, one)]
        return Reasserted(tuple(kept), tuple(one.session for one in held if one.session not in kept))

    def _reclaim(self, worker: ModelWorker, one: Held) -> bool:
        found = self.data.sessions.get(one.session)
        if found is None:
            self.create(replace(one.record, epoch=one.epoch))
            found = self.data.sessions[one.session]
        is_mine = found.claim is not None and found.claim.worker == worker.offer.identity
        if is_mine and found.epoch == one.epoch:
            return True
        newer = one.epoch > found.epoch or (one.epoch == found.epoch and found.claim is None)
        room = self.free(worker.name) + (found.claim.cost if is_mine and found.claim else 0)
        if found.phase in FINISHED or not newer or room < one.cost:
            return False
        granted = one.record.granted
        found.number = max(found.number, granted.number if granted else 0)
        self._give(one.session, found, worker, one.cost, one.epoch, granted.steps if granted else None)
        found.phase, found.reason = one.record.phase, ""
        return True

    def claim(self, session: str, seen: int = 0) -> Claim:
        found = self._active(session)
        went_back = found.epoch < seen
        if found.claim and went_back and self.holding():
            raise MoveHeld(session)
        if went_back:
            found.seen_epoch = max(found.seen_epoch, seen)
        if found.claim and went_back:
            self._orphan(found, "StoreWentBack")
        elif found.claim and found.lease_ms <= self.now and not self.holding():
            self._orphan(found, "LeaseExpired")
        if found.claim:
            return found.claim
        worker, cost, steps = self._choose(session, found, excluded=(), reserve=True, lowest=found.lowest)
        if found.phase is Phase.PENDING:
            found.phase, found.reason = Phase.ASSIGNED, ""
        return self._give(session, found, worker, cost, self._next_epoch(found), steps)

    def _next_epoch(self, found: ModelSession) -> int:
        return max(found.epoch + 1, found.seen_epoch + 1, self.wall)

    def move(
        self, session: str, expected: int, suspect: str | None, cause: MoveCause, *, steps: int | None = None
    ) -> Move:
        found = self._active(session)
        if found.epoch > expected:
            if found.claim:
                return Move(found.claim, won=False)
            raise StaleEpoch(session, epoch=expected, current=found.epoch)
        restarted = found.claim is None and found.reason == "WorkerRestarted"
        if cause in (MoveCause.SILENT, MoveCause.EXPIRED) and not restarted and self.holding():
            raise MoveHeld(session)
        went_back = found.epoch < expected
        if cause is MoveCause.EXPIRED and found.claim and not went_back and found.lease_ms > self.now:
            return Move(found.claim, won=False)
        if went_back:
            found.seen_epoch = max(found.seen_epoch, expected)
        owner = found.claim.worker.name if found.claim else None
        if found.claim and went_back and owner != suspect and self._fresh(self.data.workers[found.claim.worker.name]):
            worker, cost = self.data.workers[found.claim.worker.name], found.claim.cost
            granted = found.has if found.levels else None
        else:
            polite = cause in (MoveCause.DRAIN, MoveCause.REQUESTED)
            lowest = found.last_granted if polite else found.lowest
            worker, cost, granted = self._choose(
                session, found, excluded=(suspect, owner), reserve=False, lowest=lowest, at_least=steps
            )
        polite = cause in (MoveCause.DRAIN, MoveCause.REQUESTED)
        found.phase, found.reason = Phase.DRAINING if polite else Phase.RECOVERING, cause.value
        return Move(self._give(session, found, worker, cost, self._next_epoch(found), granted), won=True)

    def fit(self, session: str, expected: int) -> Fit:
        found = self._active(session)
        if found.claim is None or found.epoch != expected:
            return Fit.STALE
        cost = next((choice.cost for choice in found.pools if choice.pool == found.claim.pool), None)
        if cost is None:
            return Fit.ELSEWHERE
        if found.levels:
            self._raise(found, found.requested, reserve=False)
            fits = found.has >= found.requested and found.claim.cost >= found.levels[found.requested - 1]
            return Fit.FITS if fits else Fit.NO_ROOM
        if cost > found.claim.cost + self.free(found.claim.worker.name):
            return Fit.NO_ROOM
        found.claim = replace(found.claim, cost=cost)
        return Fit.FITS

    def release(self, session: str, epoch: int, phase: Phase, reason: str) -> bool:
        found = self._current(session, epoch)
        if found is None:
            return False
        self._release(found, phase, reason)
        return True

    def expire(self) -> tuple[str, ...]:
        if self.holding():
            return ()
        sessions = self.data.sessions
        expired = sorted(
            (found.lease_ms, name) for name, found in sessions.items() if found.claim and found.lease_ms <= self.now
        )
        for _, name in expired:
            self._orphan(sessions[name], "LeaseExpired")
        for found in sessions.values():
            if found.phase not in FINISHED and found.active_ms + found.idle_timeout_ms <= self.now:
                self._release(found, Phase.ENDED, "Idle")
        over = [n for n, f in sessions.items() if f.phase in FINISHED and f.over_ms <= self.now]
        for name in over:
            del sessions[name]
        gone = [n for n, w in self.data.workers.items() if w.heartbeat_ms + liveness.WORKER_GONE_MS <= self.now]
        for name in gone:
            if not self.owned(name):
                del self.data.workers[name]
        return tuple(name for _, name in expired)
