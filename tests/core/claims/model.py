"""What the claims must do, in plain Python: the state machine compares every answer and the whole state with this.

It has no free counters and no indices: room is what the sessions leave, leases and timeouts are looked up one by one.
So a script that books wrongly, or forgets an index, differs from it.
"""

from dataclasses import replace

from genlock_core.claims import liveness
from genlock_core.claims.claims import (
    Claim,
    Fit,
    Held,
    Move,
    MoveCause,
    MoveHeld,
    Reasserted,
    Renewal,
)
from genlock_core.claims.facts import Ceiling
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.claims.record import FINISHED, Granted, SessionRecord
from genlock_core.errors import NoCapacity, Overloaded, StaleEpoch
from genlock_core.spec.session import ApproximationPolicy, Phase
from tests.core.claims.model_data import ModelSession, ModelWorker, Rung
from tests.core.claims.model_levels import ModelLevels


def _rung_of(granted: Granted) -> Rung:
    return Rung(granted.steps, granted.every)


class Model(ModelLevels):
    """The rules of the claims, one method per verb."""

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
        try:
            seat = self._choose_or_wait(session, found, found.rungs_to_go_on, excluded=(), reserve=True)
        except NoCapacity as full:
            if not isinstance(full, Overloaded):
                self._keep_hole(session, found)
            raise
        if found.phase is Phase.PENDING:
            found.phase, found.reason = Phase.ASSIGNED, ""
        return self._take_seat(session, found, seat, self._next_epoch(found))

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
