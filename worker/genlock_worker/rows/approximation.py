"""How far one session gives way while the worker is overloaded: the worker's reflex, from one chunk to the next.

Used where the session's approximation is Adaptive. It gives way level by level: first denoising steps, down to the
session's minimum; then, where the session allows it, every second frame of its source. It comes back the other way.

It lowers quickly, raises slowly, and waits longer before each new attempt that fails, so that the picture does not
breathe.
"""

from collections import deque

from genlock_core.approximation.levels import Level

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


class LevelPolicy:
    """How far overload lowers one session, below a ceiling that is not known here.

    It holds a level of its own while it gives way; the session runs at most that, and at most the ceiling.

    To `minimum` steps at most, and to every second frame if it `may_halve` them. `chunk_s`: how long a chunk is,
    played, with all its frames.
    """

    def __init__(self, *, chunk_s: float, minimum: int, may_halve: bool = False, now_s: float) -> None:
        self._chunk_s = chunk_s
        self._minimum = minimum
        self._may_halve = may_halve
        self._reflex: Level | None = None
        """The most that it runs; None while it does not give way. With frames left out its steps are at their minimum,
        whatever the ceiling."""
        self._troubles: deque[float] = deque(maxlen=LOWER_AFTER_TROUBLES)
        self._changed_s = now_s
        self._raised_s: float | None = None
        self._patience_s = RAISE_AFTER_S

    def running(self, ceiling: Level) -> Level:
        """What the next chunk runs with, with this at most."""
        reflex = self._reflex
        if reflex is None:
            return ceiling

        # Asked for many times in each turn of the engine's loop: what is there already is not made again.
        steps = max(min(ceiling.steps, reflex.steps), self._lowest(ceiling))
        every = max(ceiling.every, reflex.every)
        return reflex if (steps, every) == (reflex.steps, reflex.every) else Level(steps, every=every)

    def above(self, ceiling: Level) -> Level | None:
        """One level higher; None at the top."""
        running = self.running(ceiling)
        if running.every > ceiling.every:
            return Level(running.steps, every=ceiling.every)
        return Level(running.steps + 1, every=running.every) if running.steps < ceiling.steps else None

    def below(self, ceiling: Level) -> Level | None:
        """One level lower; None at the lowest."""
        running = self.running(ceiling)
        if running.steps > self._lowest(ceiling):
            return Level(running.steps - 1, every=running.every)
        return Level(running.steps, every=2) if self._may_halve and running.every == 1 else None

    def _lowest(self, ceiling: Level) -> int:
        """Steps: who asks for less than its minimum has nothing left to lower."""
        return min(self._minimum, ceiling.steps)

    def forget(self, now_s: float) -> None:
        """The user wants another number of steps: it is tried at once, whatever was before."""
        self._reflex = None
        self._troubles.clear()
        self._changed_s = now_s
        self._patience_s = RAISE_AFTER_S

    def ceiling_changed(self, now_s: float) -> None:
        """What was too much before tells nothing of what runs now."""
        self._changed_s = now_s

    def trouble(self, now_s: float) -> None:
        """An input chunk was lost or a generated one was late."""
        self._troubles.append(now_s)

    def is_in_trouble(self, ceiling: Level, now_s: float) -> bool:
        """As many chunks were lost or late lately as lower a session, since it was changed last."""
        chunk_s = self._chunk_s * self.running(ceiling).every
        window_s = max(TROUBLE_WINDOW_S, TROUBLE_WINDOW_CHUNKS * chunk_s)
        since_s = max(now_s - window_s, self._changed_s)
        return sum(at > since_s for at in self._troubles) >= LOWER_AFTER_TROUBLES

    def decide(self, ceiling: Level, now_s: float, *, load_above: float) -> Level:
        """What the next chunk runs with. `load_above`: the worker's expected load if it were one level higher."""
        below = self.below(ceiling)
        above = self.above(ceiling)
        quiet_s = now_s - max([self._changed_s, *self._troubles])

        if below is not None and self.is_in_trouble(ceiling, now_s) and now_s - self._changed_s >= LOWER_COOLDOWN_S:
            # An attempt to raise that fails soon makes the next one wait longer.
            if self._raised_s is not None and now_s - self._raised_s < 2 * self._patience_s:
                self._patience_s = min(2 * self._patience_s, RAISE_AFTER_MAX_S)
            self._go(below, ceiling, now_s)
        elif quiet_s >= self._patience_s:
            if above is None:
                # The ceiling alone holds it down by now.
                self._reflex = None
            elif load_above < RAISE_BELOW_LOAD:
                self._go(above, ceiling, now_s)
                self._raised_s = now_s

        return self.running(ceiling)

    def _go(self, running: Level, ceiling: Level, now_s: float) -> None:
        """Frames that the ceiling leaves out are not its own doing: they come back with the ceiling."""
        every = running.every if running.every > ceiling.every else 1
        self._reflex = None if running == ceiling else Level(running.steps, every=every)
        self._changed_s = now_s
