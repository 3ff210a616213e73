"""Of the claims' model: who has room for whom, who waits for some, and what a claim gives."""

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from genlock_core.claims import liveness
from genlock_core.claims.claims import (
    Claim,
    SessionEnded,
    Waiting,
)
from genlock_core.claims.record import FINISHED, PoolChoice
from genlock_core.errors import NoCapacity, Overloaded, UnknownSession
from tests.core.claims.model_data import ModelData, ModelSession, ModelWorker, Rung


@dataclass
class Seat:
    """What a session is given."""

    worker: ModelWorker
    choice: PoolChoice
    cost: int
    rung: Rung | None
    """None: its pool has no levels."""


class ModelRooms:
    """`run` stands for Redis' run id, `wall` for its clock."""

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
                seat = self._choose_at(session, found, choices, rung, excluded=[*excluded, *without], reserve=reserve)
                if seat is not None and not without and overloaded and not found.had_worker:
                    raise Overloaded(session)
                if seat is not None:
                    return seat
        raise NoCapacity(session, "model")

    def _choose_at(
        self,
        session: str,
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
                and (found.had_worker or self.hole_for(choice.pool, worker.name) in (None, session))
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
        if found.waits is not None:
            pools = {choice.pool for choice in found.pools}
            self.data.holes = {p: hole for p, hole in self.data.holes.items() if p not in pools or hole[0] != session}
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

    def hole_for(self, pool: str, worker: str) -> str | None:
        """For whom that worker's room is kept."""
        session, its_worker, since_ms = self.data.holes.get(pool, ("", "", 0))
        found = self.data.sessions.get(session)
        waits = found is not None and self._is_waiting(found) and pool in found.waits_since
        holds = waits and self._is_there(pool, its_worker)
        return session if holds and worker == its_worker and self._is_within(since_ms, liveness.HOLE_KEPT_MS) else None

    def _is_there(self, pool: str, worker: str) -> bool:
        """It is a worker of the pool that claims may find."""
        known = self.data.workers.get(worker)
        return known is not None and known.offer.pool == pool and not known.draining

    def _is_within(self, since_ms: int, span_ms: int) -> bool:
        return 0 <= self.now - since_ms < span_ms

    def _keep_hole(self, session: str, found: ModelSession) -> None:
        """For who waits longest: the room of the worker that has the most, if it could ever be enough and is not.

        In one pool at a time, in the cheapest first.
        """
        never_ran = not found.had_worker and found.format == 0 and found.stand_in is None
        others = [choice for choice in found.pools if choice.model is not None and choice not in found.choices]
        choices = [*found.choices, *(others if never_ran else [])]
        if any(self._kept_at(choice.pool, session) is not None for choice in choices):
            return
        for choice in choices:
            waits = self.waiting(choice.pool)
            _, last_worker, last_ms = self.data.holes.get(choice.pool, ("", "", -(10**15)))
            is_first = waits[:1] and waits[0].session == session
            if not is_first or self.now - waits[0].since_ms < liveness.HOLE_AFTER_MS:
                continue
            is_paused = self._is_within(last_ms, liveness.HOLE_KEPT_MS + liveness.HOLE_PAUSE_MS)
            if is_paused and self._is_there(choice.pool, last_worker):
                continue
            costs = [(found.cost_at(choice, rung), rung) for rung in reversed(found.rungs_to_go_on)]
            cost, rung = next((cost, rung) for cost, rung in costs if cost is not None)
            able = [
                worker
                for worker in self.data.workers.values()
                if worker.offer.pool == choice.pool
                and not worker.draining
                and self._fresh(worker)
                and worker.offer.capacity >= cost
                and worker.offer.formats.reads(found.format)
                and (rung.every == 1 or worker.offer.halves)
                and (found.had_worker or not self.is_overloaded(worker))
            ]
            worker = max(able, key=lambda one: (self.free(one.name), one.name), default=None)
            if worker is not None and self.free(worker.name) < cost:
                self.data.holes[choice.pool] = session, worker.name, self.now
                return

    def waiting(self, pool: str) -> tuple[Waiting, ...]:
        here = [
            Waiting(name, found.waits_since[pool], found.had_worker, self._kept_at(pool, name))
            for name, found in self.data.sessions.items()
            if self._is_waiting(found) and pool in found.waits_since
        ]
        return tuple(sorted(here, key=lambda one: (one.since_ms, one.session)))

    def _kept_at(self, pool: str, session: str) -> str | None:
        worker = self.data.holes.get(pool, ("", "", 0))[1]
        return worker if self.hole_for(pool, worker) == session else None

    def _has_room(self, worker: str) -> None:
        """More than before."""
        known = self.data.workers[worker]
        if not known.draining and self._fresh(known) and self.waiting(known.offer.pool):
            known.room_ms = self.now

    def _is_kept_for_waiting(self, worker: ModelWorker) -> bool:
        if self.hole_for(worker.offer.pool, worker.name) is not None:
            return True
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

    # -- what is granted --------------------------------------------------------------------------------------------

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
