"""Rules that keep so much more than what sessions need: today's, with a fixed buffer, and one by Poisson arrivals."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from bench.replay.scaling.scaler import START_UP_P95_S, Seen
from genlock_core.spec.autoscaling import MAX_WORKERS, Autoscaling
from genlock_core.spec.pool import PoolGpu, WorkerPoolSpec
from genlock_operator.plan.pool.scale import STEP_SHARE, Need, needed

PERIOD_S: Final = 5.0
WAITS_S: Final = 60.0
"""So long a session that found no room counts as one that waits."""
SCALE_IN_AFTER_S: Final = 300.0
WINDOWS_S: Final = (60.0, 900.0)


def pool_spec(*, blocking: float) -> WorkerPoolSpec:
    """A pool as the replay has it."""
    return WorkerPoolSpec(
        model="replayed",
        engine="mock",
        gpu=PoolGpu(product="any", count=1),
        replicas=1,
        max=MAX_WORKERS,
        autoscaling=Autoscaling(blocking=f"{100 * blocking:g}%"),
        scale_in_after=f"{SCALE_IN_AFTER_S:.0f}s",
    )


@dataclass
class Patience:
    """Up at once; down when there have been too many for a while, a quarter of the pool at a time."""

    _surplus_since_s: float | None = None

    def settled(self, now_s: float, current: int, want: int, *, least: int = 0) -> int:
        """So many there are to be now; fewer than `least` only where there are fewer."""
        if want >= current:
            self._surplus_since_s = None
            return want
        if self._surplus_since_s is None:
            self._surplus_since_s = now_s
        if now_s - self._surplus_since_s < SCALE_IN_AFTER_S:
            return current
        return max(want, min(least, current), current - max(1, int(current * STEP_SHARE)))


@dataclass
class Today:
    """What sessions need, packed, and a buffer: the rule of the product before it had an autoscaler."""

    buffer: int
    period_s: float = PERIOD_S
    hears_blocked: bool = True
    _patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        return f"need + {self.buffer}"

    def workers(self, seen: Seen) -> int:
        return self._patience.settled(
            seen.now_s, seen.fleet.count, self.buffer + max(1, need(seen, waiting=seen.waiting(WAITS_S)).workers)
        )


def need(seen: Seen, *, waiting: int) -> Need:
    """Workers that sessions need: those that run, as if each had what it asks for, and those that wait."""
    fleet = seen.fleet
    requested = fleet.ladders.requested
    whole = fleet.ladders.at_top * requested
    loads = [len(worker.sessions) * requested for worker in fleet.ready]

    # Lowered sessions may ask for more than their worker has: what is too much is to be placed.
    too_many = sum(max(0, load - whole) // requested for load in loads)
    return needed([min(load, whole) for load in loads], [requested] * (too_many + waiting))


@dataclass
class Poisson:
    """Room for the arrivals within one start-up, with this chance of too few; that others leave counts for nothing."""

    chance: float
    period_s: float = PERIOD_S
    hears_blocked: bool = True
    _patience: Patience = field(default_factory=Patience)
    _history: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def name(self) -> str:
        return f"Poisson buffer {100 * self.chance:g} %"

    def workers(self, seen: Seen) -> int:
        warm = poisson_quantile(self._rate(seen) * START_UP_P95_S, self.chance)
        slots = len(seen.fleet.sessions) + seen.waiting(WAITS_S) + warm
        want = max(1, math.ceil(slots / seen.fleet.ladders.at_top))
        return self._patience.settled(seen.now_s, seen.fleet.count, want)

    def _rate(self, seen: Seen) -> float:
        """Arrivals a second: the greater upper bound of both windows."""
        now_s, history = seen.now_s, self._history
        history.append((now_s, seen.arrivals))
        while len(history) > 1 and history[1][0] <= now_s - WINDOWS_S[-1]:
            history.popleft()
        return max(_upper(seen.arrivals, now_s, history, window_s) for window_s in WINDOWS_S)


def _upper(arrivals: int, now_s: float, history: deque[tuple[float, int]], window_s: float) -> float:
    """Upper bound of the rate within a window: so many events, and a standard deviation more."""
    since_s, before = history[0]
    for at_s, count in reversed(history):
        since_s, before = at_s, count
        if at_s <= now_s - window_s:
            break
    count = arrivals - before
    return (count + math.sqrt(count + 0.25) + 0.5) / max(window_s, now_s - since_s)


def poisson_quantile(mean: float, chance: float) -> int:
    """The smallest k that a Poisson number of this mean exceeds with this chance at most."""
    term = total = math.exp(-mean)
    k = 0
    while 1 - total > chance:
        k += 1
        term *= mean / k
        total += term
    return k
