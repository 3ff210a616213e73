"""How much work a picture gets: less on a machine that is too slow for what the mock stands for.

Painting has the time of the hardware that the engine stands for. On a machine that has other work it may take longer;
then every frame behind it comes later, and in the end too late. So pictures are painted plainer before that. What they
are painted from (latents, rings, sinks) is the same either way, and so is every later picture.
"""

from collections import deque
from enum import StrEnum


class PaintEffort(StrEnum):
    """How a picture is painted."""

    FULL = "full"
    """As its medium is worked."""
    PLAIN = "plain"
    """In its medium's colours, on its paper, without brush and lines: about half of the work."""


OVERRUN = 0.8
"""A batch whose painting takes more than this share of its time leaves too little for an accident."""
WATCHED = 8
"""So many batches that painted are remembered: two seconds of one session."""
TOO_MANY = 2
"""So many overruns among them are no accident."""
CALM_S = 10.0
"""The machine must have had room for full work for this long before it is tried again."""
PLAIN_SHARE = 0.5
"""What plain work takes of full work's time."""


class EffortPolicy:
    """Chooses the effort of the next pictures from how long the last ones took. Pure: it is told the time.

    It gives way after `TOO_MANY` overruns of the last `WATCHED` batches, and takes up full work again once full work
    would have fitted for `CALM_S` without a break.
    """

    def __init__(self) -> None:
        self.effort = PaintEffort.FULL
        self._overran: deque[bool] = deque(maxlen=WATCHED)
        self._fits_since_s: float | None = None

    def painted(self, *, now_s: float, painted_s: float, available_s: float) -> None:
        """A batch was painted in `painted_s`; the hardware that is stood for takes `available_s` for it."""
        # An engine that is as fast as it paints has no time to keep.
        if available_s <= 0:
            return

        if self.effort is PaintEffort.FULL:
            self._overran.append(painted_s > OVERRUN * available_s)
            if sum(self._overran) >= TOO_MANY:
                self.effort = PaintEffort.PLAIN
                self._overran.clear()
                self._fits_since_s = None
            return

        if painted_s / PLAIN_SHARE > OVERRUN * available_s:
            self._fits_since_s = None
        elif self._fits_since_s is None:
            self._fits_since_s = now_s
        elif now_s - self._fits_since_s >= CALM_S:
            self.effort = PaintEffort.FULL
