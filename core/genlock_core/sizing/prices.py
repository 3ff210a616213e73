"""The price list of a session in a pool: what each level that it may have costs there, and how good it looks.

This is the one place where a level is priced. Whoever places a session (the operator, a gateway, `genlock up`) writes
the list into its record; claims and plans of levels go by that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genlock_core.approximation.levels import Level, at_level, levels_of
from genlock_core.claims.identity import CAPACITY
from genlock_core.claims.record import HalfRate, PoolChoice
from genlock_core.sizing.candidates import PoolCandidate, best_in, is_late_in
from genlock_core.sizing.profile import CHUNK_FRAMES, ProfileRow
from genlock_core.sizing.quality import StepQualities, qualities_of
from genlock_core.spec.fields import MOST_STEPS
from genlock_core.spec.session import ResolvedSession


@dataclass(frozen=True, slots=True)
class PriceList:
    """A session's choice of this pool, with what nobody measured of its lower levels."""

    choice: PoolChoice
    unprofiled: tuple[str, ...]
    """What nobody measured, and measurements that contradict each other, in words."""


def prices_of(session: ResolvedSession, rows: Sequence[ProfileRow], own: PoolCandidate) -> PriceList:
    """What the session costs in that pool at 1, 2, ... steps, and with half of its frames where it allows that.

    `own` is the pool by its best measurement of what the spec asks for.
    """
    qualities = qualities_of(session, rows, own.pool)
    costs = _costs(session, rows, own)
    half, unprofiled = _half_rate(session, rows, own, costs)
    choice = PoolChoice(
        pool=own.pool.name,
        cost=own.cost,
        levels=costs,
        # Without any measurement the reader guesses, and says that it does.
        qualities=() if qualities.is_guessed else qualities.by_steps[: len(costs)],
        half=half,
    )
    return PriceList(choice, (*unprofiled, *_doubts(session, qualities)))


def _costs(session: ResolvedSession, rows: Sequence[ProfileRow], own: PoolCandidate) -> tuple[int, ...]:
    """In thousandths of a worker, at 1, 2, ... steps.

    The list ends below the first steps that were measured to be too late for the session: they are granted to nobody.
    At steps at which nothing measured is fast enough, a worker has enough to do with this session alone: its user may
    ask for them, at the price of all of it. More steps never cost less, whatever two measurements say of each other.
    So fewer steps that are too late or too slow cost what more of them do, and nobody is lowered to them.
    """
    costs = [own.cost] * session.steps
    for steps in range(session.steps + 1, MOST_STEPS + 1):
        asked = session.model_copy(update={"steps": steps})
        if is_late_in(asked, rows, own.pool):
            break
        found = best_in(asked, rows, own.pool)
        costs.append(max(costs[-1], CAPACITY if found is None else found.cost))

    for steps in range(session.steps - 1, 0, -1):
        found = best_in(session.model_copy(update={"steps": steps}), rows, own.pool)
        costs[steps - 1] = min(costs[steps], CAPACITY if found is None else found.cost)
    return tuple(costs)


def _half_rate(
    session: ResolvedSession, rows: Sequence[ProfileRow], own: PoolCandidate, costs: Sequence[int]
) -> tuple[HalfRate | None, list[str]]:
    """Every second frame at the fewest steps, and what nobody measured of it; None where it is not worth offering."""
    lowest = levels_of(session)[-1]
    if lowest.every == 1:
        return None, []
    found = best_in(at_level(session, lowest), rows, own.pool)
    if found is None or found.cost >= costs[lowest.steps - 1] or _is_too_old(session, lowest, found.row):
        return None, []

    half = HalfRate(steps=lowest.steps, cost=found.cost)
    return half, [f"age of the picture at {lowest}"] if found.row.chunk_latency_ms is None else []


def _is_too_old(session: ResolvedSession, level: Level, row: ProfileRow) -> bool:
    """Whether the picture would be older than what the session promises at its own frame rate.

    A chunk of fewer frames a second takes longer to come in, so its picture is older when it is shown.
    """
    age_ms = _chunk_latency_ms(row) + _gathering_ms(session.frame_rate / level.every)
    return age_ms > session.frame_deadline_ms + _gathering_ms(session.frame_rate)


def _gathering_ms(frame_rate: float) -> float:
    """From the first frame of a chunk to its last."""
    return 1_000 * (CHUNK_FRAMES - 1) / frame_rate


def _chunk_latency_ms(row: ProfileRow) -> float:
    """Measured (p99); where nobody measured it, what it cannot be less than: the time that a worker computes."""
    if row.chunk_latency_ms is not None:
        return row.chunk_latency_ms.p99
    return 1_000 * CHUNK_FRAMES / (row.sessions * row.fps_per_session)


def _doubts(session: ResolvedSession, qualities: StepQualities) -> list[str]:
    """What is not known, or contradicts itself, of how the levels look that the session may be lowered to."""
    levels = {level.steps for level in levels_of(session)}
    if len(levels) == 1:
        return []
    guessed = [str(steps) for steps in qualities.guessed if steps in levels]
    doubts = [f"quality at {', '.join(guessed)} steps (guessed by the number of steps)"] if guessed else []
    return doubts + [
        f"quality at {steps} steps (measured to look better than more steps; taken to look the same)"
        for steps in qualities.doubtful
        if steps in levels
    ]
