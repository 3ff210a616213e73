"""How fast sessions come and go: two windows over counters that only grow.

Counters are read now and then, each from a source of its own (a worker, a gateway). Between two readings a source may
have begun anew. Then its counter is lower than before, and all that it says has happened since.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SHORT_S: Final = 60.0
LONG_S: Final = 900.0
BUCKET_S: Final = 5.0
"""What happens within so long counts as one moment."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one source has counted since it began. Raises ValueError for a number that no counter shows."""

    arrivals: int
    """Sessions that came, those that found no room as well."""
    departures: int
    """Sessions that gave their room back."""
    blocked: int = 0
    """Arrivals that found no room."""

    def __post_init__(self) -> None:
        for name in ("arrivals", "departures", "blocked"):
            value = getattr(self, name)
            # A comparison with NaN is false, so it must not be the one that refuses.
            if not (math.isfinite(value) and value >= 0 and value == int(value)):
                raise ValueError(f"{name} cannot be {value}: a counter is a whole number, at least 0")

    def since(self, before: "Counts | None") -> "Counts":
        """What happened since that reading of the same source; None: since the source began."""
        if before is None or self.is_restart_of(before):
            return self
        return Counts(
            arrivals=self.arrivals - before.arrivals,
            departures=self.departures - before.departures,
            blocked=self.blocked - before.blocked,
        )

    def is_restart_of(self, before: "Counts") -> bool:
        """Whether one of the counters went back."""
        return self.arrivals < before.arrivals or self.departures < before.departures or self.blocked < before.blocked


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in the last `seconds` (more than 0)."""

    seconds: float
    arrivals: int = 0
    departures: int = 0
    blocked: int = 0


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

    def add(self, counts: Counts) -> None:
        self.arrivals += counts.arrivals
        self.departures += counts.departures
        self.blocked += counts.blocked


@dataclass(slots=True)
class FlowMeter:
    """The windows of one pool, kept up by `note`. It begins anew after a gap and when the clock went back.

    All times are seconds of one monotonic clock.
    """

    _began_s: float | None = None
    _noted_s: float = 0.0
    _last: dict[str, tuple[float, Counts]] = field(default_factory=dict)
    """By source: when it was read last, and what it said."""
    _buckets: deque[_Bucket] = field(default_factory=deque)

    def note(self, readings: Mapping[str, Counts], now_s: float) -> None:
        """Take a reading of all sources. One that is seen for the first time has counted since the last reading."""
        if self._began_s is None or not 0 <= now_s - self._noted_s <= SHORT_S:
            self._begin(readings, now_s)
            return
        self._noted_s = now_s

        if not self._buckets or now_s - self._buckets[-1].at_s >= BUCKET_S:
            self._buckets.append(_Bucket(now_s))
        for source, counts in readings.items():
            _, before = self._last.get(source, (now_s, None))
            self._buckets[-1].add(counts.since(before))
            self._last[source] = now_s, counts
        self._forget(now_s)

    def flow(self, now_s: float) -> Flow:
        """The windows as they are now."""
        covered_s = max(0.0, now_s - self._began_s) if self._began_s is not None else 0.0
        return Flow(
            short=self._window(now_s, SHORT_S),
            long=self._window(now_s, min(LONG_S, max(covered_s, SHORT_S))),
            covered_s=covered_s,
        )

    def _begin(self, readings: Mapping[str, Counts], now_s: float) -> None:
        """Nobody knows when what the counters say has happened: it counts from now on."""
        self._began_s = now_s
        self._noted_s = now_s
        self._buckets.clear()
        self._last = {source: (now_s, counts) for source, counts in readings.items()}

    def _forget(self, now_s: float) -> None:
        while self._buckets and self._buckets[0].at_s <= now_s - LONG_S:
            self._buckets.popleft()
        # A source that is missing for a moment must not count twice when it is back.
        self._last = {source: (at_s, counts) for source, (at_s, counts) in self._last.items() if now_s - at_s < LONG_S}

    def _window(self, now_s: float, seconds: float) -> Window:
        inside = [bucket for bucket in self._buckets if bucket.at_s > now_s - seconds]
        return Window(
            seconds=seconds,
            arrivals=sum(bucket.arrivals for bucket in inside),
            departures=sum(bucket.departures for bucket in inside),
            blocked=sum(bucket.blocked for bucket in inside),
        )
