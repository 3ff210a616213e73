"""Of the claims' model: what is granted, by wishes, plans and heartbeats, and what that costs."""

from dataclasses import replace

from genlock_core.claims import liveness
from genlock_core.claims.claims import (
    GrantAnswer,
    GrantOutcome,
    LimitOutcome,
)
from genlock_core.claims.record import LevelLimit, PoolChoice
from tests.core.claims.model_data import ModelSession, Rung
from tests.core.claims.model_rooms import ModelRooms


class ModelLevels(ModelRooms):
    """The rules of `scripts/levels.lua`, and the verbs that only change levels."""

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

    def limit(self, session: str, epoch: int, number: int, steps: int | None, every: int) -> LimitOutcome:
        found = self._current(session, epoch)
        if found is None or found.claim is None or found.granted_epoch != epoch or found.number != number:
            return LimitOutcome.STALE
        choice = found.choice
        if choice is None or not choice.levels:
            return LimitOutcome.STALE
        limit = None if steps is None else Rung(steps, every)
        if limit is not None and not self._may_have(found, choice, limit):
            return LimitOutcome.STALE

        self._note_limit(found, None if limit is None else LevelLimit(limit.steps, limit.every, self.now))
        allowed = found.allowed(found.requested)
        if limit is None or found.has.place <= limit.place:
            kept = self.hole_for(found.claim.pool, found.claim.worker.name) is not None
            self._raise(found, min(allowed, found.has, key=lambda rung: rung.place) if kept else allowed, reserve=True)
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
        return GrantAnswer(GrantOutcome.FITS if fits else GrantOutcome.NO_ROOM, found.has.steps, found.has.every)

    def settle(self, session: str, epoch: int, number: int) -> bool:
        found = self._current(session, epoch)
        if found is None or found.claim is None or found.last_granted is None or found.number != number:
            return False
        if found.levels:
            self._pay(found, min(found.claim.cost, found.due))
        return True
