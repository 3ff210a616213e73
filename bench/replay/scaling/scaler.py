"""What a scaler sees, and what it says."""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from bench.replay.fleet import Fleet

START_UP_P50_S = 45.0
START_UP_P95_S = 80.0
"""Of a new worker, until it takes sessions: lognormal with these."""


@dataclass(slots=True)
class Seen:
    """What there is, and what has happened so far."""

    fleet: Fleet
    arrivals: int = 0
    """Sessions that came, also those that found no room."""
    departures: int = 0
    """Sessions that were served and ended."""
    blocked_s: deque[float] = field(default_factory=deque)
    """When sessions found no room; those of the last seconds are asked for again and again."""

    @property
    def now_s(self) -> float:
        return self.fleet.now_s

    @property
    def requested(self) -> int:
        """What all sessions cost that run, had they what they ask for."""
        return len(self.fleet.sessions) * self.fleet.ladders.requested

    def waiting(self, for_s: float) -> int:
        """How many found no room in the last seconds."""
        while self.blocked_s and self.blocked_s[0] < self.now_s - for_s:
            self.blocked_s.popleft()
        return len(self.blocked_s)


class Scaler(Protocol):
    """It is asked every `period_s`, and when a session finds no room if it `hears_blocked`."""

    @property
    def name(self) -> str: ...

    @property
    def period_s(self) -> float: ...

    @property
    def hears_blocked(self) -> bool: ...

    def workers(self, seen: Seen) -> int:
        """How many there should be now."""
        ...
