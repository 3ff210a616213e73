"""By how much a pool's workers are slower, or faster, than their profile says: what its sessions' costs are divided by.

A profile was measured on another day and another machine. Where a pool's sessions are late for longer than a moment and
the workers themselves say that they compute more slowly, each session takes more of a worker than it pays for.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

WINDOW_S: Final = 60.0
SLOWEST: Final = 0.5
FASTEST: Final = 1.2
BROKEN_WINDOWS: Final = 2
"""So many windows in succession must be broken before costs rise: one may be an accident."""
LOOSENED_BY: Final = 0.01
"""Of the profile's speed, per window. So it takes a quarter of an hour to take back what two minutes have tightened."""
LEAST_FRAMES: Final = 240
"""A window with fewer frames judges nothing: that is ten seconds of one session."""
CALM_SHARE: Final = 0.5
"""Costs fall only while no more than this share of the miss budget is used."""


@dataclass(frozen=True, slots=True)
class LateWindow:
    """What a pool's workers did in one window. Raises ValueError for what cannot be."""

    frames: int
    late: int
    """Frames that the worker finished too late. What the network or a viewer loses is not among them."""
    budget: float
    """The share of frames that may be late, by the sessions' service levels."""
    speed: float | None = None
    """What the workers learned of their speed, over that of the profile; None: nothing yet."""

    def __post_init__(self) -> None:
        if not (self.frames >= 0 and self.late >= 0 and 0 <= self.budget <= 1):
            raise ValueError(f"{self.late} of {self.frames} frames late, with a budget of {self.budget}, cannot be")
        if self.speed is not None and not (math.isfinite(self.speed) and self.speed > 0):
            raise ValueError(f"a speed is a number above 0, not {self.speed}")

    @property
    def judges(self) -> bool:
        return self.frames >= LEAST_FRAMES

    @property
    def used(self) -> float:
        """The late share over the budget; above 1 it is broken."""
        share = min(1.0, self.late / self.frames) if self.frames else 0.0
        return share / self.budget if self.budget > 0 else math.inf if share > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Correction:
    """Where a pool stands."""

    speed: float = 1.0
    """Of its workers over the profile's, as far as it is believed: 0.5 to 1.2. A cost is divided by it."""
    broken: int = 0
    """Windows in succession that broke the miss budget."""

    def cost(self, thousandths: int, *, most: int) -> int:
        """What a session pays that would pay so much by the profile; never more than `most`."""
        return min(most, max(1, math.ceil(thousandths / self.speed - 1e-9)))


def corrected(before: Correction, window: LateWindow) -> Correction:
    """The correction after one more window."""
    if not window.judges:
        return before
    broken = before.broken + 1 if window.used > 1 else 0
    after = replace(before, broken=broken)

    if window.speed is None:
        # Without a word of the workers nothing says that compute is to blame; what was believed fades.
        return replace(after, speed=_nearer(before.speed, 1.0)) if window.used <= CALM_SHARE else after
    learned = min(FASTEST, max(SLOWEST, window.speed))
    # Sessions that pay less than profiled do so only while they are in time.
    believed = min(learned, 1.0)
    if broken >= BROKEN_WINDOWS and believed < before.speed:
        return replace(after, speed=believed)
    if window.used <= CALM_SHARE and learned > before.speed:
        return replace(after, speed=_nearer(before.speed, learned))
    return after


def _nearer(speed: float, goal: float) -> float:
    """One window's step towards the goal, rounded so that steps there and back meet."""
    step = max(-LOOSENED_BY, min(LOOSENED_BY, goal - speed))
    return round(speed + step, 6)
