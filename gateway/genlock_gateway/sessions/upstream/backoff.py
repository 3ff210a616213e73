"""How soon a session may be moved by silence again: pure, one value for each session.

A move costs the next worker a restore, a warm-up and a key frame. Where both workers are slow, that is the next
silence. So each move by silence makes the next one wait twice as long. With these figures no 60 s see more than six of
them, whatever the workers do. Moves for another cause neither wait nor count: a dead process is left at once.
"""

from dataclasses import dataclass
from typing import Final

FIRST_HOLD_S: Final = 2.0
HIGHEST_LEVEL: Final = 4
LONGEST_HOLD_S: Final = FIRST_HOLD_S * 2.0 ** (HIGHEST_LEVEL - 1)
FORGIVEN_AFTER_S: Final = 30.0
"""Without a move by silence for this long, the next hold is half as long; and so on."""


@dataclass(frozen=True, slots=True)
class MoveBackoff:
    """`level`: moves by silence that were not forgiven at the moment of the last one, `moved_s`; 4 at most."""

    level: int = 0
    moved_s: float = 0.0

    def holds(self, now_s: float) -> bool:
        """Whether the session stays where it is, however silent its worker."""
        return self.level > 0 and now_s < self.moved_s + FIRST_HOLD_S * 2.0 ** (self.level - 1)

    def moved(self, now_s: float) -> "MoveBackoff":
        """The session was moved by silence, by whomever."""
        forgiven = (now_s - self.moved_s) // FORGIVEN_AFTER_S
        left = max(0, self.level - int(forgiven))
        return MoveBackoff(level=min(1 + left, HIGHEST_LEVEL), moved_s=now_s)
