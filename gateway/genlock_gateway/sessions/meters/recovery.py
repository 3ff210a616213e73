"""Where the time of a recovery goes: its legs, from the last picture of a lost worker to the first one of the next.

Pure bookkeeping of the moments that `SessionStats` is told of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class RecoveryLeg(StrEnum):
    """A part of a recovery, named for what ends it; in their order."""

    DETECT = "detect"  # from the last picture until the loss was noticed
    CLAIM = "claim"  # until Redis gave the session to another worker
    OPEN = "open"  # until that worker served it, without the next leg
    RESTORE = "restore"  # the worker's own: the state read and rebuilt
    PICTURE = "picture"  # until its first frame came
    IDR = "idr"  # until one came that could be shown


_MARKS: Final = (RecoveryLeg.DETECT, RecoveryLeg.CLAIM, RecoveryLeg.OPEN, RecoveryLeg.PICTURE, RecoveryLeg.IDR)
"""The legs that end at a moment which this gateway sees."""


@dataclass(slots=True)
class RecoveryTime:
    """One recovery, since `since_s`, the last picture. `reached` is told when a leg ends, `legs_s` then tells all.

    A later attempt moves the end of its leg, and what came after the attempt before counts no more. A leg whose end was
    not seen here (another gateway has moved the session) is part of the next one. Seconds of a monotonic clock.
    """

    since_s: float
    _ends_s: dict[RecoveryLeg, float] = field(default_factory=dict)
    _epoch: int = 0
    _restore_s: float = 0.0

    def reached(self, leg: RecoveryLeg, now_s: float, *, epoch: int = 0, restore_s: float = 0.0) -> None:
        """The leg ends now, under that claim; the first time counts, unless it is a newer claim."""
        if epoch > self._epoch:
            self._epoch = epoch
            for later in _MARKS[1:]:
                self._ends_s.pop(later, None)
        if leg not in self._ends_s and epoch in (0, self._epoch):
            self._ends_s[leg] = now_s
            if leg is RecoveryLeg.OPEN:
                self._restore_s = restore_s

    def legs_s(self) -> Mapping[RecoveryLeg, float]:
        """How long each leg took, as far as it was seen."""
        legs: dict[RecoveryLeg, float] = {}
        before_s = self.since_s
        for leg in _MARKS:
            end_s = self._ends_s.get(leg)
            if end_s is None:
                continue
            legs[leg] = max(0.0, end_s - before_s)
            before_s = end_s

        # The worker restores while it is asked to open, and may have begun before that.
        if RecoveryLeg.OPEN in legs:
            legs[RecoveryLeg.RESTORE] = min(self._restore_s, legs[RecoveryLeg.OPEN])
            legs[RecoveryLeg.OPEN] -= legs[RecoveryLeg.RESTORE]
        return {leg: legs[leg] for leg in RecoveryLeg if leg in legs}
