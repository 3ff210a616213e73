"""What a situation is decided by. Each fact comes from whoever owns it; nothing here is looked up."""

from dataclasses import dataclass, field
from enum import StrEnum

from genlock_core.claims.facts import Publishing
from genlock_core.media import Trouble
from genlock_core.situation.lowered import Lowered
from genlock_core.situation.states import SessionState
from genlock_core.spec.session import Phase, SourceType
from genlock_core.tokens import Role


class Pictures(StrEnum):
    """Whether generated pictures come."""

    NONE = "none"
    """None of this publication yet."""
    MOVING = "moving"
    STOPPED = "stopped"
    """The last one is some time old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SituationFacts:
    """One session at one moment, as somebody with `role` may see it."""

    session: str
    """`namespace/name`."""
    phase: Phase
    reason: str = ""
    """The record's: why the phase is what it is."""
    role: Role = Role.VIEW
    """What the person who is told may do."""

    # What it paints from.
    source: SourceType = SourceType.WEBRTC
    publishing: Publishing = Publishing.NEVER
    source_moves: bool = True
    """New source pictures arrive; False also where that is not known."""
    trouble: Trouble | None = None
    """Why the publication cannot be used."""
    paused: bool = False

    # What comes out.
    pictures: Pictures = Pictures.NONE
    viewers: int = 0
    frame_rate: int = 16
    frame_rate_running: float | None = None
    """Half of it while every second picture of the source is left out; None: not known."""
    late_share: float | None = None
    """Of the last pictures, 0 to 1, while the session is too slow (`slo.slowness`); None while it is not."""
    steps_asked: int = 0
    steps_running: int = 0
    """0: not known."""
    lowered: Lowered | None = None
    """What it is granted less than it requests; None: nothing."""
    strained: bool = False
    """The worker's machine is too busy for its engine, which paints more plainly to keep its pace."""

    # Who serves it.
    busy_workers: int | None = None
    """How many workers could serve it and have no room; None while it has one, or a worker with room is there."""
    overloaded: bool = False
    """Some of them have room, and are overloaded: they take no new session."""
    next_room_s: float | None = None
    """When an idle session gives its room back, at the latest; None if none is idle."""
    next_worker_s: float | None = None
    """When another worker is expected to be ready; None if none is on its way, or nobody can say."""

    # The end.
    may_start_again: bool = False
    """A gateway may bring the ended session back; on a cluster its resource decides."""

    # What only the page of one person knows.
    at_page: frozenset[SessionState] = field(default_factory=frozenset)
    """States of `table.AT_PAGE` that hold in that browser."""

    @property
    def is_halved(self) -> bool:
        """Its worker is too busy for every picture of the source."""
        return self.frame_rate_running is not None and self.frame_rate_running < self.frame_rate

    @property
    def takes_publisher(self) -> bool:
        return self.source is SourceType.WEBRTC
