"""Which phase a worker tells of a session that it serves: Live while its source makes pictures, else Assigned. Pure."""

from typing import Final

from genlock_core.spec.session import Phase

ABSENT_S: Final = 2.0
"""Without a source for this long a session is not Live: a publisher that comes back at once changes nothing."""
FRUITLESS_S: Final = 8.0
"""With a source that has made no picture for this long, neither. Restoring takes less."""


class LivePhase:
    """Asked once a second. A picture that went out makes a session Live for as long as its source is there.

    A source that stands still is there, and so is one that is paused.
    """

    def __init__(self, now_s: float) -> None:
        self._present = False
        self._since_s = now_s
        self._frames_before = 0

    def look(self, *, present: bool, frames_sent: int, now_s: float) -> Phase | None:
        """Live or Assigned; None: as it was. `present`: somebody publishes, or a source of the worker's own runs."""
        if present != self._present:
            self._present = present
            self._since_s = now_s
        # What was on its way out when the source went does not make the next publication live.
        if not present:
            self._frames_before = frames_sent

        if present and frames_sent > self._frames_before:
            return Phase.LIVE
        patience_s = FRUITLESS_S if present else ABSENT_S
        return Phase.ASSIGNED if now_s - self._since_s >= patience_s else None
