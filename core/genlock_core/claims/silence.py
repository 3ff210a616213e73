"""How long a worker may be silent before it is taken for stuck: learned for each worker process, and for each phase.

A bound that fits every machine does not exist. A worker on a quiet machine shows progress four times a second; one on a
busy machine, or one that restores a large model, may show none for seconds and is well. A session that is moved off
such a worker costs the next one a restore, which makes the next silence. So the bound follows what was seen.

`Rhythm` belongs to who listens: a gateway keeps one for each worker process, and forgets it with the process. A worker
keeps one of itself, for its leases. It holds no time and no clock: it is told of gaps when they end, so a worker that
hangs teaches nothing while it hangs.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from genlock_core.claims.liveness import SILENCE_MS
from genlock_core.claims.pulse import EnginePhase

SHORTEST_PATIENCE_S: Final = SILENCE_MS / 1_000
LONGEST_PATIENCE_S: Final = 10.0
MARGIN: Final = 1.5
"""A silence is not normal any more when it lasts that many times what was normal so far."""
GAPS_REMEMBERED: Final = 120
"""A gap counts until that many newer ones of its phase have ended, twice that many at most: half a minute to a minute
of a worker that is well, and longer of one that is slow."""


FIRST_PATIENCE_S: Final = MappingProxyType(
    {
        EnginePhase.STEPPING: SHORTEST_PATIENCE_S,
        EnginePhase.OPENING: 2.0,
        EnginePhase.RESTORING: 2.0,
        EnginePhase.WARMING_UP: 2.0,
    }
)
"""The patience in a phase of which nothing is known yet, and the least that it ever is."""


@dataclass(frozen=True, slots=True)
class Silence:
    """For how long a worker has made no progress, and for how long that is normal for it."""

    quiet_s: float
    """Infinite where there is nothing to hear it through."""
    patience_s: float = SHORTEST_PATIENCE_S

    @property
    def is_normal(self) -> bool:
        return self.quiet_s < self.patience_s


@dataclass(slots=True)
class _LongestGaps:
    """The two longest gaps of the last `remembered` to twice as many, in two batches of which the older one goes as a
    whole."""

    remembered: int
    longest_s: float = 0.0
    second_s: float = 0.0
    count: int = 0
    before: tuple[float, float] = (0.0, 0.0)

    def add(self, gap_s: float) -> None:
        if self.count == self.remembered:
            self.before = self.longest_s, self.second_s
            self.longest_s = 0.0
            self.second_s = 0.0
            self.count = 0

        self.count += 1
        self.longest_s, self.second_s, _ = sorted((self.longest_s, self.second_s, gap_s), reverse=True)

    def ranked(self) -> list[float]:
        """The longest first."""
        return sorted((self.longest_s, self.second_s, *self.before), reverse=True)


class Rhythm:
    """What is normal for one worker process: the gaps between two signs of progress, by phase, and those between two
    signs that the process is alive. A few numbers for each, whatever is heard.

    `remembered`: for how many newer ones a gap counts, at least; who looks more often than a heartbeat names more.
    `habit`: so many long gaps are a habit, fewer may be a fault that healed. It is for who decides on moves; a worker
    that decides on its own leases trusts one.
    """

    def __init__(self, *, remembered: int = GAPS_REMEMBERED, habit: Literal[1, 2] = 2) -> None:
        self._remembered = remembered
        self._habit = habit
        self._progress: dict[EnginePhase, _LongestGaps] = {}
        self._alive = _LongestGaps(remembered)

    def progressed(self, phase: EnginePhase, gap_s: float) -> None:
        """The engine has made progress after `gap_s` without, in which it was in `phase`."""
        self._progress.setdefault(phase, _LongestGaps(self._remembered)).add(gap_s)

    def was_alive(self, gap_s: float) -> None:
        """The process has given a sign of life after `gap_s` without."""
        self._alive.add(gap_s)

    def patience_s(self, phase: EnginePhase) -> float:
        """How long the engine may show no progress in this phase; 1 to 10 s.

        The phases in which it does not step are one long gap by nature, so there one is enough.
        """
        gaps = self._progress.get(phase)
        normal_s = 0.0 if gaps is None else gaps.ranked()[self._habit - 1 if phase is EnginePhase.STEPPING else 0]
        return _clamped(normal_s, shortest_s=FIRST_PATIENCE_S[phase])

    @property
    def alive_patience_s(self) -> float:
        """How long the process may give no sign of life, whatever its engine does; 1 to 10 s."""
        return _clamped(self._alive.ranked()[self._habit - 1], shortest_s=SHORTEST_PATIENCE_S)


def _clamped(normal_s: float, *, shortest_s: float) -> float:
    return min(max(MARGIN * normal_s, shortest_s), LONGEST_PATIENCE_S)
