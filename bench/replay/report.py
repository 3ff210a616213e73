"""What the runs come to: tables, curves, and which aims hold."""

from collections.abc import Callable, Iterable, Sequence

from bench.replay.outcome import Estimate, Outcome, estimate, over_runs
from bench.replay.study import Tried
from bench.result import Curve, Curves, Table

LEAST_BLOCKED_PERCENT = 0.001
"""A curve on a logarithmic scale has no 0: less than this is shown as this."""
NO_LEVELS = "none"

_SCALER_COLUMNS = (
    "scaler",
    "levels",
    "blocked %",
    "worker-hours",
    "degraded session time %",
    "turns an hour",
    "level changes a session-hour",
    "session-hours per worker-hour, static peak = 1",
)
_POLICY_COLUMNS = (
    "scaler",
    "policy of levels",
    "blocked %",
    "worker-hours",
    "degraded session time %",
    "sessions beyond 4 a worker %",
    "below what the prompt needs %",
    "mean quality",
    "level changes a session-hour",
    "moves a session-hour",
)


def scalers_table(load: str, found: Sequence[Tried], note: str) -> Table:
    """One row for each scaler; the first one is the static peak."""
    peak = found[0]
    return Table(
        title=f"Replay of {load}: scalers",
        columns=_SCALER_COLUMNS,
        rows=tuple(_scaler_row(one, peak) for one in found),
        note=note,
    )


def _scaler_row(one: Tried, peak: Tried) -> tuple[str, ...]:
    return (
        one.scaler,
        levels_of(one),
        *_common(one),
        _told(one, lambda outcome: outcome.turns_per_hour, 1),
        _told(one, lambda outcome: outcome.changes_per_session_hour, 2),
        ratio(one, peak, lambda outcome: outcome.per_worker_hour).told(2),
    )


def levels_of(one: Tried) -> str:
    """`none`, or what a worker holds with them."""
    return NO_LEVELS if one.levels.startswith("HA") else one.ladders.name


def policies_table(load: str, found: Sequence[Tried], note: str) -> Table:
    return Table(
        title=f"Replay of {load}: policies of levels",
        columns=_POLICY_COLUMNS,
        rows=tuple(_policy_row(one) for one in found),
        note=note,
    )


def _policy_row(one: Tried) -> tuple[str, ...]:
    return (
        one.scaler,
        one.levels,
        *_common(one),
        _told(one, lambda outcome: outcome.excess, 2, 100),
        _told(one, lambda outcome: outcome.harmed, 2, 100),
        _told(one, lambda outcome: outcome.quality, 4),
        _told(one, lambda outcome: outcome.changes_per_session_hour, 2),
        _told(one, lambda outcome: outcome.moves_per_session_hour, 2),
    )


def _common(one: Tried) -> tuple[str, str, str]:
    return (
        _told(one, lambda outcome: outcome.blocked_share, 2, 100),
        _told(one, lambda outcome: outcome.worker_hours, 0),
        _told(one, lambda outcome: outcome.degraded, 2, 100),
    )


def _told(one: Tried, figure: Callable[[Outcome], float], digits: int, factor: float = 1.0) -> str:
    return over_runs(one.outcomes, figure).told(digits, factor=factor)


def ratio(one: Tried, base: Tried, figure: Callable[[Outcome], float]) -> Estimate:
    """Of one figure, seed by seed: both saw the same arrivals."""
    pairs = zip(one.outcomes, base.outcomes, strict=True)
    return estimate([figure(mine) / figure(theirs) if figure(theirs) else 0.0 for mine, theirs in pairs])


def curves(load: str, found: Iterable[Tried]) -> Curves:
    """Blocked against worker-hours: what is lower costs less for as many, what is further left turns away fewer."""
    by_name: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        levels = levels_of(one)
        name = one.family if levels == NO_LEVELS else f"{one.family}, a worker {levels}"
        hours = over_runs(one.outcomes, lambda outcome: outcome.worker_hours).mean
        blocked = 100 * over_runs(one.outcomes, lambda outcome: outcome.blocked_share).mean
        by_name.setdefault(name, []).append((hours, max(blocked, LEAST_BLOCKED_PERCENT)))
    return Curves(
        name=f"Replay of {load}",
        x="worker-hours",
        y=f"blocked %, {LEAST_BLOCKED_PERCENT:g} for less",
        curves=tuple(Curve(name, tuple(sorted(points))) for name, points in sorted(by_name.items())),
        log_y=True,
    )
