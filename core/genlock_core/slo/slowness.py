"""When a session is told to be too slow. Figures tremble round any bound, and what people are told must not: so a
session is too slow after some seconds of late pictures, and no longer after some more without.

Pure: it is told the time. Whoever gets a session's reports holds one `Slowness` of it, and tells the others.
"""

from collections import deque
from typing import Final

SLOW_FPS_SHARE: Final = 0.8
"""Below this share of its frame rate a session does not keep its pace."""
LATE_SHARE: Final = 0.1
"""With more late pictures than this, neither: people see it. (The service level speaks of far fewer.)"""
ENTER_S: Final = 3.0
"""So long must each report be of late pictures before the session is too slow. A worker reports once a second."""
LEAVE_S: Final = 10.0
"""So long must no report be of late pictures before it is not any more."""


def comes_late(*, late_share: float, output_fps: float | None, frame_rate: float, source_moves: bool) -> bool:
    """Whether these figures are of a session that does not keep its pace.

    `late_share` (0 to 1) is of the last pictures; `output_fps` is None where nobody measures. A source that crawls
    makes few pictures, and each of them in time: few pictures are no fault while the source stands or none is late.
    `frame_rate` is what it runs at now: frames that are left out on purpose are none of a slow session.
    """
    slow = output_fps is not None and output_fps < SLOW_FPS_SHARE * frame_rate
    return late_share > LATE_SHARE or (slow and source_moves and late_share > 0)


class Slowness:
    """Whether one session is too slow at one worker: in time at first, too slow once reports were late for `ENTER_S`
    without a break, and in time again once none was late for `LEAVE_S`. With another worker it begins anew.
    """

    def __init__(self) -> None:
        self._too_slow = False
        # Since when each report has been a late one; None if the last was in time.
        self._late_since_s: float | None = None
        # The late reports of the last seconds: when, and the share of late pictures.
        self._late: deque[tuple[float, float]] = deque()

    def reported(self, now_s: float, *, late: bool, late_share: float) -> None:
        """A report came; `late` is what `comes_late` says of it."""
        self._forget(now_s)
        if not late:
            self._late_since_s = None
            return

        self._late.append((now_s, late_share))
        if self._late_since_s is None:
            self._late_since_s = now_s
        if now_s - self._late_since_s >= ENTER_S:
            self._too_slow = True

    def late_share(self, now_s: float) -> float | None:
        """While the session is too slow, the largest share of late pictures that keeps it so; else None."""
        self._forget(now_s)
        return max(share for _, share in self._late) if self._too_slow else None

    def restart(self) -> None:
        """Its worker is another, or the session has rested: the next report is the first."""
        self._too_slow = False
        self._late_since_s = None
        self._late.clear()

    def _forget(self, now_s: float) -> None:
        while self._late and now_s - self._late[0][0] >= LEAVE_S:
            self._late.popleft()
        if not self._late:
            self._too_slow = False
