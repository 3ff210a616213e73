"""Time as a constructor argument, so that leases, pacing and deadlines are tested without waiting."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a part reads the time."""

    def monotonic(self) -> float:
        """Seconds on this process's monotonic clock; only differences mean anything."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; for people and for records, never for measuring."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when it is told to; for tests and simulations."""

    def __init__(self, start_s: float = 1_000.0, wall_ms: int = 1_700_000_000_000) -> None:
        self._monotonic = start_s
        self._wall_ms = float(wall_ms)

    def monotonic(self) -> float:
        return self._monotonic

    def wall_ms(self) -> int:
        return int(self._wall_ms)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` (>= 0)."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: {seconds} s")
        self._monotonic += seconds
        self._wall_ms += seconds * 1_000
