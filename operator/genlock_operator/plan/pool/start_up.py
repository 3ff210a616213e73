"""How long a pool's workers take to start, phase by phase: figures for people, over the last ones that started."""

import math
from collections.abc import Sequence

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
    seconds = sorted(sum(one.seconds.values()) for one in starts)
    return percentile(seconds, 0.95) if seconds else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank, of a sequence in ascending order with at least one element; to a hundredth of a second."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)
