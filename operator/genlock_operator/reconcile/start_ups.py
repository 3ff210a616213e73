"""How long each new worker took: from its pod's own times, and from when Redis first knew it."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from genlock_core.claims.facts import WorkerView
from genlock_operator.observed import PodFacts, PodRole, StartUpTimes

KEPT = 20
"""The last so many of a pool."""


@dataclass(slots=True)
class StartUps:
    """One pool's. A pod is counted once, when it is ready and registered."""

    times: deque[StartUpTimes] = field(default_factory=lambda: deque(maxlen=KEPT))
    _begun: dict[str, int] = field(default_factory=dict)  # uid -> when Redis knew it, 0: not yet
    _counted: set[str] = field(default_factory=set)

    def look(self, pods: Iterable[PodFacts], workers: Mapping[str, WorkerView], now_ms: int) -> list[StartUpTimes]:
        """Take what is seen now; the workers that were counted by this."""
        there = [pod for pod in pods if pod.role is PodRole.WORKER]
        new: list[StartUpTimes] = []
        for pod in there:
            uid = pod.meta.uid
            if uid in self._counted:
                continue
            if pod.meta.name in workers:
                # a pod that was registered when we first saw it says nothing about when
                known = self._begun.get(uid)
                self._begun[uid] = now_ms if known == 0 else known or -1
            else:
                self._begun.setdefault(uid, 0)
            if pod.ready and self._begun[uid] != 0:
                self._counted.add(uid)
                new.append(StartUpTimes(_seconds(pod, self._begun[uid])))
        uids = {pod.meta.uid for pod in there}
        self._counted &= uids
        self._begun = {uid: at for uid, at in self._begun.items() if uid in uids}
        self.times.extend(new)
        return new


def _seconds(pod: PodFacts, registered_ms: int) -> dict[str, float]:
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
