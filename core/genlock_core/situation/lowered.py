"""What a session is granted less than it requests, and why: by its record alone, for everybody who shows it."""

from dataclasses import dataclass
from enum import StrEnum

from genlock_core.approximation.levels import Level, share_of
from genlock_core.claims.record import SessionRecord


class LoweredReason(StrEnum):
    """Why a session has less than it requests."""

    BUSY = "busy"  # the plan of levels gave its room to others
    NO_ROOM = "no-room"  # its worker has no room for more
    TOO_LATE = "too-late"  # more was measured to be later, in its pool, than its frameDeadline


@dataclass(frozen=True, slots=True)
class Lowered:
    """What is granted of what is requested. A worker may run less still while its machine is busy."""

    granted: Level
    requested: Level
    frame_rate: float
    """Generated frames per second at what is granted."""
    reason: LoweredReason
    since_ms: int
    """Since when it has less than it requests, in proven time."""

    @property
    def share(self) -> str:
        """`2 of 4 steps`, and that pictures are left out where some are."""
        return share_of(self.granted, self.requested)


def lowered(record: SessionRecord) -> Lowered | None:
    """None for a session that has what it requests, and where no worker serves it or its release knows no levels."""
    if record.owner is None or record.granted is None:
        return None

    requested = Level(record.requested_steps)
    granted = Level(record.granted.steps, every=record.granted.every).at_most(requested)
    if granted == requested:
        return None
    return Lowered(
        granted=granted,
        requested=requested,
        frame_rate=record.session.frame_rate / granted.every,
        reason=_reason(record, granted, requested),
        since_ms=record.below_since_ms or record.granted.since_ms,
    )


def _reason(record: SessionRecord, granted: Level, requested: Level) -> LoweredReason:
    levels = next((choice.levels for choice in record.pools if choice.pool == record.pool), ())
    if levels and granted == Level(len(levels)):
        return LoweredReason.TOO_LATE

    limit = record.limit
    if limit is None or not Level(limit.steps, every=limit.every).is_below(requested):
        return LoweredReason.NO_ROOM
    return LoweredReason.BUSY
