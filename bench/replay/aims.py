"""Which aims hold: ratios and differences seed by seed, each with its interval; and the HPA at equal cost."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench.replay.ladders import FIVE, SIX, Ladders
from bench.replay.outcome import Estimate, Outcome, estimate
from bench.replay.report import levels_of, ratio
from bench.replay.study import Tried
from bench.result import Table

_FLOOR = 1e-6
"""On a logarithmic scale nobody turned away is this share."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure is to be at most, or at least."""

    value: float
    at_least: bool = False

    def verdict(self, found: Estimate) -> str:
        """`yes` or `no` where the whole interval says so."""
        low, high = found.mean - found.half_width, found.mean + found.half_width
        if self.at_least:
            low, high, value = -high, -low, -self.value
        else:
            value = self.value
        if high <= value + 1e-12:
            return "yes"
        return "no" if low > value else "not decided by these seeds"

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Share:
    """What the worker-hours of HPA 60 % and the static peak are held against, for a trace."""

    of_hpa_60: float
    of_hpa_60_five: float
    of_static_peak: float


AIMED: Final = {
    "Twitter": Share(0.70, 0.75, 2.0),
    "GenTD26": Share(0.90, 0.90, 3.0),
}
"""Other traces are shown the same figures, without an aim."""


def aims_table(load: str, found: Sequence[Tried]) -> Table:
    """Our scaler with our plan, against the HPA and the static peak."""
    aimed = AIMED.get(load)
    return Table(
        title=f"Replay of {load}: {'what was aimed at' if aimed else 'against the HPA'}",
        columns=("a worker of 4", "net change 1 % with our plan", "found", "aim", "holds"),
        rows=tuple(row for ladders in (SIX, FIVE) for row in _rows(ladders, found, aimed)),
        note=(
            "Ratios and differences seed by seed, with their 95 % confidence intervals. Where nothing else is said the "
            "other scaler has no levels. The HPA at equal blocking and at equal worker-hours lies on the line through "
            "its targets."
        ),
    )


def _rows(ladders: Ladders, found: Sequence[Tried], aimed: Share | None) -> Iterator[tuple[str, ...]]:
    ours = the(found, "net change 1 %", ladders=ladders)
    hpa_60, hpa_80 = the(found, "HPA 60 %"), the(found, "HPA 80 %")
    hpa_levels = the(found, "HPA 95 %", ladders=ladders)
    of_static_peak = ratio(ours, found[0], lambda outcome: outcome.per_worker_hour)
    turns = difference(ours, hpa_80, lambda outcome: outcome.turns_per_hour, factor=1)
    of_hpa_60 = None if aimed is None else aimed.of_hpa_60 if ladders is SIX else aimed.of_hpa_60_five

    found_and_aimed = (
        ("blocked / HPA 80 %", ratio(ours, hpa_80, _blocked), 0.1),
        ("worker-hours / HPA 80 %", ratio(ours, hpa_80, _hours), 1),
        ("worker-hours / HPA 60 %", ratio(ours, hpa_60, _hours), of_hpa_60),
        ("blocked - HPA 60 %, points", difference(ours, hpa_60, _blocked), 0),
        ("worker-hours / HPA 95 % with levels", ratio(ours, hpa_levels, _hours), 1),
        ("blocked - HPA 95 % with levels, points", difference(ours, hpa_levels, _blocked), 0),
    )
    for what, value, at_most in found_and_aimed:
        yield _row(ladders, what, value, Bound(at_most) if aimed and at_most is not None else None)
    at_least = Bound(aimed.of_static_peak, at_least=True) if aimed else None
    yield _row(ladders, "session-hours a worker-hour / static peak", of_static_peak, at_least)
    yield _row(ladders, "turns an hour - HPA 80 %", turns, Bound(0))
    yield _equal_blocking(ladders, ours, found)
    yield _equal_hours(ladders, ours, found)


def the(found: Iterable[Tried], scaler: str, *, ladders: Ladders | None = None) -> Tried:
    """The one of this scaler: with our plan on these workers, or (None) without levels."""
    wanted = "none" if ladders is None else ladders.name
    return next(one for one in found if one.scaler == scaler and levels_of(one) == wanted)


def difference(one: Tried, base: Tried, figure: Callable[[Outcome], float], *, factor: float = 100) -> Estimate:
    """Seed by seed, in percentage points."""
    pairs = zip(one.outcomes, base.outcomes, strict=True)
    return estimate([factor * (figure(mine) - figure(theirs)) for mine, theirs in pairs])


def _blocked(outcome: Outcome) -> float:
    return outcome.blocked_share


def _hours(outcome: Outcome) -> float:
    return outcome.worker_hours


def _row(ladders: Ladders, what: str, found: Estimate, bound: Bound | None = None) -> tuple[str, ...]:
    aim, verdict = ("", "") if bound is None else (str(bound), bound.verdict(found))
    return ladders.name, what, found.told(3), aim, verdict


# -- at equal cost -----------------------------------------------------------------------------------------------------


def _equal_blocking(ladders: Ladders, ours: Tried, found: Sequence[Tried]) -> tuple[str, ...]:
    """Our worker-hours over those that the HPA needs to turn away as many."""
    ratios = []
    for seed, mine in enumerate(ours.outcomes):
        line = [(_log(blocked), hours) for hours, blocked in _hpa_line(found, seed)]
        ratios.append(mine.worker_hours / along(sorted(line), _log(mine.blocked_share)))
    return _row(ladders, "worker-hours / HPA's at equal blocking", estimate(ratios))


def _equal_hours(ladders: Ladders, ours: Tried, found: Sequence[Tried]) -> tuple[str, ...]:
    """What we turn away over what the HPA does at our worker-hours."""
    ratios = []
    for seed, mine in enumerate(ours.outcomes):
        line = [(hours, _log(blocked)) for hours, blocked in _hpa_line(found, seed)]
        ratios.append(mine.blocked_share / math.exp(along(sorted(line), mine.worker_hours)))
    return _row(ladders, "blocked / HPA's at equal worker-hours", estimate(ratios))


def _hpa_line(found: Iterable[Tried], seed: int) -> list[tuple[float, float]]:
    """Worker-hours and blocked share of the HPA without levels, at each of its targets."""
    outcomes = [one.outcomes[seed] for one in found if one.family == "HPA" and levels_of(one) == "none"]
    return [(outcome.worker_hours, outcome.blocked_share) for outcome in outcomes]


def _log(share: float) -> float:
    return math.log(max(share, _FLOOR))


def along(line: Sequence[tuple[float, float]], x: float) -> float:
    """The height of a line through points that are sorted by x; beyond its ends that of the end."""
    if x <= line[0][0]:
        return line[0][1]
    for (left, low), (right, high) in pairwise(line):
        if left <= x <= right and right > left:
            return low + (high - low) * (x - left) / (right - left)
    return line[-1][1]
