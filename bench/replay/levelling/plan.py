"""Our policy: a claim takes the highest level that fits; where none does, `allocate` makes a hole."""

from collections.abc import Iterable, Sequence

from bench.replay.fleet import Fleet, FleetWorker, LiveSession
from bench.replay.ladders import POOL, Ladders
from bench.replay.levelling.exact import best_levels
from bench.replay.levelling.policy import highest_that_fits
from genlock_core.approximation.allocate import allocate
from genlock_core.approximation.options import RIPE_MS, SETTLE_MS
from genlock_core.approximation.plan import LevelPlan, LevelSession, LevelWorker
from genlock_core.claims.identity import CAPACITY

NEWCOMER = "newcomer"
_ASKED = 4
"""So many workers the plan is asked of for a newcomer."""
_RULES_S = (SETTLE_MS / 1_000, RIPE_MS / 1_000)
_AGAIN_S = 15.0


class Planned:
    """The plan of the product, as whoever keeps a pool's levels carries it out."""

    name = "our plan"

    def __init__(self, ladders: Ladders) -> None:
        self._ladders = [{POOL: ladder} for ladder in ladders.for_prompts()]
        self._levels = [rung.level for rung in self._ladders[0][POOL].rungs]
        self._places = {level: place for place, level in enumerate(self._levels)}

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        seated = highest_that_fits(fleet, name, prompt)
        if seated is not None:
            return seated

        workers = _promising(fleet, prompt)
        if not workers:
            return None
        plan = self._plan(fleet, workers, [LevelSession(NEWCOMER, self._ladders[prompt])])
        return self._carry_out(fleet, plan, workers, name, prompt)

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        if any(session.place for session in worker.sessions.values()):
            self._carry_out(fleet, self._plan(fleet, [worker], ()), [worker])

    def looks_again_in(self, fleet: Fleet, worker: FleetWorker) -> float | None:
        """When one of its sessions has kept its level long enough for another rule to hold."""
        if not any(session.place for session in worker.sessions.values()):
            return None
        ages_s = [fleet.now_s - one.changed_s for one in worker.sessions.values() if one.changed_s is not None]
        flips = [_rounded_up(rule_s - age_s) for age_s in ages_s for rule_s in _RULES_S if age_s < rule_s]
        return min(flips, default=None)

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


def _promising(fleet: Fleet, prompt: int) -> list[FleetWorker]:
    """The workers whose sessions lose least by the newcomer, by an exact count that knows no rule of time.

    The plan is asked of these few, as each of them costs it a knapsack, and of no two that are alike.
    """
    found: dict[object, tuple[float, FleetWorker]] = {}
    for worker in fleet.ready:
        # With everybody at the lowest level it is full.
        if len(worker.sessions) < fleet.ladders.at_lowest:
            prompts = [session.prompt for session in worker.sessions.values()]
            loss = _quality(fleet, prompts) - _quality(fleet, [*prompts, prompt])
            alike = tuple(sorted((session.prompt, session.place) for session in worker.sessions.values()))
            found.setdefault(alike, (loss, worker))
    best = sorted(found.values(), key=lambda one: (one[0], one[1].number))
    return [worker for _, worker in best[:_ASKED]]


def _quality(fleet: Fleet, prompts: Sequence[int]) -> float:
    best = best_levels(fleet.ladders.costs, tuple(sorted(prompts)))
    return best[0] if best is not None else 0.0


def _rounded_up(seconds: float) -> float:
    """The plan counts in milliseconds."""
    return seconds + 0.002


def _name(number: int) -> str:
    return f"{number:08}"
