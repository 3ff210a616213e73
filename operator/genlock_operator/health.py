"""Whether the operator works, by what it did last. Asked by the threads of the probes' server.

Alive: every loop goes round, what waits is worked on, and the lease, which changes every second, is heard of through a
watch. Ready: everything was listed; a replica that stands by is ready too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from genlock_core.clock import Clock

STUCK_AFTER_S: Final = 60.0
WATCH_DEAF_AFTER_S: Final = 150.0
"""More than twice what kopf needs to find a dead stream and to make a new one."""


@dataclass(slots=True)
class OperatorHealth:
    """`beat` by every loop when it got round; `problems` says what is wrong."""

    clock: Clock
    watch_age_s: Callable[[], float | None]
    synced: Callable[[], bool]
    waiting: Callable[[], int]
    """Keys that wait for work, 0 while this replica stands by."""
    _beats: dict[str, float] = field(default_factory=dict)
    _started_s: float | None = None

    def beat(self, loop: str) -> None:
        """The loop is alive. One that never was is not missed."""
        self._beats[loop] = self.clock.monotonic()

    def problems(self) -> list[str]:
        """Why the process should be started again; nothing if it works."""
        now = self.clock.monotonic()
        if self._started_s is None:
            self._started_s = now
        found = [
            f"the loop {loop} has not gone round for {now - beat_s:.0f} s"
            for loop, beat_s in tuple(self._beats.items())  # the main loop may add one meanwhile
            if now - beat_s > STUCK_AFTER_S and (loop != "reconcile" or self.waiting())
        ]
        age_s = self.watch_age_s()
        age_s = now - self._started_s if age_s is None else age_s
        if age_s > WATCH_DEAF_AFTER_S:
            found.append(f"the watches have told nothing for {age_s:.0f} s")
        return found

    def ailment(self) -> str:
        """The problems, one a line."""
        return "\n".join(self.problems())

    def unready(self) -> str:
        """Why it cannot take over yet."""
        return "" if self.synced() else "not everything is listed yet"
