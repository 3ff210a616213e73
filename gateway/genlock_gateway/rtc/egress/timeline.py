"""Continuity of an outgoing RTP stream: one series of numbers, whoever makes the pictures.

Viewers keep their peer connection while workers and encoders come and go, so packet indices, timestamps and picture ids
are the gateway's own and never go back.
"""

from dataclasses import dataclass

from genlock_core.media import VIDEO_CLOCK_HZ

MAX_STEP_S = 2.0
"""A longer step in capture times than this is taken for a new time line."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Numbers of one access unit. `first_index` counts packets of the stream from 0 and does not wrap."""

    first_index: int
    timestamp: int
    picture_id: int


class Timeline:
    """Stamps access units of one stream.

    Within one source, timestamps advance by the difference of capture times. After `restart`, or when capture times
    jump or run back, they advance by the time that passed on the gateway's clock. Two units never share a timestamp.
    """

    def __init__(self, *, first_timestamp: int, first_picture_id: int) -> None:
        self._ticks = first_timestamp
        self._picture_id = first_picture_id
        self._next_index = 0
        self._last_capture_us: int | None = None
        self._last_now_s: float | None = None

    @property
    def next_index(self) -> int:
        """Index of the next packet to be made."""
        return self._next_index

    @property
    def next_picture_id(self) -> int:
        """Picture id of the next unit (RFC 7741 section 4.2, 15 bits)."""
        return self._picture_id

    def restart(self) -> None:
        """The next unit is another source's: its capture time says nothing about the last one."""
        self._last_capture_us = None

    def stamp(self, *, capture_us: int, packets: int, now_s: float) -> Stamp:
        """Numbers for the next unit of `packets` packets, sent at `now_s` on the gateway's monotonic clock."""
        if self._last_now_s is not None:
            elapsed = round(max(0.0, now_s - self._last_now_s) * VIDEO_CLOCK_HZ)
            step = elapsed
            if self._last_capture_us is not None:
                captured = round((capture_us - self._last_capture_us) * VIDEO_CLOCK_HZ / 1_000_000)
                step = captured if 0 < captured <= MAX_STEP_S * VIDEO_CLOCK_HZ else elapsed
            self._ticks += max(1, step)
        self._last_now_s = now_s
        self._last_capture_us = capture_us
        stamp = Stamp(self._next_index, self._ticks & 0xFFFFFFFF, self._picture_id)
        self._next_index += packets
        self._picture_id = (self._picture_id + 1) & 0x7FFF
        return stamp

    def timestamp_at(self, now_s: float) -> int:
        """The RTP timestamp that belongs to `now_s`, for sender reports (RFC 3550 section 6.4.1)."""
        since = 0.0 if self._last_now_s is None else now_s - self._last_now_s
        return (self._ticks + round(since * VIDEO_CLOCK_HZ)) & 0xFFFFFFFF
