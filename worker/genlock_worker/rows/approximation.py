"""How many denoising steps a session runs: what was asked for, or fewer while the worker is overloaded.

Used where the session's approximation is Adaptive. Lowers quickly, raises slowly, and waits longer before each new
attempt that fails, so that the picture does not breathe.
"""

LOWER_AFTER_TROUBLES = 2
"""Lost or late chunks within the window that lower the steps by one."""
TROUBLE_WINDOW_S = 2.0
LOWER_COOLDOWN_S = 1.0
RAISE_AFTER_S = 5.0
RAISE_AFTER_MAX_S = 80.0
RAISE_BELOW_LOAD = 0.85
"""Raise only if the expected load with one more step stays below this share."""


class StepPolicy:
    """How far overload lowers one session's steps, below a ceiling that is not known here; to `minimum` at most."""

    def __init__(self, *, minimum: int, now_s: float) -> None:
        self._minimum = minimum
        self._lowered = 0
        """By how many steps the session gives way."""
        self._troubles: list[float] = []
        self._changed_s = now_s
        self._raised_s: float | None = None
        self._patience_s = RAISE_AFTER_S

    def steps(self, ceiling: int) -> int:
        """The steps of the next chunk, of `ceiling` at most."""
        return max(min(self._minimum, ceiling), ceiling - self._lowered)

    def forget(self, now_s: float) -> None:
        """The user wants another number: it is tried at once, whatever was before."""
        self._lowered = 0
        self._troubles.clear()
        self._changed_s = now_s
        self._patience_s = RAISE_AFTER_S

    def trouble(self, now_s: float) -> None:
        """An input chunk was lost or a generated one was late."""
        self._troubles = [at for at in self._troubles if at > now_s - TROUBLE_WINDOW_S] + [now_s]

    def decide(self, ceiling: int, now_s: float, *, load_with_one_more: float) -> int:
        """The steps of the next chunk. `load_with_one_more`: the worker's expected load if this session raised."""
        before = self.steps(ceiling)
        recent = [at for at in self._troubles if at > max(now_s - TROUBLE_WINDOW_S, self._changed_s)]

        if (
            len(recent) >= LOWER_AFTER_TROUBLES
            and before > min(self._minimum, ceiling)
            and now_s - self._changed_s >= LOWER_COOLDOWN_S
        ):
            # An attempt to raise that fails soon makes the next one wait longer.
            if self._raised_s is not None and now_s - self._raised_s < 2 * self._patience_s:
                self._patience_s = min(2 * self._patience_s, RAISE_AFTER_MAX_S)
            self._lowered = ceiling - before + 1
            self._changed_s = now_s
        elif before < ceiling and load_with_one_more < RAISE_BELOW_LOAD:
            quiet_since = max([self._changed_s, *self._troubles[-1:]])
            if now_s - quiet_since >= self._patience_s:
                self._lowered = ceiling - before - 1
                self._changed_s = now_s
                self._raised_s = now_s

        return self.steps(ceiling)
