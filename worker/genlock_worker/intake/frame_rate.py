"""From a source's frame rate to the session's: which frames of the source are shown, and at which times.

Sits before the chunks, which need frames that come evenly. Pure: judged by capture times alone, which are the source's.
"""

from genlock_core.media import SourcePosition

MAX_GAP_PERIODS = 8
"""A source that was silent for longer than this many frame periods starts anew, instead of being filled up."""
AGAIN_US = 1
"""A picture that is repeated stands this long after the one before it: surely before what the source sends next."""


class FrameRateConverter:
    """Picks and repeats frames so that they come evenly at the session's frame rate.

    The session's ticks start with a run's first frame. A frame serves every tick up to half a period after it, so a
    source of the same rate passes unchanged under jitter of up to half a period. While a source is silent it `rests`:
    its ticks are served by what is there.
    """

    def __init__(self, frame_rate: int) -> None:
        self.is_resting = False
        """No frame has served a tick since the source was silent."""
        self._period_us = 1_000_000 / frame_rate
        self._run = -1
        self._next_tick_us = 0.0
        self._last_us = 0

    def ticks(self, position: SourcePosition) -> list[SourcePosition]:
        """The ticks that a frame of this time serves: none, itself, or itself and those missing before it."""
        gap = position.capture_us - self._last_us
        if position.run != self._run or gap > MAX_GAP_PERIODS * self._period_us:
            if position.run < self._run:
                return []
            self._run = position.run
            self._next_tick_us = float(position.capture_us)
            self._last_us = position.capture_us - 1
        elif gap <= 0:
            return []
        elif self.is_resting:
            # What the source did not bring while it was silent is not made up for.
            self._next_tick_us = max(self._next_tick_us, float(position.capture_us))

        served = 0
        while position.capture_us >= self._next_tick_us - self._period_us / 2:
            self._next_tick_us += self._period_us
            served += 1
        if not served:
            return []

        span = position.capture_us - self._last_us
        shown_us = [
            max(self._last_us + 1, round(position.capture_us - min(left * self._period_us, span * left / served)))
            for left in reversed(range(served))
        ]
        self.is_resting = False
        self._last_us = position.capture_us
        return [SourcePosition(position.run, us) for us in shown_us]

    def rest(self, newest: SourcePosition) -> SourcePosition:
        """The next tick is served by the source's newest frame, as nothing else is there: where it is shown."""
        self.is_resting = True
        return self.ahead(newest)

    def ahead(self, newest: SourcePosition) -> SourcePosition:
        """The next tick is served by the source's newest frame, before its time: where it is shown.

        What the source brings for that tick is not needed any more.
        """
        self._next_tick_us += self._period_us
        self._last_us = max(newest.capture_us, self._last_us + AGAIN_US)
        return SourcePosition(newest.run, self._last_us)

    def until_next_tick_s(self, position: SourcePosition) -> float:
        """How long after a frame of this time the next tick comes that nothing serves yet; may be below 0."""
        return (self._next_tick_us - position.capture_us) / 1_000_000
