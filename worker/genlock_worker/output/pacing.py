"""When a generated frame goes out: one period apart, as early as a smooth pace allows, LATE once its due time is past.

A chunk's frames come out of the engine at once; viewers want them evenly. `Pacer` is pure arithmetic over monotonic
seconds; the live session sleeps until the times that it names.
"""

from collections import deque
from dataclasses import dataclass

from genlock_core.slo.deadlines import due_times

PEAK_WINDOW_S = 5.0
"""The playout offset stays at the slowest chunk of this long."""
SHRINK_PER_S = 0.02
"""How many seconds the offset may shrink in one second: viewers do not see a pace that is 2 % fast."""
COMFORT = 0.75
"""Up to this share of the deadline the offset follows the slowest recent chunk. What is above was an accident ..."""
HURRY_PER_S = 0.2
"""... and shrinks as fast as the spacing allows, so that one slow chunk does not make many frames late."""
MIN_SPACING = 0.8
"""Two frames are never closer than this share of a period: catching up is quick, but never a burst."""


@dataclass(frozen=True, slots=True)
class PacedFrame:
    """When one frame of a chunk goes out and when it is due (monotonic seconds)."""

    send_s: float
    due_s: float


class Pacer:
    """The pace of one session's output.

    `offset_s` is the playout offset: how long after a chunk was complete its first frame goes out. It grows at once to
    what the engine needed, and shrinks slowly to the slowest chunk of the last seconds.
    """

    def __init__(self, *, frame_rate: int, deadline_s: float) -> None:
        self._frame_rate = frame_rate
        self._period_s = 1 / frame_rate
        self._deadline_s = deadline_s
        self._needed: deque[tuple[float, float]] = deque()
        self._last_send_s: float | None = None
        self._adapted_s: float | None = None
        self.offset_s = 0.0

    def schedule(self, *, complete_s: float, ready_s: float, frames: int) -> list[PacedFrame]:
        """The send and due times of a chunk that was complete at `complete_s` and generated at `ready_s`."""
        self._adapt(ready_s, needed_s=max(0.0, ready_s - complete_s))
        start_s = max(ready_s, complete_s + self.offset_s)
        due = due_times(complete_s, frames=frames, frame_deadline_s=self._deadline_s, frame_rate=self._frame_rate)
        paced = []
        for k, due_s in enumerate(due):
            send_s = start_s + k * self._period_s
            if self._last_send_s is not None:
                send_s = max(send_s, self._last_send_s + MIN_SPACING * self._period_s)
            self._last_send_s = send_s
            paced.append(PacedFrame(send_s, due_s))
        return paced

    def _adapt(self, now_s: float, *, needed_s: float) -> None:
        while self._needed and self._needed[0][0] < now_s - PEAK_WINDOW_S:
            self._needed.popleft()
        while self._needed and self._needed[-1][1] <= needed_s:
            self._needed.pop()
        self._needed.append((now_s, needed_s))
        peak_s = self._needed[0][1]
        elapsed_s = max(0.0, now_s - self._adapted_s) if self._adapted_s is not None else 0.0
        self._adapted_s = now_s
        comfort_s = COMFORT * self._deadline_s
        hurried_s = max(min(self.offset_s, comfort_s), self.offset_s - HURRY_PER_S * elapsed_s)
        floor_s = min(peak_s, comfort_s)
        self.offset_s = max(needed_s, floor_s, hurried_s - SHRINK_PER_S * elapsed_s)
