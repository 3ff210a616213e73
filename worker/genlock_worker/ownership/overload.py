"""Whether a worker can do no more: it says so with its heartbeat, and is given no new session.

That is the last thing that an overloaded worker sheds. Before it come its sessions' steps and their frame rate
(`rows.approximation`): so it counts only while they give way no further. Pure: it is told the time.
"""

from typing import Final

ENTER_S: Final = 5.0
"""So long must its sessions be at their lowest, and come late all the same. Opening another session makes them late for
less."""
LEAVE_S: Final = 10.0
"""So long must that not be any more before it takes new sessions again."""


class Overload:
    """Looked at several times a second."""

    def __init__(self) -> None:
        self.is_overloaded = False
        self._exhausted_since_s: float | None = None
        self._exhausted_s: float | None = None
        """When it was so last."""

    def look(self, now_s: float, *, exhausted: bool) -> None:
        """`exhausted`: its sessions lose input or come late, and none can give way further."""
        if exhausted:
            if self._exhausted_since_s is None:
                self._exhausted_since_s = now_s
            self._exhausted_s = now_s
            if now_s - self._exhausted_since_s >= ENTER_S:
                self.is_overloaded = True
            return

        self._exhausted_since_s = None
        if self._exhausted_s is None or now_s - self._exhausted_s >= LEAVE_S:
            self.is_overloaded = False
