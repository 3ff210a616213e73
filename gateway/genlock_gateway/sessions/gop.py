"""The publisher's current group of pictures, kept so that a new worker can decode at once (DESIGN section 2, step 3).

Pure: no clock and no link. Time is the media's own, read from the access units.
"""

from collections import deque

from genlock_core.media import AccessUnit

MAX_BYTES = 8 * 1024 * 1024
MAX_SECONDS = 30.0
MAX_UNITS = 1_800
"""The link takes no more in one replay."""


class GroupOfPictures:
    """Everything since the last key frame, or nothing.

    A group that outgrows its bounds is worth nothing with its key frame gone, so it is dropped whole; it starts again
    with the next key frame, and until then `wants_key_frame` says to ask the publisher for one.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_us", "_units", "overflows")

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> None:
        self._max_bytes = max_bytes
        self._max_us = round(max_seconds * 1e6)
        self._units: deque[AccessUnit] = deque()
        self._bytes = 0
        self.overflows = 0  # groups dropped for their size

    @property
    def units(self) -> tuple[AccessUnit, ...]:
        """The group in order; empty, or begins with its key frame."""
        return tuple(self._units)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    @property
    def wants_key_frame(self) -> bool:
        """Nothing that a decoder could start with is held."""
        return not self._units

    def add(self, unit: AccessUnit) -> None:
        """Take the next unit of the stream, in decoding order."""
        if unit.key_frame:
            self.clear()
        elif not self._units:
            return
        elif unit.codec is not self._units[0].codec or unit.capture_us < self._units[-1].capture_us:
            self.clear()  # another stream: without its own key frame it cannot be decoded
            return
        self._units.append(unit)
        self._bytes += len(unit.data)
        too_long = unit.capture_us - self._units[0].capture_us > self._max_us or len(self._units) > MAX_UNITS
        if too_long or self._bytes > self._max_bytes:
            self.clear()
            self.overflows += 1

    def clear(self) -> None:
        """Hold nothing: the publisher has gone or changed."""
        self._units.clear()
        self._bytes = 0
