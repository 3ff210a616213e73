"""How soon a session whose decoder was lost gets another one: who breaks decoders does not keep a worker forking."""

from typing import Final

from genlock_core.clock import Clock

FIRST_WAIT_S: Final = 1.0
"""After the second loss. The first one costs nothing: once is an accident."""
MAX_WAIT_S: Final = 30.0
FORGIVEN_AFTER_S: Final = 60.0
"""A session that has lost none for so long begins anew."""


class BackOff:
    """Of one session, whatever it publishes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._losses = 0
        self._lost_s = 0.0
        self._wait_s = 0.0

    @property
    def is_over(self) -> bool:
        """Another decoder may be had."""
        return self._clock.monotonic() - self._lost_s >= self._wait_s

    def lost(self) -> float:
        """Count a loss; how many seconds to wait after it."""
        now_s = self._clock.monotonic()
        if now_s - self._lost_s >= self._wait_s + FORGIVEN_AFTER_S:
            self._losses = 0

        self._losses += 1
        self._lost_s = now_s
        self._wait_s = 0.0 if self._losses == 1 else min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** (self._losses - 2))
        return self._wait_s
