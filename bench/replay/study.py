"""Which runs are made: every scaler without and with levels, every policy of levels with two scalers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.replay import traces
from bench.replay.ladders import SIX, Ladders
from bench.replay.levelling.by_load import ByLoad
from bench.replay.levelling.exact import Exact
from bench.replay.levelling.fixed import BY_PROMPT, FASTEST, MOST_ACCURATE
from bench.replay.levelling.plan import Planned, PlannedWithMoves
from bench.replay.levelling.policy import LevelPolicy
from bench.replay.levelling.transport import Transport
from bench.replay.outcome import Outcome
from bench.replay.scaling.buffers import Poisson, Today
from bench.replay.scaling.hpa import Hpa, Keda
from bench.replay.scaling.ours import Ours
from bench.replay.scaling.scaler import Scaler
from bench.replay.scaling.static import Static
from bench.replay.simulation import replay
from bench.replay.workload import Workload, poisson, shifted

AT_ONCE: Final = 60.0
"""Sessions at once on average, where arrivals are drawn."""
COPIES: Final = 8
"""Of GenTD26, over one another."""
DAYS: Final = 9
AZURE_HOURS: Final = 3
STATIC_PEAK_BLOCKED: Final = 0.0005
"""The static peak is the fewest workers that turn away no more than this."""

OURS: Final = 0.01
"""The chance of too little room that a pool has unless somebody sets another one."""


@dataclass(frozen=True, slots=True)
class Load:
    """A trace with one workload for each seed."""

    name: str
    told: str
    """What it is, in a sentence."""
    workloads: tuple[Workload, ...]
    period_s: float
    """How often rules of ours are asked; the HPA is asked every 15 s."""
    with_policies: bool = False
    """Whether every policy of levels is tried on it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A scaler with a policy of levels on certain workers."""

    scaler: Callable[[Workload], Scaler]
    levels: Callable[[], LevelPolicy]
    ladders: Ladders


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it, by seed."""

    scaler: str
    family: str
    """Of scalers that differ in one number."""
    levels: str
    ladders: Ladders
    outcomes: tuple[Outcome, ...]


def loads(folder: Path | None, seeds: int) -> Iterator[Load]:
    """The traces in this folder; None: a day that nobody recorded."""
    if folder is None:
        yield _drawn("synthetic day", traces.synthetic_day(), None, seeds, with_policies=True)
        return

    sessions = traces.gentd26_sessions(folder)
    lengths = [one.length_s for one in sessions]
    yield _drawn("Twitter", traces.twitter_day(folder), lengths, seeds, with_policies=True)
    turned = [
        shifted("GenTD26", sessions, copies=COPIES, days=DAYS, dice=np.random.default_rng(seed))
        for seed in range(1, seeds + 1)
    ]
    told = (
        f"{DAYS} days of GenTD26's own sessions, {COPIES} copies over one another, each turned by whole days; "
        f"{_at_once(turned[0]):.1f} sessions at once on average, rules other than the HPA are asked every 15 s."
    )
    yield Load("GenTD26", told, tuple(turned), 15.0)
    for name, file in (("Azure code", traces.AZURE_CODE), ("Azure conversation", traces.AZURE_CONVERSATION)):
        yield _drawn(name, traces.azure_hour(folder, file).repeated(AZURE_HOURS), lengths, seeds)


def _drawn(
    name: str, rate: traces.Rate, lengths: Sequence[float] | None, seeds: int, *, with_policies: bool = False
) -> Load:
    workloads = [
        poisson(name, rate, lengths, at_once=AT_ONCE, dice=np.random.default_rng(seed)) for seed in range(1, seeds + 1)
    ]
    lengths_are = "the stated lognormal distribution" if lengths is None else "GenTD26"
    told = (
        f"{rate.span_s / 3_600:.3g} h, {AT_ONCE:g} sessions at once on average, lengths of {lengths_are}; rules other "
        "than the HPA are asked every 5 s."
    )
    return Load(name, told, tuple(workloads), 5.0, with_policies)


# -- which runs --------------------------------------------------------------------------------------------------------


