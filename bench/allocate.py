"""What a plan of levels costs and how good it is: CPU time of one plan, against exact programmes; the gap to both.

All sessions are at their lowest and ask for 1.8 times of what their workers have, 20 on each, with 12 levels each: each
worker has to be planned anew, which is the worst that can happen. Beside it the usual case: one worker has changed.
The exact programmes are scipy's HiGHS, one for each worker, without a time limit.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.level_pools import POOL, Group, exact, lowered_pool
from bench.result import Series, Table, percentile, save
from genlock_core.approximation.allocate import allocate
from genlock_core.approximation.plan import LevelPlan, LevelSession, LevelWorker

LEVELS = 12
NOW_MS = 10_000_000
SEEDS = 5
RUNS = 20
"""Of each seed: p99 is over 100 plans."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Plans of one size."""

    name: str
    plan_ms: Sequence[float]
    exact_ms: Sequence[float]
    to_exact: Sequence[float]
    """Quality of the plan over that of the exact programme, by seed."""
    to_bound: Sequence[float]
    """The share of the shown bound that the plan has, by seed."""


def measure(name: str, count: int, *, waits: bool = False) -> Measured:
    """Plans of so many sessions; `waits`: one more waits for a worker, so that no placement is given."""
    plan_ms: list[float] = []
    exact_ms: list[float] = []
    to_exact: list[float] = []
    to_bound: list[float] = []
    for seed in range(SEEDS):
        sessions, workers = lowered_pool(count, seed=seed, levels=LEVELS)
        if waits:
            sessions.append(LevelSession("waits", sessions[0].ladders))

        for _ in range(RUNS):
            begun = time.process_time()
            found = plan(sessions, workers)
            plan_ms.append(1_000 * (time.process_time() - begun))
        to_bound.append(1 - found.gap)

        if not waits:
            begun = time.process_time()
            best = exact_quality(sessions, workers)
            exact_ms.append(1_000 * (time.process_time() - begun))
            to_exact.append(found.quality / best)
    return Measured(name, plan_ms, exact_ms, to_exact, to_bound)


def plan(sessions: Sequence[LevelSession], workers: Sequence[LevelWorker]) -> LevelPlan:
    return allocate(sessions, workers, now_ms=NOW_MS)


def exact_quality(sessions: Sequence[LevelSession], workers: Sequence[LevelWorker]) -> float:
    """The most quality that these sessions can have where they are."""
    total = 0.0
    for worker in workers:
        here = [one.ladders[POOL].rungs for one in sessions if one.worker == worker.name]
        groups = [Group([worker.name], [(rung.cost, rung.quality) for rung in rungs]) for rungs in here]
        total += exact(groups, {worker.name: worker.capacity})
    return total


def report(found: Sequence[Measured]) -> tuple[list[Table], list[Series]]:
    table = Table(
        title="Plans of levels",
        columns=(
            "sessions",
            "plan p50",
            "plan p99",
            "exact programmes p50 / plan p50",
            "quality / exact, worst",
            "quality / bound, worst",
        ),
        rows=tuple(row(one) for one in found),
        note=(
            f"CPU time of one plan with {LEVELS} levels a session and 20 sessions a worker, {SEEDS * RUNS} plans of "
            f"{SEEDS} pools each, against exact mixed-integer programmes (HiGHS) of the same sessions, one a worker. "
            "The bound is the fractional optimum over the whole pool: sessions that stay where they are may not reach "
            "it."
        ),
    )
    series = Series(
        "CPU time of a plan, p99",
        tuple(one.name for one in found),
        tuple(percentile(one.plan_ms, 0.99) for one in found),
        "ms",
    )
    return [table], [series]


def row(one: Measured) -> tuple[str, ...]:
    p50 = percentile(one.plan_ms, 0.5)
    return (
        one.name,
        f"{p50:.1f} ms",
        f"{percentile(one.plan_ms, 0.99):.1f} ms",
        f"{percentile(one.exact_ms, 0.5) / p50:.1f}" if one.exact_ms else "",
        f"{min(one.to_exact):.5f}" if one.to_exact else "",
        f"{min(one.to_bound):.4f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.allocate", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()
    found = [
        measure("20, one worker", 20),
        measure("200", 200),
        measure("200, and one waits", 200, waits=True),
        measure("1,000", 1_000),
    ]
    tables, series = report(found)
    for table in tables:
        print(table.markdown())
    if arguments.json:
        save(arguments.json, tables, series)


if __name__ == "__main__":
    main()
