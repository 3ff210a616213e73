"""How fast sessions come and go: two windows over the counters of a pool, which only grow.

A counter that is lower than before was begun anew, or comes from a replica of Redis that lagged. Nobody can tell which.
So what happened since the last reading is not counted then: to take a whole counter for the arrivals of five seconds
would make the pool as large as it may be.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from genlock_core.claims.counters import PoolCounters

SHORT_S: Final = 60.0
LONG_S: Final = 900.0
BUCKET_S: Final = 5.0
"""What happens within so long counts as one moment."""


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in the last `seconds` (more than 0)."""

    seconds: float
    arrivals: int = 0
    departures: int = 0
    blocked: int = 0
    """Who has got a worker since is not among them."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Sessions that came and went lately."""

    short: Window
    """The last minute."""
    long: Window
    """The last quarter of an hour, or as much of it as was looked at, though at least a minute."""
    covered_s: float
    """For how long it has been looked at without a gap; less than a minute says nothing yet."""

    @property
    def is_known(self) -> bool:
        return self.covered_s >= SHORT_S


@dataclass(slots=True)
class _Bucket:
    """What happened in one moment."""

    at_s: float
    arrivals: int = 0
    departures: int = 0
    blocked: int = 0

    def add(self, before: PoolCounters, after: PoolCounters) -> None:
        self.arrivals += max(0, after.arrivals - before.arrivals)
        self.departures += max(0, after.departures - before.departures)
        self.blocked += max(0, after.blocked - before.blocked)


@dataclass(slots=True)
class FlowMeter:
    """The windows of one pool, kept up by `note`. It begins anew after a gap and when the clock went back.

    All times are seconds of one monotonic clock.
    """

    _began_s: float = 0.0
    _noted_s: float = 0.0
    _last: PoolCounters | None = None
    """None before the first reading."""
    _buckets: deque[_Bucket] = field(default_factory=deque)

    def note(self, counted: PoolCounters, now_s: float) -> None:
        """Take a reading. What was counted before the first one is of no time that anybody knows."""
        if self._last is None or not 0 <= now_s - self._noted_s <= SHORT_S:
            self._began_s = now_s
            self._buckets.clear()
        else:
            if not self._buckets or now_s - self._buckets[-1].at_s >= BUCKET_S:
                self._buckets.append(_Bucket(now_s))
            self._buckets[-1].add(self._last, counted)
            self._relieve(counted.relieved - self._last.relieved)
        self._noted_s = now_s
        self._last = counted

        while self._buckets and self._buckets[0].at_s <= now_s - LONG_S:
            self._buckets.popleft()

    def _relieve(self, sessions: int) -> None:
        """So many that were turned away have a worker now: those that have waited longest."""
        for bucket in self._buckets:
            served = min(max(0, sessions), bucket.blocked)
            bucket.blocked -= served
            sessions -= served

    def flow(self, now_s: float) -> Flow:
        """The windows as they are now."""
        covered_s = max(0.0, now_s - self._began_s) if self._last is not None else 0.0
        return Flow(
            short=self._window(now_s, SHORT_S),
            long=self._window(now_s, min(LONG_S, max(covered_s, SHORT_S))),
            covered_s=covered_s,
        )

    def _window(self, now_s: float, seconds: float) -> Window:
        inside = [bucket for bucket in self._buckets if bucket.at_s > now_s - seconds]
        return Window(
            seconds=seconds,
            arrivals=sum(bucket.arrivals for bucket in inside),
            departures=sum(bucket.departures for bucket in inside),
            blocked=sum(bucket.blocked for bucket in inside),
        )
