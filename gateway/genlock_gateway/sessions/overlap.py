"""The moment of a polite move in which two workers are shown: where the one ends and the other begins.

Stands beside the output gate, which asks it while a worker is leaving. Pure.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from genlock_core.media import Codec, SourcePosition

OVERLAP_S: Final = 0.5
"""How long after its successor's first frame a leaving worker is shown before the seam is set, where workers make the
source themselves. Both go on at the same pace then, so that the successor would stay behind for ever."""
CATCH_UP_S: Final = 2.5
"""The same where a publisher feeds both workers: a successor that first decodes a long group of pictures catches up."""
CLOSE_S: Final = 0.15
"""A successor that is no further behind needs no more time: less than three frame periods are no freeze."""
SEAM_AHEAD_S: Final = 0.2
"""So far ahead of what was shown or has come is the seam: the successor hears of it before it has sent what follows."""
HOLD_S: Final = 1.0
"""A successor that is ahead waits at the seam for the leaving worker at most so long."""
STALLED_S: Final = 0.3
"""A leaving worker of which nothing came for so long is not waited for."""
OWN_SOURCE_RUN: Final = 0
"""The run of frames whose source is the worker's own."""


class FrameVerdict(StrEnum):
    SHOW = "show"
    STALE = "stale"  # of an epoch that is over
    OLDER = "older"  # before what was shown
    OVERLAPS = "overlaps"  # of a successor, where the worker before it is shown
    NEEDS_KEY = "needs-key"  # newer, but no decoder could start with it: ask for a key frame
    HOLD = "hold"  # the leaving worker has not come so far yet: judge it again later


@dataclass(slots=True)
class Overlap:
    """A polite move as viewers see it, from the first frame of `epoch`, the successor's, on.

    The *seam* is a place in the source. Up to there the leaving worker is shown, after it the successor. It is set as
    soon as the successor is close, or after `patience_s`.
    """

    epoch: int
    began_s: float
    patience_s: float

    seam: SourcePosition | None = None
    """None until it is set."""
    crossed: set[Codec] = field(default_factory=set)
    """The codecs in which the leaving worker has come to the seam."""
    holds_since_s: float | None = None
    """Since when a frame of the successor waits there."""
    left_s: float | None = None
    """When the last frame of the leaving worker came; None before the first one."""

    @classmethod
    def begun(cls, epoch: int, *, run: int, now_s: float) -> Self:
        """The first frame of a successor has come, of that run."""
        return cls(epoch, now_s, OVERLAP_S if run == OWN_SOURCE_RUN else CATCH_UP_S)

    def is_over(self, now_s: float) -> bool:
        """The successor was waited for long enough, whatever came of it."""
        return now_s - self.began_s > self.patience_s + SEAM_AHEAD_S + HOLD_S

    def is_stalled(self, now_s: float) -> bool:
        """The leaving worker brings nothing."""
        return now_s - (self.began_s if self.left_s is None else self.left_s) > STALLED_S

    def judge_leaving(self, codec: Codec, position: SourcePosition, *, now_s: float) -> FrameVerdict | None:
        """A frame of the leaving worker; None if it counts like any other."""
        self.left_s = now_s
        if self.seam is None or position <= self.seam:
            return None
        self.crossed.add(codec)
        return FrameVerdict.STALE

    def judge_successor(
        self, codec: Codec, position: SourcePosition, shown: SourcePosition, *, key_frame: bool, now_s: float
    ) -> FrameVerdict | None:
        """A frame of a successor that is not shown yet, while the worker before it is; None: it counts like any other.

        While the successor is behind, the leaving worker is shown. Where it is ahead it waits, so that no frame is
        missed.
        """
        if self.is_stalled(now_s):
            return None
        if self.seam is None:
            behind_s = (shown.capture_us - position.capture_us) / 1e6 if position.run == shown.run else 0.0
            if position.run < shown.run or (behind_s > CLOSE_S and now_s - self.began_s <= self.patience_s):
                return FrameVerdict.OVERLAPS
            newest = max(shown, position)
            self.seam = SourcePosition(newest.run, newest.capture_us + round(SEAM_AHEAD_S * 1e6))

        if position <= self.seam:
            return FrameVerdict.OVERLAPS
        if not key_frame or codec in self.crossed:
            return None

        if self.holds_since_s is None:
            self.holds_since_s = now_s
        return FrameVerdict.HOLD if now_s - self.holds_since_s < HOLD_S else None
