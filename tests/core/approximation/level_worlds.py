"""Pools of sessions for the tests of plans: drawn by hypothesis; `bench.level_pools` has large ones."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from genlock_core.approximation.levels import Ladder, Level, Rung
from genlock_core.approximation.options import SETTLE_MS
from genlock_core.approximation.plan import LevelPlan, LevelSession, LevelWorker

NOW_MS = 10_000_000
POOL = "p"


def ladder(*costs_and_qualities: tuple[int, float]) -> Ladder:
    """By steps from the top: 4, 3, ..., and every second frame from the fifth rung on."""
    levels = [Level(steps) for steps in (4, 3, 2, 1)] + [Level(1, every=2)]
    rungs = (Rung(level, *given) for level, given in zip(levels, costs_and_qualities, strict=False))
    return Ladder(tuple(rungs))


LINEAR = ladder((250, 1.0), (200, 0.75), (150, 0.5), (125, 0.25))


def seated(name: str, worker: str, place: int = 0, rungs: Ladder = LINEAR, **changes: Any) -> LevelSession:
    """A session on a worker, at the rung of this place."""
    rung = rungs.rungs[place]
    below = NOW_MS - 100_000 if place else None
    plain: dict[str, Any] = {"granted": rung.level, "cost": rung.cost, "below_since_ms": below}
    return LevelSession(name, {POOL: rungs}, worker, **{**plain, **changes})


def newcomer(name: str, rungs: Ladder = LINEAR, **changes: Any) -> LevelSession:
    return LevelSession(name, {POOL: rungs}, **changes)


def used(plan: LevelPlan) -> dict[str, int]:
    """What is paid on each worker after the plan."""
    found: dict[str, int] = {}
    for seat in plan.seats:
        found[seat.worker] = found.get(seat.worker, 0) + seat.cost
    return found


@st.composite
def ladders(draw: st.DrawFn, longest: int = 5) -> Ladder:
    count = draw(st.integers(1, longest))
    costs = sorted(draw(st.sets(st.integers(20, 500), min_size=count, max_size=count)), reverse=True)
    qualities = sorted((draw(st.integers(0, 1_000)) / 1_000 for _ in costs), reverse=True)
    return ladder(*zip(costs, qualities, strict=True))


@st.composite
def pools(
    draw: st.DrawFn, *, workers: int = 2, sessions: int = 4, waiting: int = 2, settled: bool = False
) -> tuple[Sequence[LevelSession], Sequence[LevelWorker]]:
    """Workers whose sessions fit as they are, and some sessions that wait."""
    names = [f"w{number}" for number in range(draw(st.integers(1, workers)))]
    there = [LevelWorker(name, POOL, draw(st.integers(100, 1_000))) for name in names]

    found: list[LevelSession] = []
    for worker in there:
        free = worker.capacity
        for number in range(draw(st.integers(0, sessions))):
            rungs = draw(ladders())
            fitting = [place for place, rung in enumerate(rungs.rungs) if rung.cost <= free]
            if fitting:
                place = draw(st.sampled_from(fitting))
                ages = st.none() if settled else st.none() | st.integers(0, 3 * SETTLE_MS)
                age = draw(ages)
                changed = None if age is None else NOW_MS - age
                found.append(seated(f"{worker.name}-{number}", worker.name, place, rungs, changed_ms=changed))
                free -= rungs.rungs[place].cost
    found += [newcomer(f"n{number}", draw(ladders())) for number in range(draw(st.integers(0, waiting)))]
    return found, there
