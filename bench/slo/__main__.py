"""Policies of the scheduler side by side on a card of simulated time; see `bench.slo`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.replay.outcome import Estimate, estimate
from bench.result import Curve, Curves, Table, save
from bench.slo.card import TRUE_SIZE, SimulatedCard
from bench.slo.outcome import SloOutcome
from bench.slo.policies import POLICIES, Policy
from bench.slo.simulation import SloSimulation
from bench.slo.workload import Coming, from_trace, poisson

SECONDS = 45.0
SEEDS = (11, 12, 13, 14, 15)
"""The policies' constants were chosen by others (1 to 3): these are new to them."""
EVERY_S = 0.3
"""Far more come than the card takes: it is at its load from the first seconds on."""
ARRIVALS: dict[str, Callable[[int], Iterable[Coming]]] = {
    "at random": lambda seed: poisson(every_s=EVERY_S, until_s=SECONDS, seed=seed),
    "of the trace": lambda seed: from_trace(until_s=SECONDS, seed=seed),
}
LEAST_STALLED_PERCENT = 0.001
"""A curve on a logarithmic scale has no 0."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all policies of a table."""

    card: SimulatedCard
    arrivals: str
    depth: int
    loads: tuple[float, ...]

    @property
    def title(self) -> str:
        batches = "one forward" if self.depth == 1 else f"{self.depth} forwards"
        return f"SLO-aware batching: sessions come {self.arrivals}, {batches} under way"


SETTINGS = (
    Setting(TRUE_SIZE, "at random", 1, (0.70, 0.85, 0.95, 1.05)),
    Setting(TRUE_SIZE, "at random", 2, (0.70, 0.85, 0.95, 1.05)),
    Setting(TRUE_SIZE, "of the trace", 2, (0.85, 0.95)),
)
NOTE = (
    f"Derived, not measured: {TRUE_SIZE.name}, seconds from counts of kernels, bytes and operations. "
    "Sessions of 1 to 4 steps at 8 or 16 frames a second come in an open loop; the card takes them up to its load, and "
    "none gives way. `stalled` is 1 minus the continuous-play ratio; `against` is the difference to the first row, "
    "seed by seed; a miss is a frame after its due time or not at all. "
    f"{len(SEEDS)} seeds of {SECONDS:g} s each, none of them one that constants were chosen by, with 95 % intervals."
)
COLUMNS = (
    "load %",
    "order, rows of a forward",
    "stalled %",
    "against, points",
    "worst session stalled %",
    "missed %",
    "worst session missed %",
    "age p95 ms",
    "real-time factor",
    "rows a forward",
    "card busy %",
)


def outcomes(setting: Setting, policy: Policy, load: float) -> list[SloOutcome]:
    """One run for each seed."""
    found = []
    for seed in SEEDS:
        comings = ARRIVALS[setting.arrivals](seed)
        run = SloSimulation(setting.card, policy, comings, load=load, depth=setting.depth, seed=seed)
        run.run(SECONDS)
        found.append(SloOutcome.of(run, SECONDS))
    return found


def study(setting: Setting) -> tuple[Table, Curves]:
    rows = []
    curves: dict[str, list[tuple[float, float]]] = {}
    for load in setting.loads:
        before: list[SloOutcome] = []
        for policy in POLICIES:
            found = outcomes(setting, policy, load)
            before = before or found
            rows.append(tuple(_cells(load, policy, found, before)))
            stalled = 100 * (1 - _over(found, lambda one: one.played).mean)
            curves.setdefault(policy.name, []).append((100 * load, max(stalled, LEAST_STALLED_PERCENT)))
            print(*rows[-1], sep=" | ", file=sys.stderr)
    plot = Curves(
        name=f"Stalled: sessions come {setting.arrivals}, forwards under way: {setting.depth}",
        x="load %",
        y="stalled %",
        curves=tuple(Curve(name, tuple(points)) for name, points in curves.items()),
        log_y=True,
    )
    return Table(setting.title, COLUMNS, tuple(rows), NOTE), plot


def _cells(load: float, policy: Policy, found: Sequence[SloOutcome], before: Sequence[SloOutcome]) -> Iterator[str]:
    yield f"{100 * load:.0f}"
    yield policy.name
    yield _over(found, lambda one: 1 - one.played).told(3, factor=100)
    against = [theirs.played - mine.played for mine, theirs in zip(found, before, strict=True)]
    yield estimate(against).told(3, factor=100) if found is not before else ""
    yield _over(found, lambda one: 1 - one.worst_played).told(2, factor=100)
    yield _over(found, lambda one: one.missed).told(2, factor=100)
    yield _over(found, lambda one: one.worst_missed).told(1, factor=100)
    yield _over(found, lambda one: one.age_s).told(0, factor=1000)
    yield _over(found, lambda one: one.real_time).told(2)
    yield _over(found, lambda one: one.rows).told(2)
    yield _over(found, lambda one: one.busy).told(0, factor=100)


def _over(found: Sequence[SloOutcome], figure: Callable[[SloOutcome], float]) -> Estimate:
    return estimate([figure(one) for one in found])


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.slo", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    arguments = parser.parse_args()
    studies = [study(setting) for setting in SETTINGS]
    save(arguments.json, [table for table, _ in studies], [plot for _, plot in studies[:2]])


if __name__ == "__main__":
    main()
