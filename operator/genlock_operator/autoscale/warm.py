"""How many slots must stand ready, so that who arrives while a worker starts finds room.

Sessions come and go as two Poisson processes. By how many there are more after a start-up T is then nearly normal, with
the mean (a - d) T and the variance (a + d) T, for `a` arrivals and `d` departures a second. The slots are a quantile of
it. Each rate is known from a window only, so bounds stand in for it (score intervals of one standard deviation).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from genlock_operator.autoscale.arrivals import Flow


@dataclass(frozen=True, slots=True)
class Warm:
    """The slots, and what they are made of."""

    slots: int
    drift: float
    """Sessions by which there will be more after a start-up, if all goes on as it does; may be below 0."""
    spread: float
    """Standard deviation of that, in sessions."""
    surge: float
    """Arrivals a second in the last minute beyond those of the last quarter of an hour; 0 for chance."""


def upper(count: int, seconds: float) -> float:
    """No higher rate (1/s) is likely where so many events were counted in that time (> 0)."""
    return (count + math.sqrt(count + 0.25) + 0.5) / seconds


def lower(count: int, seconds: float) -> float:
    """No lower rate (1/s) is likely; 0 where nothing was counted."""
    return max(0.0, count - math.sqrt(count + 0.25) + 0.5) / seconds


def warm(flow: Flow, *, start_up_s: float, blocking: float) -> Warm:
    """The slots that find nobody blocked but for a share `blocking` (0 to 0.5) of start-ups. Without arrivals: none."""
    long, short = flow.long, flow.short

    # A burst that chance does not explain counts at once, the quarter of an hour would take minutes to see it.
    surge = max(0.0, lower(short.arrivals, short.seconds) - upper(long.arrivals, long.seconds))
    coming = long.arrivals / long.seconds + surge
    leaving = long.departures / long.seconds

    drift = (coming - lower(long.departures, long.seconds)) * start_up_s
    spread = math.sqrt((coming + leaving) * start_up_s)
    # Departures alone leave more room, however they scatter.
    needed = drift + NormalDist().inv_cdf(1 - blocking) * spread if coming > 0 else 0.0
    # The last digits of a float must not ask for another slot.
    return Warm(slots=max(0, math.ceil(needed - 1e-9)), drift=drift, spread=spread, surge=surge)
