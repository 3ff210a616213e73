"""A session's ladder in a pool, by what was measured there.

What a level costs is what placement says of a session that asks for it: there is one home for that figure, and a
ladder is a row of its answers.
"""

from collections.abc import Sequence
from typing import Final

from genlock_core.approximation.levels import Ladder, Level, Rung, at_level, levels_of
from genlock_core.approximation.quality import qualities_of
from genlock_core.sizing.placement import Placement, PoolShape, Unplaceable, place
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.session import ResolvedSession

CHUNK_FRAMES: Final = 4
"""Frames that are made together; the first of them waits for the last to come in."""


def ladder_in(session: ResolvedSession, rows: Sequence[ProfileRow], pool: PoolShape) -> Ladder | Unplaceable:
    """The rungs that the session has in this pool; why not, where the pool cannot run what it asks for.

    A level is left out, and the ladder says so, where it is too slow for the session's service levels, makes the
    picture too old, or costs no less than the one above it: to lower a session to it would help nobody.
    """
    top, *lower = levels_of(session)
    highest = place(at_level(session, top), rows, [pool])
    if isinstance(highest, Unplaceable):
        return highest

    # What each level costs, as far as it is worth going down to it.
    least, cheapest = highest.choices[0].cost, top
    costs = {top: least}
    left_out: list[str] = []
    unprofiled: list[str] = []
    for level in lower:
        found = place(at_level(session, level), rows, [pool])
        why_not = _why_not(session, level, found)
        if isinstance(found, Unplaceable) or why_not:
            left_out.append(f"{level} is left out: {why_not}")
            continue

        cost = found.choices[0].cost
        if cost >= least:
            left_out.append(f"{level} is left out: it costs {cost} thousandths, {cheapest} costs {least}")
        else:
            costs[level] = cost
            least, cheapest = cost, level
            if level.every > top.every and found.row.chunk_latency_ms is None:
                unprofiled.append(f"age of the picture at {level}")

    qualities = qualities_of(session, list(costs), rows, pool)
    return Ladder(
        rungs=tuple(Rung(level, cost, qualities.by_level[level]) for level, cost in costs.items()),
        left_out=tuple(left_out),
        unprofiled=(*unprofiled, *qualities.unprofiled),
        doubtful=qualities.doubtful,
    )


def _why_not(session: ResolvedSession, level: Level, found: Placement | Unplaceable) -> str:
    """Why the session does not run at this level; "" if it may."""
    if isinstance(found, Unplaceable):
        return str(found)

    # A chunk of fewer frames a second takes longer to come in, so its picture is older when it is shown. It must be no
    # older than what the session promises at its own frame rate.
    age_ms = _chunk_latency_ms(found) + _gathering_ms(session.frame_rate / level.every)
    promised_ms = session.frame_deadline_ms + _gathering_ms(session.frame_rate)
    if level.every > 1 and age_ms > promised_ms:
        return f"the picture would be {age_ms:.0f} ms old, the session promises {promised_ms:.0f} ms"
    return ""


def _gathering_ms(frame_rate: float) -> float:
    """From the first frame of a chunk to its last."""
    return 1_000 * (CHUNK_FRAMES - 1) / frame_rate


def _chunk_latency_ms(found: Placement) -> float:
    """Measured (p99); where nobody measured it, what it cannot be less than: the time that a worker computes."""
    row = found.row
    if row.chunk_latency_ms is not None:
        return row.chunk_latency_ms.p99
    return 1_000 * CHUNK_FRAMES / (row.sessions * row.fps_per_session)
