"""How far behind its source a stream is played: the one rule, for whoever paces the output and whoever chooses rows.

The *playout offset* is how long after a chunk was complete its first picture goes out. It grows at once to what the
engine needed, and shrinks slowly to the slowest chunk of the last seconds. So it is the buffer that a stream has: a
chunk that is there sooner than that stalls nothing. Pure arithmetic over monotonic seconds.
"""

from collections import deque
from collections.abc import Iterable

PEAK_WINDOW_S = 5.0
"""The playout offset stays at the slowest chunk of this long."""
SHRINK_PER_S = 0.02
"""How many seconds the offset may shrink in one second: viewers do not see a pace that is 2 % fast."""
COMFORT = 0.75
"""Up to this share of the deadline the offset follows the slowest recent chunk. What is above was an accident ..."""
HURRY_PER_S = 0.2
"""... and shrinks as fast as the spacing allows, so that one slow chunk does not make many frames late."""


class PlayoutOffset:
    """That of one stream."""

    def __init__(self, *, deadline_s: float) -> None:
        self.seconds = 0.0
        self._deadline_s = deadline_s
        self._needed: deque[tuple[float, float]] = deque()
        """(when, how long) chunks took, slowest first: those that no later and slower one makes irrelevant."""
        self._adapted_s: float | None = None

    def took(self, now_s: float, *, needed_s: float) -> None:
        """A chunk is there now, so long after it was complete."""
        # The slowest chunk of the window stands first.
        while self._needed and self._needed[0][0] < now_s - PEAK_WINDOW_S:
            self._needed.popleft()
        while self._needed and self._needed[-1][1] <= needed_s:
            self._needed.pop()

        self._needed.append((now_s, needed_s))
        peak_s = self._needed[0][1]

        elapsed_s = max(0.0, now_s - self._adapted_s) if self._adapted_s is not None else 0.0
        self._adapted_s = now_s

        # Above the comfortable share of the deadline the offset hurries down, below it nobody sees it shrink.
        comfort_s = COMFORT * self._deadline_s
        hurried_s = max(min(self.seconds, comfort_s), self.seconds - HURRY_PER_S * elapsed_s)
        floor_s = min(peak_s, comfort_s)
        self.seconds = max(needed_s, floor_s, hurried_s - SHRINK_PER_S * elapsed_s)


class Playout:
    """Until when the viewers of a stream can be shown what is there."""

    def __init__(self, *, deadline_s: float) -> None:
        self.until_s: float | None = None
        """When the last picture that is there has had its time; None before the first."""
        self._offset = PlayoutOffset(deadline_s=deadline_s)

    def begins_s(self, complete_s: float, *, after: Iterable[tuple[float, float]]) -> float | None:
        """When the pictures of a chunk that was complete at `complete_s` are wanted; None before any were shown.

        `after`: (when complete, how long) the chunks before it are whose pictures are not there yet, oldest first. No
        picture goes out sooner than the offset lets it: a source that has rested leaves nobody waiting.
        """
        if self.until_s is None:
            return None
        until_s = self.until_s
        for before_s, length_s in after:
            until_s = self._begins_s(before_s, until_s) + length_s
        return self._begins_s(complete_s, until_s)

    def shown(self, now_s: float, *, complete_s: float, length_s: float) -> None:
        """The pictures of a chunk are there, which was complete at `complete_s` and plays for `length_s`."""
        self._offset.took(now_s, needed_s=max(0.0, now_s - complete_s))
        self.until_s = self._begins_s(complete_s, now_s) + length_s

    def _begins_s(self, complete_s: float, earliest_s: float) -> float:
        return max(earliest_s, complete_s + self._offset.seconds)