def without_levels(period_s: float) -> list[Trial]:
    """Every scaler, all sessions at what they ask for."""
    scalers: list[Callable[[Workload], Scaler]] = [
        _static_peak,
        _static_mean,
        *(_hpa(target) for target in (0.5, 0.6, 0.7, 0.8, 0.9)),
        *(_keda(target) for target in (0.6, 0.8)),
        *(_today(buffer, period_s) for buffer in (0, 2, 5)),
        *(_poisson(chance, period_s) for chance in (0.05, 0.01)),
        *(_ours(blocking, period_s, levels=False) for blocking in (0.2, 0.05, OURS)),
    ]
    return [Trial(scaler, lambda: MOST_ACCURATE, SIX) for scaler in scalers]


def with_levels(period_s: float, ladders: Ladders) -> list[Trial]:
    """Every scaler that scales with our plan of levels."""
    scalers: list[Callable[[Workload], Scaler]] = [
        _hpa(0.95),
        _keda(0.95),
        *(_today(buffer, period_s) for buffer in (0, 1)),
        _poisson(0.05, period_s),
        _ours(OURS, period_s, levels=True),
    ]
    planned = Planned(ladders)
    return [Trial(scaler, lambda: planned, ladders) for scaler in scalers]


def policies(period_s: float) -> list[Trial]:
    """Every other policy of levels, with the HPA and with our scaler."""
    with_moves = PlannedWithMoves(SIX)
    levels: list[Callable[[], LevelPolicy]] = [
        lambda: MOST_ACCURATE,
        lambda: FASTEST,
        lambda: BY_PROMPT,
        ByLoad,
        Transport,
        Exact,
        lambda: with_moves,
    ]
    return [
        Trial(scaler, policy, SIX) for scaler in (_hpa(0.95), _ours(OURS, period_s, levels=True)) for policy in levels
    ]


def tried(trial: Trial, workloads: Sequence[Workload]) -> Tried:
    """One run for each seed."""
    outcomes = []
    for seed, workload in enumerate(workloads, start=1):
        scaler, levels = trial.scaler(workload), trial.levels()
        outcomes.append(replay(workload, trial.ladders, scaler, levels, seed=seed))
    return Tried(scaler.name, _family(scaler), levels.name, trial.ladders, tuple(outcomes))


def _family(scaler: Scaler) -> str:
    return {Static: "static", Hpa: "HPA", Keda: "KEDA", Today: "need + buffer", Poisson: "Poisson buffer"}.get(
        type(scaler), "net change"
    )


# -- scalers -----------------------------------------------------------------------------------------------------------


def _static_peak(workload: Workload) -> Static:
    """Who knows the day finds it: the fewest that turn away hardly anybody."""
    too_few, enough = 0, _static_mean(workload).count
    while not _holds(workload, enough):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if _holds(workload, middle) else (middle, enough)
    return Static("static peak", enough)


def _holds(workload: Workload, count: int) -> bool:
    """Whether so many workers turn away hardly anybody."""
    outcome = replay(workload, SIX, Static("", count), MOST_ACCURATE, seed=0)
    return outcome.blocked_share <= STATIC_PEAK_BLOCKED


def _static_mean(workload: Workload) -> Static:
    return Static("static mean", math.ceil(_at_once(workload) / SIX.at_top))


def _at_once(workload: Workload) -> float:
    """Sessions on average, if all find room."""
    return sum(min(one.length_s, workload.span_s - one.at_s) for one in workload.arrivals) / workload.span_s


def _hpa(target: float) -> Callable[[Workload], Scaler]:
    return lambda _: Hpa(target)


def _keda(target: float) -> Callable[[Workload], Scaler]:
    return lambda _: Keda(target)


def _today(buffer: int, period_s: float) -> Callable[[Workload], Scaler]:
    return lambda _: Today(buffer, period_s)


def _poisson(chance: float, period_s: float) -> Callable[[Workload], Scaler]:
    return lambda _: Poisson(chance, period_s)


def _ours(blocking: float, period_s: float, *, levels: bool) -> Callable[[Workload], Scaler]:
    return lambda _: Ours(blocking, levels, period_s)
