"""How long each phase of a worker's start took: on /metrics, in the log once, and in /readyz.

Until the start is over /readyz says what is being done, afterwards what came of it.
"""

import logging
import os
import time
from enum import StrEnum
from pathlib import Path

from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics

logger = logging.getLogger(__name__)


class StartPhase(StrEnum):
    """What a start consists of, in this order; a phase lasts from the end of the one before it."""

    IMPORT = "import"  # from the process' birth to its first own line
    REDIS = "redis"  # until Redis answers
    ENGINE = "engine"  # until the model has generated its first chunk
    REGISTERED = "registered"  # until gateways can be sent here


_AWAITED = {
    StartPhase.IMPORT: "starting",
    StartPhase.REDIS: "waiting for Redis",
    StartPhase.ENGINE: "the engine warms up",
    StartPhase.REGISTERED: "registering",
}
_ORDER = tuple(StartPhase)


class StartUp:
    """One start, measured. `reached` is called at the end of every phase, in their order."""

    def __init__(self, clock: Clock, metrics: WorkerMetrics, *, import_s: float) -> None:
        self._clock = clock
        self._metrics = metrics
        self._last_s = clock.monotonic()
        self._doing = ""
        self.results: tuple[str, ...] = ()
        """What phases have come to, in words."""
        self.seconds: dict[StartPhase, float] = {}
        self._took(StartPhase.IMPORT, import_s)

    @property
    def awaits(self) -> str:
        """What it waits for, in words, and what of it is being done; "" once it is over. On any thread."""
        left = _ORDER[len(self.seconds) :]
        if not left:
            return ""
        doing = self._doing
        seconds = self._clock.monotonic() - self._last_s
        return f"{_AWAITED[left[0]]}: {doing} ({seconds:.0f} s so far)" if doing else _AWAITED[left[0]]

    def doing(self, words: str) -> None:
        """What of this phase is being done now; on any thread."""
        self._doing = words

    def reached(self, phase: StartPhase, result: str = "") -> None:
        """This phase is over; with what result, where that is to be read as long as the worker lives."""
        now_s = self._clock.monotonic()
        self._doing = ""
        self.results += (result,) if result else ()
        self._took(phase, now_s - self._last_s)
        self._last_s = now_s
        if phase is _ORDER[-1]:
            parts = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in self.seconds.items())
            logger.info("started in %.2f s: %s", sum(self.seconds.values()), parts)

    def _took(self, phase: StartPhase, seconds: float) -> None:
        self.seconds[phase] = seconds
        self._metrics.startup_seconds.labels(phase=phase.value).set(seconds)


def process_age_s() -> float:
    """For how long this process has existed; where the system does not say so, the CPU time that it has taken."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
