"""A session's ladder in a pool, by what was measured there.

What a level costs is what placement says of a session that asks for it: there is one home for that figure, and a
ladder is a row of its answers.
"""

from collections.abc import Sequence

from genlock_core.approximation.levels import Ladder, Level, Rung, at_level, levels_of
from genlock_core.approximation.quality import qualities_of
from genlock_core.sizing.placement import PoolShape, Unplaceable, place
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.session import ResolvedSession


def ladder_in(session: ResolvedSession, rows: Sequence[ProfileRow], pool: PoolShape) -> Ladder | Unplaceable:
    """The rungs that the session has in this pool; why not, where the pool cannot run what it asks for.

    A level is left out, and the ladder says so, where it is too slow for the session's service levels or costs no less
    than the one above it: to lower a session to it would help nobody.
    """
    top, *lower = levels_of(session)
    highest = _cost_of(session, top, rows, pool)
    if isinstance(highest, Unplaceable):
        return highest

    # What each level costs, as far as it is worth going down to it.
    costs = {top: highest}
    least, cheapest = highest, top
    left_out: list[str] = []
    for level in lower:
        cost = _cost_of(session, level, rows, pool)
        if isinstance(cost, Unplaceable):
            left_out.append(f"{level} is left out: {cost}")
        elif cost >= least:
            left_out.append(f"{level} is left out: it costs {cost} thousandths, {cheapest} costs {least}")
        else:
            costs[level] = cost
            least, cheapest = cost, level

    qualities = qualities_of(session, list(costs), rows, pool)
    return Ladder(
        rungs=tuple(Rung(level, cost, qualities.by_level[level]) for level, cost in costs.items()),
        left_out=tuple(left_out),
        unprofiled=qualities.unprofiled,
        doubtful=qualities.doubtful,
    )


def _cost_of(session: ResolvedSession, level: Level, rows: Sequence[ProfileRow], pool: PoolShape) -> int | Unplaceable:
    """In thousandths of one of the pool's workers."""
    found = place(at_level(session, level), rows, [pool])
    return found if isinstance(found, Unplaceable) else found.choices[0].cost
