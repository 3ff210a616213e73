"""What a worker says of its own state, several times a second: on each link, and with each heartbeat to Redis.

Two counters tell two things apart that look the same from outside: the process is alive, and its engine progresses.
"""

from dataclasses import dataclass
from enum import IntEnum


class EnginePhase(IntEnum):
    """What a worker's engine is doing; the number is its byte on the link."""

    STEPPING = 0
    OPENING = 1
    RESTORING = 2
    WARMING_UP = 3
    """It makes the first chunk of a session."""

    @property
    def word(self) -> str:
        """As Redis and logs have it: `warming-up`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Pulse:
    """Of one moment."""

    progress: int = 0
    """The engine's counter: it moves while the engine is well, idle or not."""
    alive: int | None = None
    """The turns of the process' event loop: it moves while the process runs. None from the release before."""
    phase: EnginePhase = EnginePhase.STEPPING


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a heartbeat says besides the engine's counter."""

    alive: int
    phase: str
    """The word of an `EnginePhase`, or of one that a later release has."""
    late_ms: int
    """How late the worker was lately: the longest time for which its event loop or its engine stood still."""
    patience_ms: int
    """For how long it is normal for this worker that nothing moves, in the phase that it is in."""
    patient: bool
    """If the engine stands still, it does so no longer than that."""
    overloaded: bool = False
    """It cannot do what it has, and its sessions can give way no further: it is given no new session."""
