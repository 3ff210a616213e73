"""What a run comes to, and what several runs say of a figure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy.special import stdtrit

from bench.replay.fleet import Meter
from bench.replay.scaling.scaler import Seen


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one run. Shares are 0 to 1."""

    arrivals: int
    served: int
    blocked: int
    departed: int
    worker_hours: float
    session_hours: float
    degraded: float
    """Share of session time below what was asked for."""
    harmed: float
    """Share of session time below the level at which the prompt loses nothing."""
    excess: float
    """Share of session time of sessions beyond what the workers held without levels: no policy of levels that lets all
    of them in lowers less than that, and a level that frees a quarter of a session lowers four times as much."""
    quality: float
    """Mean over session time."""
    turns_per_hour: float
    changes_per_session_hour: float
    moves_per_session_hour: float

    @classmethod
    def of(cls, meter: Meter, seen: Seen, turns: int, span_s: float) -> "Outcome":
        session_s = meter.session_s or 1.0
        return cls(
            arrivals=seen.arrivals,
            served=meter.served,
            blocked=meter.blocked,
            departed=seen.departures,
            worker_hours=meter.worker_s / 3_600,
            session_hours=meter.session_s / 3_600,
            degraded=meter.degraded_s / session_s,
            harmed=meter.harmed_s / session_s,
            excess=meter.excess_s / session_s,
            quality=meter.quality_s / session_s,
            turns_per_hour=turns / span_s * 3_600,
            changes_per_session_hour=meter.level_changes / session_s * 3_600,
            moves_per_session_hour=meter.moves / session_s * 3_600,
        )

    @property
    def blocked_share(self) -> float:
        return self.blocked / self.arrivals if self.arrivals else 0.0

    @property
    def per_worker_hour(self) -> float:
        """Session-hours for each worker-hour."""
        return self.session_hours / self.worker_hours if self.worker_hours else 0.0


class Estimate(NamedTuple):
    """A mean, and half of the width of its 95 % confidence interval; 0 for one value alone."""

    mean: float
    half_width: float

    def told(self, digits: int, *, factor: float = 1.0) -> str:
        mean = f"{factor * self.mean:.{digits}f}"
        half_width = f"{factor * self.half_width:.{digits}f}"
        return mean if float(half_width) == 0 else f"{mean} ±{half_width}"


def estimate(values: Sequence[float]) -> Estimate:
    """Of runs that differ by their seed: Student's t."""
    runs = len(values)
    mean = math.fsum(values) / runs
    if runs < 2:
        return Estimate(mean, 0.0)
    variance = math.fsum((value - mean) ** 2 for value in values) / (runs - 1)
    return Estimate(mean, float(stdtrit(runs - 1, 0.975)) * math.sqrt(variance / runs))


def over_runs(outcomes: Sequence[Outcome], figure: Callable[[Outcome], float]) -> Estimate:
    """One figure of several runs."""
    return estimate([figure(outcome) for outcome in outcomes])
