"""From a publisher's RTP timestamps to capture times on the gateway's clock."""

from genlock_core.media import VIDEO_CLOCK_HZ

MAX_STEP_S = 2.0
"""A longer step between two frames than this, forwards or back, is a new time line, not a slow camera."""
WINDOW_FRAMES = 32
"""The anchor follows the earliest arrival among so many frames: a second or two, longer than a burst of jitter."""


class CaptureClock:
    """Keeps media distances and pins them to the earliest arrivals.

    A frame is never said to be captured after it arrived, nor before its predecessor. The anchor is the smallest
    difference of arrival and media time: it falls at once, and rises to the smallest one of a whole window, so that a
    publisher's clock may run faster or slower than ours for hours, and one that stood still is not late for ever.
    """

    def __init__(self) -> None:
        self._last_timestamp: int | None = None
        self._media_us = 0
        self._offset_us = 0.0
        self._last_capture_us = 0
        self._window: list[float] = []

    def capture_us(self, timestamp: int, arrival_s: float) -> int:
        """Microseconds on the clock of `arrival_s` for a frame with the 32-bit RTP `timestamp`; strictly increasing."""
        arrival_us = arrival_s * 1e6
        if self._last_timestamp is None:
            self._offset_us = arrival_us
            self._last_capture_us = int(arrival_us) - 1
        else:
            step = (timestamp - self._last_timestamp) & 0xFFFFFFFF
            step = step if step < 0x80000000 else step - 0x100000000
            self._media_us += step * 1_000_000 // VIDEO_CLOCK_HZ
            if abs(step) > MAX_STEP_S * VIDEO_CLOCK_HZ:
                self._offset_us = arrival_us - self._media_us
                self._window.clear()
        self._last_timestamp = timestamp
        self._follow(arrival_us - self._media_us)
        capture = min(int(self._media_us + self._offset_us), int(arrival_us))
        self._last_capture_us = max(capture, self._last_capture_us + 1)
        return self._last_capture_us

    def _follow(self, difference_us: float) -> None:
        if difference_us < self._offset_us:
            self._offset_us = difference_us
        self._window.append(difference_us)
        if len(self._window) == WINDOW_FRAMES:
            self._offset_us = min(self._window)
            self._window.clear()
