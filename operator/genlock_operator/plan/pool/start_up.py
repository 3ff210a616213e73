"""How long a pool's workers take to start: figures for people, phase by phase, and when the next one is expected.

Both go by the last ones that started.
"""

import math
from collections.abc import Iterable, Sequence

from genlock_core.spec.pool import StartUpSpec
from genlock_operator.observed import StartUpTimes

PHASES = ("scheduled", "started", "ready", "registered")
"""In the order in which a worker passes them."""


def start_up_figures(starts: Sequence[StartUpTimes]) -> list[StartUpSpec]:
    """Median and 95th percentile per phase; a phase that nobody has passed yet is left out."""
    figures: list[StartUpSpec] = []
    for phase in PHASES:
        seconds = sorted(one.seconds[phase] for one in starts if phase in one.seconds)
        if seconds:
            figures.append(StartUpSpec(phase=phase, p50=percentile(seconds, 0.5), p95=percentile(seconds, 0.95)))
    return figures


def total_p95_s(starts: Sequence[StartUpTimes]) -> float | None:
    """From a pod's creation until its worker serves; None before one was seen."""
    seconds = _totals_s(starts)
    return percentile(seconds, 0.95) if seconds else None


def next_worker_ms(created_ms: Iterable[int], starts: Sequence[StartUpTimes], now_ms: int) -> int | None:
    """When the next of these pods is ready if it takes as long as the median; in the time of `created_ms`.

    None where no worker has started yet, or where all of these are later than that: nobody knows then.
    """
    seconds = _totals_s(starts)
    if not seconds:
        return None
    takes_ms = round(1_000 * percentile(seconds, 0.5))
    return min((at_ms + takes_ms for at_ms in created_ms if at_ms + takes_ms > now_ms), default=None)


def _totals_s(starts: Sequence[StartUpTimes]) -> list[float]:
    return sorted(sum(one.seconds.values()) for one in starts)


def percentile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank, of a sequence in ascending order with at least one element; to a hundredth of a second."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)
