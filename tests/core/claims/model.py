"""What the claims must do, in plain Python: the state machine compares every answer and the whole state with this.

It has no free counters and no indices: room is what the sessions leave, leases and timeouts are looked up one by one.
So a script that books wrongly, or forgets an index, differs from it.
"""

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from genlock_core.claims import liveness
from genlock_core.claims.claims import (
    Claim,
    Fit,
    GrantAnswer,
    GrantOutcome,
    Held,
    LimitOutcome,
    Move,
    MoveCause,
    MoveHeld,
    Reasserted,
    Renewal,
    SessionEnded,
    Waiting,
)
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.claims.record import FINISHED, Granted, LevelLimit, LimitCause, PoolChoice, SessionRecord
from genlock_core.errors import NoCapacity, Overloaded, StaleEpoch, UnknownSession
from genlock_core.spec.session import ApproximationPolicy, Phase
from tests.core.claims.model_data import ModelData, ModelSession, ModelWorker, Rung


@dataclass
class Seat:
    """What a session is given."""

    worker: ModelWorker
    choice: PoolChoice
    cost: int
    rung: Rung | None
    """None: its pool has no levels."""


def _rung_of(granted: Granted) -> Rung:
    return Rung(granted.steps, granted.every)


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
        rungs: Sequence[Rung],
        *,
        excluded: Sequence[str | None],
        reserve: bool,
    ) -> Seat:
        """Another model only where its own has no room at all, and only for a session that never ran."""
        never_ran = not found.had_worker and found.format == 0 and found.stand_in is None
        try:
            return self._choose_among(session, found, found.choices, rungs, excluded=excluded, reserve=reserve)
        except NoCapacity:
            if not never_ran:
                raise
            others = [choice for choice in found.pools if choice.model is not None]
            with suppress(NoCapacity):
                return self._choose_among(session, found, others, rungs, excluded=excluded, reserve=reserve)
            raise

    def _choose_among(
        self,
        session: str,
        found: ModelSession,
        choices: Sequence[PoolChoice],
        rungs: Sequence[Rung],
        *,
        excluded: Sequence[str | None],
        reserve: bool,
    ) -> Seat:
        """An overloaded worker is the last choice, and none for a session that never had a worker."""
        overloaded = [worker.name for worker in self.data.workers.values() if self.is_overloaded(worker)]
        for without in (overloaded, []):
            for rung in rungs:
                seat = self._choose_at(found, choices, rung, excluded=[*excluded, *without], reserve=reserve)
                if seat is not None and not without and overloaded and not found.had_worker:
                    raise Overloaded(session)
                if seat is not None:
                    return seat
        raise NoCapacity(session, "model")

    def _choose_at(
        self,
        found: ModelSession,
        choices: Sequence[PoolChoice],
        rung: Rung,
        *,
        excluded: Sequence[str | None],
        reserve: bool,
    ) -> Seat | None:
        for choice in choices:
            cost = found.cost_at(choice, rung)
            if cost is None:
                continue
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
                and (rung.every == 1 or worker.offer.halves)
            ]
            if fits and not (reserve and self._breaks_reserve(choice.pool, cost)):
                worker = min(fits, key=lambda worker: (self.free(worker.name), worker.name))
                return Seat(worker, choice, cost, found.rung_at(choice, rung) if choice.levels else None)
        return None

    def _breaks_reserve(self, pool: str, cost: int) -> bool:
        workers = self.data.workers.values()
        ready = [one for one in workers if one.offer.pool == pool and not one.draining and self._fresh(one)]
        kept = self.data.reserve.get(pool, 0)
        return 0 < kept > sum(self.free(worker.name) for worker in ready) - cost

    def _take_seat(self, session: str, found: ModelSession, seat: Seat, epoch: int) -> Claim:
        found.stand_in = seat.choice.model
        return self._give(session, found, seat.worker, seat.cost, epoch, seat.rung)

    def _give(
        self, session: str, found: ModelSession, worker: ModelWorker, cost: int, epoch: int, rung: Rung | None
    ) -> Claim:
        offer = worker.offer
        found.epoch, found.lease_ms = epoch, self.now + worker.lease_ms
        if rung is not None:
            self._note_grant(found, rung)
        self._end_waiting(found)
        found.claim = Claim(session, epoch, offer.identity, offer.address, offer.pool, cost)
        return found.claim

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _is_waiting(self, found: ModelSession) -> bool:
        if found.waits is None or found.phase in FINISHED:
            return False
        epoch, asked_ms = found.waits
        return epoch == found.epoch and 0 <= self.now - asked_ms <= liveness.WAITS_MS

    def _note_waiting(self, found: ModelSession) -> None:
        waited = self._is_waiting(found)
        found.waits = found.epoch, self.now
        since = found.waits_since if waited else {}
        found.waits_since = {choice.pool: since.get(choice.pool, self.now) for choice in found.pools}

    def _end_waiting(self, found: ModelSession) -> None:
        found.waits, found.waits_since = None, {}

    def waiting(self, pool: str) -> tuple[Waiting, ...]:
        here = [
            Waiting(name, found.waits_since[pool], found.had_worker)
            for name, found in self.data.sessions.items()
            if self._is_waiting(found) and pool in found.waits_since
        ]
        return tuple(sorted(here, key=lambda one: (one.since_ms, one.session)))

    def _has_room(self, worker: str) -> None:
        """More than before."""
        known = self.data.workers[worker]
        if not known.draining and self._fresh(known) and self.waiting(known.offer.pool):
            known.room_ms = self.now

    def _is_kept_for_waiting(self, worker: ModelWorker) -> bool:
        if worker.room_ms is None or not 0 <= self.now - worker.room_ms < liveness.ROOM_KEPT_MS:
            return False
        return bool(self.waiting(worker.offer.pool))

    def decide(self, pool: str, holder: str, rank: int) -> bool:
        known = self.data.deciders.get(pool)
        if known is not None:
            who, its_rank, until_ms = known
            if 0 < until_ms - self.now <= liveness.DECIDES_MS and who != holder and its_rank <= rank:
                return False
        self.data.deciders[pool] = holder, rank, self.now + liveness.DECIDES_MS
        return True

    # -- levels -----------------------------------------------------------------------------------------------------

    def _note_grant(self, found: ModelSession, rung: Rung) -> None:
        found.granted, found.granted_epoch = rung, found.epoch
        found.number, found.granted_ms = max(found.number + 1, self.wall), self.now
        found.surplus = None
        self._note_below(found)

    def _note_below(self, found: ModelSession) -> None:
        assert found.granted is not None
        if found.granted.every == 2 or found.granted.steps < found.requested:
            found.below_ms = found.below_ms or self.now
        else:
            found.below_ms = 0

    def _pay(self, found: ModelSession, cost: int) -> None:
        assert found.claim is not None
        is_less = cost < found.claim.cost
        found.claim = replace(found.claim, cost=cost)
        if is_less:
            self._has_room(found.claim.worker.name)

    def _can_pay(self, found: ModelSession, cost: int, *, reserve: bool) -> bool:
        assert found.claim is not None
        worker, more = self.data.workers[found.claim.worker.name], cost - found.claim.cost
        if more <= 0:
            return True
        kept = reserve and not worker.draining and self._breaks_reserve(found.claim.pool, more)
        return more <= self.free(worker.name) and not kept

    def _affordable(self, found: ModelSession, wanted: Rung, *, reserve: bool) -> Rung:
        """The highest rung up to that one; never less than it has."""
        assert found.claim is not None
        if wanted.place <= found.has.place or self.data.workers[found.claim.worker.name].overloaded:
            return found.has
        least = found.least_steps(wanted.steps) if found.has.every == 2 else found.has.steps + 1
        for steps in range(wanted.steps, least - 1, -1):
            if self._can_pay(found, found.levels[steps - 1], reserve=reserve):
                return Rung(steps)
        return found.has

    def _raise(self, found: ModelSession, wanted: Rung, *, reserve: bool) -> None:
        assert found.claim is not None
        assert found.choice is not None
        rung = self._affordable(found, wanted, reserve=reserve)
        due = found.cost_at(found.choice, min(rung, wanted, key=lambda one: one.place))
        if due is not None and due > found.claim.cost and self._can_pay(found, due, reserve=reserve):
            self._pay(found, due)

        is_granted = found.last_granted is not None and found.has.place == rung.place
        half = found.choice.half
        if rung.every == 2 and half is not None and found.may_halve(found.choice) and half.cost <= found.claim.cost:
            is_granted = is_granted and found.has.steps == half.steps
            rung = Rung(half.steps, 2)
        if not is_granted:
            self._note_grant(found, rung)

    def _beat(self, found: ModelSession) -> None:
        assert found.claim is not None
        assert found.choice is not None or found.granted is not None
        if found.levels:
            self._beat_with_levels(found)
        elif found.granted is not None:
            has_all = found.granted.steps >= found.requested and found.granted.every == 1
            if not has_all and not self.data.workers[found.claim.worker.name].overloaded:
                self._note_grant(found, Rung(found.requested))
        self._note_below(found)

    def _beat_with_levels(self, found: ModelSession) -> None:
        assert found.claim is not None
        assert found.choice is not None
        allowed = found.allowed(found.requested)
        self._raise(found, self._allowed_now(found, found.requested), reserve=True)
        if found.has.place <= allowed.place:
            found.surplus = None
        elif found.surplus is None or found.surplus.place != allowed.place:
            found.surplus, found.surplus_ms = allowed, self.now
        elif self._may_give_back(found, allowed):
            self._note_grant(found, found.rung_at(found.choice, allowed))

    def _may_give_back(self, found: ModelSession, allowed: Rung) -> bool:
        """Long enough; and the lower level is paid for, also where it is the dearer one."""
        assert found.claim is not None
        assert found.choice is not None
        is_over = self.now - found.surplus_ms >= liveness.GIVE_BACK_MS
        return is_over and (found.cost_at(found.choice, allowed) or 0) <= found.claim.cost

    def _allowed_now(self, found: ModelSession, wish: int) -> Rung:
        """A hole is kept for those who wait for a worker."""
        assert found.claim is not None
        allowed, kept = found.allowed(wish), self._is_kept_for_waiting(self.data.workers[found.claim.worker.name])
        return found.has if allowed.place > found.has.place and kept else allowed

    def limit(
        self, session: str, epoch: int, number: int, steps: int | None, every: int, cause: LimitCause
    ) -> LimitOutcome:
        found = self._current(session, epoch)
        if found is None or found.claim is None or found.granted_epoch != epoch or found.number != number:
            return LimitOutcome.STALE
        choice = found.choice
        if choice is None or not choice.levels:
            return LimitOutcome.STALE
        limit = None if steps is None else Rung(steps, every)
        if limit is not None and not self._may_have(found, choice, limit):
            return LimitOutcome.STALE

        self._note_limit(found, None if limit is None else LevelLimit(limit.steps, limit.every, cause, self.now))
        allowed = found.allowed(found.requested)
        if limit is None or found.has.place <= limit.place:
            self._raise(found, allowed, reserve=True)
        else:
            due = found.cost_at(choice, limit)
            assert due is not None
            if not self._can_pay(found, due, reserve=True):
                return LimitOutcome.NO_ROOM
            self._pay(found, max(found.claim.cost, due))
            self._note_grant(found, found.rung_at(choice, limit))
        return LimitOutcome.DONE if found.has.place >= allowed.place else LimitOutcome.NO_ROOM

    def _may_have(self, found: ModelSession, choice: PoolChoice, limit: Rung) -> bool:
        assert found.claim is not None
        if limit.every == 1:
            return limit.steps >= found.least_steps(found.requested)
        halves = self.data.workers[found.claim.worker.name].offer.halves
        return found.may_halve(choice) and choice.half is not None and choice.half.steps == limit.steps and halves

    def _note_limit(self, found: ModelSession, limit: LevelLimit | None) -> None:
        """Since when stays, where it is the same again."""
        known = found.limit[1] if found.limit is not None and found.limit[0] == found.epoch else None
        if limit is not None and known is not None and replace(known, since_ms=limit.since_ms) == limit:
            return
        found.limit = None if limit is None else (found.epoch, limit)

    def wish(self, session: str, steps: int, id: int) -> None:  # noqa: A002 - the stream's word
        found = self.data.sessions.get(session)
        if found is not None and (found.wish is None or id > found.wish_id):
            found.wish, found.wish_id = steps, id

    def grant(self, session: str, steps: int) -> GrantAnswer:
        found = self._active(session)
        if found.claim is None or not found.levels:
            return GrantAnswer(GrantOutcome.UNSERVED)
        self._raise(found, self._allowed_now(found, steps), reserve=True)
        fits = found.has.place >= steps and found.claim.cost >= found.levels[steps - 1]
        return GrantAnswer(GrantOutcome.FITS if fits else GrantOutcome.NO_ROOM, found.has.steps)

    def settle(self, session: str, epoch: int, number: int) -> bool:
        found = self._current(session, epoch)
        if found is None or found.claim is None or found.last_granted is None or found.number != number:
            return False
        if found.levels:
            self._pay(found, min(found.claim.cost, found.due))
        return True

    def _orphan(self, found: ModelSession, reason: str) -> None:
        self._leave(found)
        found.phase, found.reason = Phase.RECOVERING, reason

    def _release(self, found: ModelSession, phase: Phase, reason: str) -> None:
        self._leave(found)
        found.phase, found.reason = phase, reason
        if phase in FINISHED:
            self._end_waiting(found)
            found.over_ms = self.now + found.ttl_ms

    def _leave(self, found: ModelSession) -> None:
        """It has no worker any more, and that one has more room."""
        if found.claim is not None:
            claim, found.claim = found.claim, None
            self._has_room(claim.worker.name)

    # -- the verbs --------------------------------------------------------------------------------------------------

    def create(self, record: SessionRecord) -> bool:
        found = self.data.sessions.get(record.name)
        ttl_ms = record.session.ttl_seconds_after_finished * 1_000
        if found is not None:
            found.over_ms += ttl_ms - found.ttl_ms
            if record.pools != found.pools:
                self._end_waiting(found)
            found.pools, found.idle_timeout_ms, found.ttl_ms = record.pools, record.session.idle_timeout_ms, ttl_ms
            found.steps = record.session.steps
            return False
        phase = Phase.RECOVERING if record.epoch else Phase.PENDING
        new = ModelSession(record.pools, record.session.idle_timeout_ms, ttl_ms, self.now, phase, epoch=record.epoch)
        new.format, new.uid, new.steps = record.snapshot_format, record.uid, record.session.steps
        new.adaptive = record.session.approximation.policy is ApproximationPolicy.ADAPTIVE
        if record.granted is not None:
            new.granted, new.granted_epoch = _rung_of(record.granted), record.epoch
            new.number, new.granted_ms = record.granted.number, record.granted.since_ms
        new.limit = None if record.limit is None else (record.epoch, record.limit)
        new.below_ms, new.stand_in = record.below_since_ms, record.stand_in
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
        worker = self.data.workers[offer.identity.name] = ModelWorker(offer, self.now)
        self._has_room(worker.name)
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
        was_overloaded = worker.overloaded
        worker.overloaded = worker.overloaded if overloaded is None else overloaded
        if progress > worker.progress:
            worker.progress, worker.heartbeat_ms = progress, self.now
            for session in owned:
                self.data.sessions[session].lease_ms = self.now + worker.lease_ms
        if was_overloaded and not worker.overloaded:
            self._has_room(worker.name)
        mine = {session: self.data.sessions[session] for session in owned}
        levelled = {name: found for name, found in mine.items() if found.levels or found.last_granted is not None}
        for session in sorted(levelled, key=lambda session: (levelled[session].granted_ms, session)):
            self._beat(levelled[session])
        epochs = {session: claim.epoch for session, claim in owned.items()}
        ceilings = {session: self._ceiling(found) for session, found in levelled.items()}
        return Renewal(known=True, holding=holding, owned=epochs, closed=worker.draining, ceilings=ceilings)

    def _ceiling(self, found: ModelSession) -> Ceiling:
        assert found.claim is not None
        rung = found.has if found.levels else found.granted
        assert rung is not None
        due = found.due if found.levels else found.claim.cost
        limit = found.limit[1] if found.limit is not None and found.limit[0] == found.epoch else None
        return Ceiling(rung.steps, found.number, found.claim.cost, due, rung.every, limit, found.below_ms)

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
        self._leave(found)
        granted, limit = one.record.granted, one.record.limit
        found.number = max(found.number, granted.number if granted else 0)
        found.below_ms = found.below_ms or one.record.below_since_ms
        if limit is not None and (found.limit is None or found.limit[0] != one.epoch):
            found.limit = one.epoch, limit
        self._give(one.session, found, worker, one.cost, one.epoch, _rung_of(granted) if granted else None)
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
        seat = self._choose_or_wait(session, found, found.rungs_to_go_on, excluded=(), reserve=True)
        if found.phase is Phase.PENDING:
            found.phase, found.reason = Phase.ASSIGNED, ""
        return self._take_seat(session, found, seat, self._next_epoch(found))

    def _choose_or_wait(
        self,
        session: str,
        found: ModelSession,
        rungs: Sequence[Rung],
        *,
        excluded: Sequence[str | None],
        reserve: bool,
        waits: bool = True,
    ) -> Seat:
        try:
            return self._choose(session, found, rungs, excluded=excluded, reserve=reserve)
        except NoCapacity:
            if waits:
                self._note_waiting(found)
            raise

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
        polite = cause in (MoveCause.DRAIN, MoveCause.REQUESTED)
        if found.claim and went_back and owner != suspect and self._fresh(self.data.workers[found.claim.worker.name]):
            worker, cost = self.data.workers[found.claim.worker.name], found.claim.cost
            rung = found.has if found.levels else None
            self._leave(found)
            claim = self._give(session, found, worker, cost, self._next_epoch(found), rung)
        else:
            rungs = found.rungs_to_keep if polite else found.rungs_to_go_on
            seat = self._choose_or_wait(
                session,
                found,
                rungs if steps is None else [Rung(steps)],
                excluded=(suspect, owner),
                reserve=False,
                waits=cause is not MoveCause.REQUESTED,
            )
            self._leave(found)
            claim = self._take_seat(session, found, seat, self._next_epoch(found))
        found.phase, found.reason = Phase.DRAINING if polite else Phase.RECOVERING, cause.value
        return Move(claim, won=True)

    def fit(self, session: str, expected: int) -> Fit:
        found = self._active(session)
        if found.claim is None or found.epoch != expected:
            return Fit.STALE
        cost = next((choice.cost for choice in found.pools if choice.pool == found.claim.pool), None)
        if cost is None:
            return Fit.ELSEWHERE
        if found.levels:
            return self._fit_levels(found)
        if cost > found.claim.cost + self.free(found.claim.worker.name):
            return Fit.NO_ROOM
        self._pay(found, cost)
        return Fit.FITS

    def _fit_levels(self, found: ModelSession) -> Fit:
        """All that the plan of levels allows."""
        assert found.claim is not None
        assert found.choice is not None
        wanted = found.allowed(found.requested)
        self._raise(found, wanted, reserve=False)
        due = found.cost_at(found.choice, wanted)
        fits = found.has.place >= wanted.place and (due is None or found.claim.cost >= due)
        return Fit.FITS if fits else Fit.NO_ROOM

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
