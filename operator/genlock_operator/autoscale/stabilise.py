"""What was wanted lately: scale-in goes no further than to the most of it.

A pool that has had too many workers for a while may need most of them again in a moment. Whoever went to what is wanted
at that moment would start them anew. The rule is that of Kubernetes' horizontal autoscaler (stabilization window).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

LONGEST_S: Final = 3_600.0
"""What was wanted longer ago is forgotten, whatever the window."""
SMALL_SHARE: Final = 0.1
"""Of a pool: no more workers than this are a small surplus."""
SMALL_LASTS: Final = 3.0
"""A small surplus goes when it has lasted so many windows."""
TOGETHER_S: Final = 1.0
"""Of what is wanted within so long the most is noted, which bounds how much is."""


@dataclass(frozen=True, slots=True)
class WantedWorkers:
    """From this moment on so many workers were wanted, until the next one."""

    at_s: float
    """On the clock of whoever noted it."""
    workers: int


def most_wanted(wanted: Iterable[WantedWorkers], now_s: float, window_s: float) -> int:
    """The most that was wanted at any moment of the window; 0 where nothing was noted."""
    most = 0
    until_s = now_s
    for one in reversed(list(wanted)):
        if until_s < now_s - window_s:
            break
        most = max(most, one.workers)
        until_s = one.at_s
    return most


def least_to_keep(wanted: Sequence[WantedWorkers], now_s: float, window_s: float, *, staying: int, desired: int) -> int:
    """Down to how many workers a pool of `staying` goes now, where `desired` are enough.

    To the most that was wanted within the window; where that leaves a small surplus only, within a longer one: a pool
    that lets one of twenty go for it takes it back soon, and a start costs more than a worker that idles meanwhile.
    """
    kept = max(desired, most_wanted(wanted, now_s, window_s))
    if staying - kept > SMALL_SHARE * staying:
        return kept
    return max(kept, most_wanted(wanted, now_s, SMALL_LASTS * window_s))


@dataclass(slots=True)
class WantedLately:
    """What a pool wanted, as its plans said one after the other."""

    _noted: deque[WantedWorkers] = field(default_factory=deque)

    def note(self, now_s: float, workers: int) -> None:
        """So many are wanted from now on. Where the clock went back it is taken for the time of the last one."""
        noted = self._noted
        last = noted[-1] if noted else None
        if last is not None and now_s < last.at_s + TOGETHER_S:
            noted[-1] = WantedWorkers(last.at_s, max(last.workers, workers))
        elif last is None or last.workers != workers:
            noted.append(WantedWorkers(now_s, workers))
        while len(noted) > 1 and noted[1].at_s < now_s - LONGEST_S:
            noted.popleft()

    @property
    def all(self) -> tuple[WantedWorkers, ...]:
        """Oldest first."""
        return tuple(self._noted)
