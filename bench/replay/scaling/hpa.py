"""The horizontal autoscaler of Kubernetes and KEDA, which decides through it, both with their defaults.

The ratio, its tolerance and the pods that are not ready: kubernetes.io/docs/tasks/run-application/horizontal-pod-
autoscale, "Algorithm details". Stabilisation window and policies: the same page, "Default behavior".
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from bench.replay.scaling.scaler import Seen

SYNC_S: Final = 15.0
TOLERANCE: Final = 0.1
DOWN_WINDOW_S: Final = 300.0
UP_PODS: Final = 4
UP_SHARE: Final = 1.0
UP_PERIOD_S: Final = 15.0


@dataclass
class Behaviour:
    """What is made of a recommendation: down late, up in steps of 4 or twice as many."""

    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _added: deque[tuple[float, int]] = field(default_factory=deque)

    def settled(self, now_s: float, current: int, recommended: int) -> int:
        self._recommended.append((now_s, recommended))
        while self._recommended[0][0] < now_s - DOWN_WINDOW_S:
            self._recommended.popleft()

        # Up at once; down to the most that was recommended within the window.
        if recommended > current:
            return self._limited(now_s, current, recommended)
        return max(1, min(current, max(count for _, count in self._recommended)))

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        while self._added and self._added[0][0] <= now_s - UP_PERIOD_S:
            self._added.popleft()
        at_start = current - sum(count for _, count in self._added)
        most = max(at_start + UP_PODS, math.ceil(at_start * (1 + UP_SHARE)))
        count = max(current, min(wanted, most))
        self._added.append((now_s, count - current))
        return count


@dataclass
class Hpa:
    """Utilisation of the workers that are ready: what sessions ask for, by what there is."""

    target: float
    behaviour: Behaviour = field(default_factory=Behaviour)
    period_s: float = SYNC_S
    hears_blocked: bool = False

    @property
    def name(self) -> str:
        return f"HPA {100 * self.target:.0f} %"

    def workers(self, seen: Seen) -> int:
        fleet = seen.fleet
        used = seen.requested / 1_000
        recommended = recommended_by_ratio(used, len(fleet.ready), len(fleet.starting), self.target)
        return self.behaviour.settled(seen.now_s, fleet.count, recommended)


def recommended_by_ratio(used: float, ready: int, unready: int, target: float) -> int:
    """How many pods the ratio asks for; `used`: of all ready pods together, in pods.

    Pods that are not ready are left out of the ratio; where it asks for more, they count as if they did nothing, and
    where that turns it round nothing changes.
    """
    current = ready + unready
    if not ready:
        return current
    ratio = used / ready / target
    if ratio <= 1 or not unready:
        return current if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * ready)

    dampened = used / current / target
    if dampened <= 1 + TOLERANCE:
        return current
    return max(current, math.ceil(dampened * current))


@dataclass
class Keda:
    """Sessions for each worker, as an external metric with an average value: workers that are not ready count."""

    target: float
    """The share of a worker's sessions that there should be."""
    behaviour: Behaviour = field(default_factory=Behaviour)
    period_s: float = SYNC_S
    hears_blocked: bool = False

    @property
    def name(self) -> str:
        return f"KEDA {100 * self.target:.0f} %"

    def workers(self, seen: Seen) -> int:
        fleet = seen.fleet
        per_worker = self.target * fleet.ladders.at_top
        sessions = len(fleet.sessions)
        ratio = sessions / (per_worker * max(1, fleet.count))
        recommended = fleet.count if abs(ratio - 1) <= TOLERANCE else math.ceil(sessions / per_worker)
        return self.behaviour.settled(seen.now_s, fleet.count, recommended)
