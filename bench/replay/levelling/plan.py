"""Our policy: a claim takes the highest level that fits; where none does, `allocate` makes a hole."""

from collections.abc import Iterable, Sequence

from bench.replay.fleet import Fleet, FleetWorker, LiveSession
from bench.replay.ladders import POOL, Ladders
from bench.replay.levelling.policy import highest_that_fits
from genlock_core.approximation.allocate import allocate
from genlock_core.approximation.options import RIPE_MS
from genlock_core.approximation.plan import LevelPlan, LevelSession, LevelWorker
from genlock_core.claims.identity import CAPACITY

NEWCOMER = "newcomer"


class Planned:
    """The plan of the product, as whoever keeps a pool's levels carries it out."""

    name = "our plan"
    looks_again = True

    def __init__(self, ladders: Ladders) -> None:
        self._ladders = [{POOL: ladder} for ladder in ladders.for_prompts()]
        self._levels = [rung.level for rung in self._ladders[0][POOL].rungs]
        self._places = {level: place for place, level in enumerate(self._levels)}

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        seated = highest_that_fits(fleet, name, prompt)
        if seated is not None:
            return seated

        workers = _different(fleet)
        if not workers:
            return None
        plan = self._plan(fleet, workers, [LevelSession(NEWCOMER, self._ladders[prompt])])
        return self._carry_out(fleet, plan, workers, name, prompt)

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        if any(session.place for session in worker.sessions.values()):
            self._carry_out(fleet, self._plan(fleet, [worker], ()), [worker])

    def _plan(self, fleet: Fleet, workers: Sequence[FleetWorker], newcomers: Iterable[LevelSession]) -> LevelPlan:
        seated = [self._seen(fleet, one) for worker in workers for one in worker.sessions.values()]
        return allocate(
            [*seated, *newcomers],
            [LevelWorker(_name(worker.number), POOL, CAPACITY) for worker in workers],
            now_ms=int(1_000 * fleet.now_s),
        )

    def _seen(self, fleet: Fleet, session: LiveSession) -> LevelSession:
        return LevelSession(
            name=_name(session.name),
            ladders=self._ladders[session.prompt],
            worker=_name(session.worker.number),
            granted=self._levels[session.place],
            cost=fleet.ladders.costs[session.place],
            changed_ms=None if session.changed_s is None else int(1_000 * session.changed_s),
            below_since_ms=None if session.below_since_s is None else int(1_000 * session.below_since_s),
        )

    def _carry_out(
        self, fleet: Fleet, plan: LevelPlan, workers: Sequence[FleetWorker], name: int = -1, prompt: int = 0
    ) -> FleetWorker | None:
        """Change by change, in the plan's order; the newcomer's worker, if the plan lets it in."""
        by_name = {_name(worker.number): worker for worker in workers}
        seated = None
        for change in plan.changes:
            place = self._places[change.after]
            if change.session == NEWCOMER:
                seated = by_name[change.worker]
                fleet.seat(name, prompt, seated, place)
                fleet.meter.let_in_by_plan += 1
            else:
                fleet.change(fleet.sessions[int(change.session)], place)
        return seated


class PlannedWithMoves(Planned):
    """The same, and a lowered session moves to any worker that has room for what it asks for.

    The product does not do that. It is what a count of free slots in the whole pool takes for granted.
    """

    name = "our plan, and moves that raise"

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        super().replan(fleet, worker)
        for session in list(worker.sessions.values()):
            room = fleet.fullest(fleet.ladders.requested) if session.place else None
            if room is not None:
                fleet.move(session, room)
                fleet.change(session, 0)


def _different(fleet: Fleet) -> list[FleetWorker]:
    """Workers that can make a hole, of those that are alike to a plan the first one, which is the one that it takes.

    Alike are workers whose sessions have all that they ask for, for long, and lose the same by each level.
    """
    found: dict[object, FleetWorker] = {}
    for worker in sorted(fleet.ready, key=lambda one: one.number):
        # With everybody at the lowest level it is full.
        if len(worker.sessions) >= fleet.ladders.at_lowest:
            continue
        at_top = not any(session.place for session in worker.sessions.values())
        is_old = fleet.now_s - worker.touched_s > RIPE_MS / 1_000
        alike = tuple(sorted(session.prompt for session in worker.sessions.values()))
        found.setdefault(alike if at_top and is_old else worker.number, worker)
    return list(found.values())


def _name(number: int) -> str:
    return f"{number:08}"
