"""How long each new worker took: from its pod's own times, and from when Redis first knew it."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from genlock_core.claims.facts import WorkerView
from genlock_operator.observed import PodFacts, PodRole, StartUpTimes

KEPT = 20
"""The last so many of a pool."""
UNKNOWN = -1


@dataclass(slots=True)
class StartUps:
    """The start-ups of one pool's workers. A pod is counted once, when it is ready and registered."""

    times: deque[StartUpTimes] = field(default_factory=lambda: deque(maxlen=KEPT))
    _registered_ms: dict[str, int] = field(default_factory=dict)
    """By uid, when Redis was first seen to know the worker; 0: it does not yet; -1: it did before we first saw the pod,
    so nobody can say when."""
    _counted: set[str] = field(default_factory=set)
    """Uids."""

    def look(self, pods: Iterable[PodFacts], workers: Mapping[str, WorkerView], now_ms: int) -> list[StartUpTimes]:
        """Take what is seen now; returns the start-ups that are complete by it."""
        there = [pod for pod in pods if pod.role is PodRole.WORKER]
        new: list[StartUpTimes] = []
        for pod in there:
            uid = pod.meta.uid
            if uid in self._counted:
                continue
            if pod.meta.name in workers:
                known = self._registered_ms.get(uid, UNKNOWN)
                self._registered_ms[uid] = now_ms if known == 0 else known
            else:
                self._registered_ms.setdefault(uid, 0)
            if pod.ready and self._registered_ms[uid] != 0:
                self._counted.add(uid)
                new.append(StartUpTimes(_seconds(pod, self._registered_ms[uid])))

        # Pods that are gone are forgotten.
        uids = {pod.meta.uid for pod in there}
        self._counted &= uids
        self._registered_ms = {uid: at for uid, at in self._registered_ms.items() if uid in uids}
        self.times.extend(new)
        return new


def _seconds(pod: PodFacts, registered_ms: int) -> dict[str, float]:
    """What each phase took, from the one before it: in the order in which this pod passed them."""
    steps = {"scheduled": pod.scheduled_ms, "started": pod.started_ms, "ready": pod.ready_ms}
    if registered_ms > 0:
        steps["registered"] = registered_ms

    seconds: dict[str, float] = {}
    last_ms = pod.meta.created_ms
    for phase, at_ms in sorted(steps.items(), key=lambda step: step[1]):
        if at_ms > 0:
            seconds[phase] = max(0, at_ms - last_ms) / 1_000
            last_ms = max(last_ms, at_ms)
    return seconds
