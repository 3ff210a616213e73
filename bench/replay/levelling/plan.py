"""Our policy: a claim takes the highest level that fits; where none does, `allocate` makes a hole.

Workers do not depend on each other in a plan, and what it says of one hangs on few things: what each session asks for
and has, which rules of time hold for it, and who was lowered first. So each such state is planned once, and remembered.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.replay.fleet import Fleet, FleetWorker, LiveSession
from bench.replay.ladders import POOL, Ladders
from bench.replay.levelling.exact import with_least_loss
from bench.replay.levelling.policy import highest_that_fits
from genlock_core.approximation.allocate import allocate
from genlock_core.approximation.options import RIPE_MS, SETTLE_MS
from genlock_core.approximation.plan import LevelSession, LevelWorker
from genlock_core.claims.identity import CAPACITY

NEWCOMER: Final = "newcomer"
WORKER: Final = "worker"
_NOW_MS: Final = 10_000_000
_DUE_S: Final = (SETTLE_MS / 1_000, RIPE_MS / 1_000)
_EXACT_S: Final = 1e-6
"""A rule that is due holds: the last digits of a float must not have it looked at for ever."""
_AGAIN_S: Final = 15.0


class _SessionState(NamedTuple):
    """All that a plan goes by of a session."""

    prompt: int
    place: int
    kept_ms: int | None
    """For how long it has kept its level: as long as the rules of time tell apart. None: long enough for all."""
    lowered: int | None
    """In which order the sessions of a worker were lowered; None: it is not."""


class _Decided(NamedTuple):
    """What a plan says: the changes in their order, by number of the session; and the newcomer's level."""

    changes: tuple[tuple[int, int], ...]
    newcomer: int | None


class Planned:
    """The plan of the product, as whoever keeps a pool's levels carries it out."""

    name = "our plan"

    def __init__(self, ladders: Ladders) -> None:
        self._costs = ladders.costs
        self._ladders = [{POOL: ladder} for ladder in ladders.for_prompts()]
        self._levels = [rung.level for rung in self._ladders[0][POOL].rungs]
        self._known: dict[tuple[int | None, tuple[_SessionState, ...]], _Decided] = {}

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        seated = highest_that_fits(fleet, name, prompt)
        if seated is not None:
            return seated

        worker = with_least_loss(fleet, prompt)
        if worker is None:
            return None
        place = self._carry_out(fleet, worker, prompt)
        if place is None:
            return None
        fleet.seat(name, prompt, worker, place)
        fleet.meter.let_in_by_plan += 1
        return worker

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        if any(session.place for session in worker.sessions.values()):
            self._carry_out(fleet, worker, None)

    def looks_again_in(self, fleet: Fleet, worker: FleetWorker) -> float | None:
        """When one of its sessions has kept its level long enough for another rule to hold."""
        if not any(session.place for session in worker.sessions.values()):
            return None
        ages_s = [fleet.now_s - one.changed_s for one in worker.sessions.values() if one.changed_s is not None]
        return min((due_s - age_s for age_s in ages_s for due_s in _DUE_S if age_s < due_s - _EXACT_S), default=None)

    def _carry_out(self, fleet: Fleet, worker: FleetWorker, newcomer: int | None) -> int | None:
        """Change what the plan changes; the level that it has for the newcomer."""
        sessions = [worker.sessions[name] for name in sorted(worker.sessions)]
        state = newcomer, _states(fleet, sessions)
        if state not in self._known:
            self._known[state] = self._decide(*state)
        decided = self._known[state]
        for number, place in decided.changes:
            fleet.change(sessions[number], place)
        return decided.newcomer

    def _decide(self, newcomer: int | None, states: Sequence[_SessionState]) -> _Decided:
        """Ask the product."""
        sessions = [self._seen(f"{number:03}", state) for number, state in enumerate(states)]
        if newcomer is not None:
            sessions.append(LevelSession(NEWCOMER, self._ladders[newcomer]))
        plan = allocate(sessions, [LevelWorker(WORKER, POOL, CAPACITY)], now_ms=_NOW_MS)

        places = {change.session: self._levels.index(change.after) for change in plan.changes}
        place = places.pop(NEWCOMER, None)
        return _Decided(tuple((int(name), after) for name, after in places.items()), place)

    def _seen(self, name: str, state: _SessionState) -> LevelSession:
        return LevelSession(
            name=name,
            ladders=self._ladders[state.prompt],
            worker=WORKER,
            granted=self._levels[state.place],
            cost=self._costs[state.place],
            changed_ms=None if state.kept_ms is None else _NOW_MS - state.kept_ms,
            below_since_ms=state.lowered,
        )


class PlannedWithMoves(Planned):
    """The same, and a lowered session moves to any worker that has room for what it asks for.

    The product does not do that. It is what a count of free slots in the whole pool takes for granted.
    """

    name = "our plan, and moves that raise"

    def looks_again_in(self, fleet: Fleet, worker: FleetWorker) -> float | None:  # noqa: ARG002
        """For room elsewhere it looks all the time."""
        return _AGAIN_S if any(session.place for session in worker.sessions.values()) else None

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        super().replan(fleet, worker)
        for session in list(worker.sessions.values()):
            room = fleet.fullest(fleet.ladders.requested) if session.place else None
            if room is not None:
                fleet.move(session, room)
                fleet.change(session, 0)


def _states(fleet: Fleet, sessions: Sequence[LiveSession]) -> tuple[_SessionState, ...]:
    moments = sorted({one.below_since_s for one in sessions if one.below_since_s is not None})
    return tuple(
        _SessionState(
            prompt=one.prompt,
            place=one.place,
            kept_ms=_kept_ms(fleet.now_s, one.changed_s),
            lowered=None if one.below_since_s is None else moments.index(one.below_since_s),
        )
        for one in sessions
    )


def _kept_ms(now_s: float, changed_s: float | None) -> int | None:
    """0 while it settles, then the time of settling until it is ripe."""
    settled_s, ripe_s = _DUE_S
    if changed_s is None or now_s - changed_s >= ripe_s - _EXACT_S:
        return None
    return 0 if now_s - changed_s < settled_s - _EXACT_S else SETTLE_MS
