"""What a plan of levels is made from, and what it says: sessions and workers in, seats and changes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from genlock_core.approximation.levels import Ladder, Level


@dataclass(frozen=True, slots=True)
class LevelSession:
    """A session as a plan sees it. Times are milliseconds of one clock."""

    name: str
    ladders: Mapping[str, Ladder]
    """By pool; the top is what is requested. Who has none where it is stays as it is, so that a worker that knows no
    ceilings is not asked for one."""
    worker: str | None = None
    """None: it waits for one."""
    granted: Level | None = None
    """What its claim pays for; None: nothing yet, or that is not known."""
    cost: int = 0
    """What its claim pays, in thousandths of a worker."""
    changed_ms: int | None = None
    """When its level changed last; None: never."""
    below_since_ms: int | None = None
    """Since when it runs below its request; None: it does not."""
    waits_since_ms: int = 0
    """Who waits longest is admitted first."""
    recovers: bool = False
    """It had a worker: it is admitted before those that never had one."""


@dataclass(frozen=True, slots=True)
class LevelWorker:
    """A worker as a plan sees it."""

    name: str
    pool: str
    capacity: int
    """In thousandths."""
    admits: bool = True
    """Whether it takes new sessions."""


class LevelCause(StrEnum):
    """Why a level changes."""

    RAISED = "raised"  # there is room
    LOWERED = "lowered"  # another session has more of the room
    GIVEN_BACK = "given-back"  # it had more than it requests
    ADMITTED = "admitted"  # it waited for a worker


@dataclass(frozen=True, slots=True)
class LevelChange:
    """One step of a plan, for one session."""

    session: str
    worker: str
    before: Level | None
    after: Level
    cause: LevelCause
    cost_before: int
    cost: int


@dataclass(frozen=True, slots=True)
class Seat:
    """What a session has after the plan."""

    session: str
    worker: str
    pool: str
    level: Level | None
    """None: not known, and it stays as it is."""
    cost: int
    quality: float


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """Who runs at which level, and what has to change for that."""

    seats: tuple[Seat, ...]
    """Of every session that has a worker after the plan, by name."""
    changes: tuple[LevelChange, ...]
    """In the order in which they have to be made: those that free room first."""
    waiting: tuple[str, ...]
    """Sessions that this plan does not let in: with everybody at their lowest no worker has a hole for them."""
    postponed: tuple[str, ...]
    """Sessions that the next plan looks for a hole for: this one has let in as many as it may."""
    overfull: tuple[str, ...]
    """Workers whose sessions do not fit, not even at their lowest, where they are now."""
    quality: float
    """Of all seats together."""
    bound: float
    """No plan for these seats is better, wherever in their pools they sat."""
    solved: int
    """How many knapsacks were packed: what the plan cost."""

    @property
    def gap(self) -> float:
        """The share of the bound that the plan may have missed; 0 without seats."""
        return (self.bound - self.quality) / self.bound if self.bound > 0 else 0.0
