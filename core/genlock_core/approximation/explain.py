"""A plan of levels in sentences: what changes and why, and who runs below its request for how long."""

from collections.abc import Iterable, Mapping

from genlock_core.approximation.levels import Ladder, Rung, share_of
from genlock_core.approximation.options import SETTLE_MS, is_settling
from genlock_core.approximation.plan import LevelCause, LevelChange, LevelPlan, LevelSession, LevelWorker, Seat

_MS = 1_000


def explain(
    plan: LevelPlan, sessions: Iterable[LevelSession], workers: Iterable[LevelWorker], *, now_ms: int
) -> list[str]:
    """One sentence for each change, for each session that is not at its top afterwards, and for the plan as a whole.

    `sessions`, `workers` and `now_ms` are those that the plan was made from.
    """
    known = {one.name: one for one in sessions}
    free = _free_after(plan, workers)
    pools = {seat.session: seat.pool for seat in plan.seats}

    told = [_of_change(change, known[change.session].ladders[pools[change.session]]) for change in plan.changes]
    changed = {change.session for change in plan.changes}
    for seat in plan.seats:
        ladder = known[seat.session].ladders.get(seat.pool)
        if ladder is not None and seat.level is not None and _next_rung(ladder, seat) is not None:
            settles = seat.session in changed or is_settling(known[seat.session], now_ms)
            told.append(_of_seat(seat, ladder, free[seat.worker], settles=settles))
    told += [f"{name} waits: {_why_it_waits(known[name])}" for name in plan.waiting]
    told += [f"{name} waits for the next plan: this one lets in as many as it may" for name in plan.postponed]
    told += [f"{name} has more than it can carry, with every session at its lowest" for name in plan.overfull]
    return [*told, _of_all(plan)]


def _of_change(change: LevelChange, ladder: Ladder) -> str:
    share = share_of(change.after, ladder.top.level)
    match change.cause:
        case LevelCause.ADMITTED:
            return f"{change.session} comes to {change.worker} with {share}, for {change.cost} thousandths"
        case LevelCause.GIVEN_BACK:
            return f"{change.session} gives back what it does not ask for any more: {share}"
        case LevelCause.RAISED:
            return f"{change.session} is raised to {share}: {change.worker} has room for it"
        case LevelCause.LOWERED:
            freed = change.cost_before - change.cost
            return f"{change.session} is lowered to {share}: that frees {freed} thousandths of {change.worker}"


def _of_seat(seat: Seat, ladder: Ladder, free: int, *, settles: bool) -> str:
    share = share_of(seat.level, ladder.top.level) if seat.level is not None else ""
    above = _next_rung(ladder, seat)
    missing = above.cost - seat.cost if above is not None else 0
    head = f"{seat.session} runs {share}: "
    if free < missing:
        return f"{head}{seat.worker} is full; it is raised when {missing} thousandths are free"
    if settles:
        return f"{head}there is room, and it is raised when its level has stood for {SETTLE_MS // _MS} s"
    return f"{head}there is room, but it would gain less than a change is worth"


def _next_rung(ladder: Ladder, seat: Seat) -> Rung | None:
    """The one above what it has; None at the top."""
    above = [rung for rung in ladder.rungs if seat.level is not None and rung.level.at_most(seat.level) != rung.level]
    return above[-1] if above else None


def _why_it_waits(session: LevelSession) -> str:
    if not session.ladders:
        return "no pool can serve it in time"
    holes = ", ".join(f"{ladder.lowest.cost} thousandths in {pool}" for pool, ladder in sorted(session.ladders.items()))
    return f"no worker can make a hole for it now ({holes} at its lowest)"


def _of_all(plan: LevelPlan) -> str:
    if not plan.bound:
        return "nobody has a level"
    return f"the plan has {100 * (1 - plan.gap):.1f} % of the most that these sessions could have in their pools"


def _free_after(plan: LevelPlan, workers: Iterable[LevelWorker]) -> Mapping[str, int]:
    free = {worker.name: worker.capacity for worker in workers}
    for seat in plan.seats:
        free[seat.worker] -= seat.cost
    return free
