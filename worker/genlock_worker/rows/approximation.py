"""How far one session gives way while the worker is overloaded: the worker's reflex, from one chunk to the next.

Used where the session's approximation is Adaptive. It gives way level by level: first denoising steps, down to the
session's minimum; then, where the session allows it, every second frame of its source. It comes back the other way.

It lowers quickly, raises slowly, and waits longer before each new attempt that fails, so that the picture does not
breathe.
"""

from dataclasses import dataclass

LOWER_AFTER_TROUBLES = 2
"""Lost or late chunks within the window that lower the session by one level."""
TROUBLE_WINDOW_S = 2.0
"""The window, and ..."""
TROUBLE_WINDOW_CHUNKS = 8
"""... at least as long as so many chunks take: at a lower frame rate fewer chunks can be late."""
LOWER_COOLDOWN_S = 1.0
RAISE_AFTER_S = 5.0
RAISE_AFTER_MAX_S = 80.0
RAISE_BELOW_LOAD = 0.85
"""Raise only if the load that is expected one level higher stays below this share."""


@dataclass(frozen=True, slots=True)
class RunningLevel:
    """What a session runs with."""

    steps: int
    """Denoising steps of a chunk."""
    every: int = 1
    """Of so many frames of the source one is used: 1, or 2 where every second one is left out."""

    def is_below(self, other: "RunningLevel") -> bool:
        return (-self.every, self.steps) < (-other.every, other.steps)


class LevelPolicy:
    """How far overload lowers one session, below a ceiling of steps that is not known here.

    To `minimum` steps at most, and to every second frame if it `may_halve` them. `chunk_s`: how long a chunk is,
    played, with all its frames.
    """

    def __init__(self, *, chunk_s: float, minimum: int, may_halve: bool = False, now_s: float) -> None:
        self._chunk_s = chunk_s
        self._minimum = minimum
        self._may_halve = may_halve
        self._lowered = 0
        """By how many steps the session gives way."""
        self._halves = False
        """It leaves out every second frame; then its steps are at their minimum, whatever the ceiling."""
        self._troubles: list[float] = []
        self._changed_s = now_s
        self._raised_s: float | None = None
        self._patience_s = RAISE_AFTER_S

    def running(self, ceiling: int) -> RunningLevel:
        """What the next chunk runs with, with `ceiling` steps at most."""
        lowest = min(self._minimum, ceiling)
        return RunningLevel(lowest, every=2) if self._halves else RunningLevel(max(lowest, ceiling - self._lowered))

    def above(self, ceiling: int) -> RunningLevel | None:
        """One level higher; None at the top."""
        running = self.running(ceiling)
        if running.every > 1:
            return RunningLevel(running.steps)
        return RunningLevel(running.steps + 1) if running.steps < ceiling else None

    def below(self, ceiling: int) -> RunningLevel | None:
        """One level lower; None at the lowest."""
        running = self.running(ceiling)
        if running.steps > min(self._minimum, ceiling):
            return RunningLevel(running.steps - 1)
        return RunningLevel(running.steps, every=2) if self._may_halve and running.every == 1 else None

    def forget(self, now_s: float) -> None:
        """The user wants another number of steps: it is tried at once, whatever was before."""
        self._lowered = 0
        self._halves = False
        self._troubles.clear()
        self._changed_s = now_s
        self._patience_s = RAISE_AFTER_S

    def trouble(self, now_s: float) -> None:
        """An input chunk was lost or a generated one was late."""
        self._troubles = [at for at in self._troubles if at > now_s - self._window_s] + [now_s]

    def is_in_trouble(self, now_s: float) -> bool:
        """As many chunks were lost or late lately as lower a session, since it was changed last."""
        since_s = max(now_s - self._window_s, self._changed_s)
        return sum(at > since_s for at in self._troubles) >= LOWER_AFTER_TROUBLES

    def decide(self, ceiling: int, now_s: float, *, load_above: float) -> RunningLevel:
        """What the next chunk runs with. `load_above`: the worker's expected load if it were one level higher."""
        below = self.below(ceiling)
        above = self.above(ceiling)

        if below is not None and self.is_in_trouble(now_s) and now_s - self._changed_s >= LOWER_COOLDOWN_S:
            # An attempt to raise that fails soon makes the next one wait longer.
            if self._raised_s is not None and now_s - self._raised_s < 2 * self._patience_s:
                self._patience_s = min(2 * self._patience_s, RAISE_AFTER_MAX_S)
            self._go(below, ceiling, now_s)
        elif above is not None and load_above < RAISE_BELOW_LOAD:
            quiet_since = max([self._changed_s, *self._troubles[-1:]])
            if now_s - quiet_since >= self._patience_s:
                self._go(above, ceiling, now_s)
                self._raised_s = now_s

        return self.running(ceiling)

    @property
    def _window_s(self) -> float:
        """How long a trouble counts, by the chunks of what runs."""
        chunk_s = self._chunk_s * (2 if self._halves else 1)
        return max(TROUBLE_WINDOW_S, TROUBLE_WINDOW_CHUNKS * chunk_s)

    def _go(self, running: RunningLevel, ceiling: int, now_s: float) -> None:
        self._lowered = ceiling - running.steps
        self._halves = running.every > 1
        self._changed_s = now_s
