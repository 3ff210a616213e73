"""Whether a budget of misses holds: judged over two windows, never by the newest reading.

A *burn rate* is how many times as fast as allowed a budget is used up: the share of late frames over the share that may
be late. One window is not enough. A short one trembles, and a long one is still red when all is well again. So a budget
is *broken* once it burns too fast in both, and *holds* again once it does so in neither: in between, what was said
before stands. That is the multi-window burn rate of the Site Reliability Workbook (Google, chapter 5, "Multiwindow,
Multi-Burn-Rate Alerts"), whose short window is a twelfth of the long one. It differs in two things: our windows are
minutes, as a stream's budget is one of minutes and not of a month; and the workbook's alert ends as soon as the short
window is below the bound, where ours must be below a lower bound in both.

Pure: everything is told the time, in seconds of one monotonic clock.
"""

from dataclasses import dataclass
from typing import Final

from genlock_core.slo.deadlines import MissMeter

SHORT_S: Final = 30.0
LONG_S: Final = 360.0
BROKEN_ABOVE: Final = 1.0
"""A budget that burns faster than this is gone before its window is over."""
HOLDS_BELOW: Final = 0.75
"""Slower than this in both windows, and it holds again."""


@dataclass(frozen=True, slots=True)
class MissShares:
    """The shares (0 to 1) of frames that were late, in the two windows that end now."""

    short: float

    long: float
    """Over as much of the long window as was seen."""


class MissWindows:
    """The misses of one stream, or of many together, over both windows. It is told counters that only grow."""

    def __init__(self) -> None:
        self._short = MissMeter(SHORT_S)
        self._long = MissMeter(LONG_S)
        self._since_s: float | None = None
        """Since when frames have come, without a rest as long as the short window."""
        self._moved_s: float | None = None
        """When frames were last counted."""
        self._read_s = 0.0
        self._frames: int | None = None
        self._misses = 0

    def counted(self, now_s: float, *, frames: int, misses: int) -> None:
        """The counters stand so. The first reading says nothing, as nobody knows how old it is.

        Counters that are smaller than before began anew, with a process. What they say has then happened since.
        """
        known, known_misses = self._frames, self._misses
        before_s, self._read_s = self._read_s, now_s
        self._frames = frames
        self._misses = misses
        if known is None:
            return
        if frames < known or misses < known_misses:
            known = known_misses = 0

        added = max(0, frames - known)
        late = min(added, max(0, misses - known_misses))
        if added:
            if self._moved_s is None or now_s - self._moved_s > SHORT_S:
                self._since_s = before_s if now_s - before_s <= SHORT_S else now_s
            self._moved_s = now_s
        self._short.frames_passed(now_s, frames=added, misses=late)
        self._long.frames_passed(now_s, frames=added, misses=late)

    def pause(self) -> None:
        """Nobody counts for a while, or somebody else does: the next reading is a first one. What was seen stays."""
        self._frames = None

    def shares(self, now_s: float) -> MissShares | None:
        """None while nothing can be said: frames have not come for as long as the short window, or come no more.

        The first frames of a stream, or after a rest, are often late: they alone would fill both windows.
        """
        if self._since_s is None or now_s - self._since_s < SHORT_S or not self._short.frames_inside(now_s):
            return None
        return MissShares(self._short.share(now_s), self._long.share(now_s))


def burn_rate(share: float, budget: float) -> float:
    """How many times as fast as allowed a budget is used up. One of 0 burns infinitely fast, or not at all."""
    if budget > 0:
        return share / budget
    return float("inf") if share > 0 else 0.0


def is_broken(shares: MissShares, *, budget: float, before: bool) -> bool:
    """Whether the budget (a share, 0 to 1) is broken, where it was so `before`, or was not (also: nobody knows)."""
    rates = (burn_rate(shares.short, budget), burn_rate(shares.long, budget))
    if before:
        return max(rates) >= HOLDS_BELOW
    return min(rates) > BROKEN_ABOVE
