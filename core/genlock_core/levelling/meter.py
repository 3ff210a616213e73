"""How many sessions have which level, and for how long sessions have less than they request: in metrics.

Whoever decides on a pool counts its sessions, and nobody else. So the processes of an installation may be added up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from genlock_core.approximation.levels import Level
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.situation.lowered import lowered

LONGEST_S: Final = 10.0
"""What lies further back was not seen: nobody knows who had less then, and it is not counted."""


class LevelMeter:
    """Of the pools that this process decides on; `count` is told how they stand, every few seconds."""

    def __init__(self, metrics: LevellingMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._counted_s: dict[str, float] = {}
        """When each pool was counted last."""
        self._levels: dict[str, set[str]] = {}
        """Levels that each pool has a series for."""

    def count(self, pools: Mapping[str, Iterable[SessionRecord]]) -> None:
        """`pools`: of each the records of its sessions, those that have a worker."""
        now_s = self._clock.monotonic()
        for pool, records in pools.items():
            levels: Counter[str] = Counter()
            below = 0
            for record in records:
                if record.granted is not None:
                    levels[level_label(Level(record.granted.steps, every=record.granted.every))] += 1
                below += lowered(record) is not None

            since_s = now_s - self._counted_s.get(pool, now_s)
            self._counted_s[pool] = now_s
            self._metrics.degraded_seconds.labels(pool).inc(below * since_s if since_s <= LONGEST_S else 0.0)
            known = self._levels.setdefault(pool, set())
            known.update(levels)
            for level in known:
                self._metrics.sessions.labels(pool, level).set(levels[level])

    def forget(self, pool: str) -> None:
        """Somebody else decides on it now."""
        self._counted_s.pop(pool, None)
        self._levels.pop(pool, None)


def level_label(level: Level) -> str:
    """`4`, and `1-half` where every second frame is left out."""
    return str(level.steps) if level.every == 1 else f"{level.steps}-half"
