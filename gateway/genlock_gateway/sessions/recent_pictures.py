"""What a publisher sent lately, from a key frame on, so that a worker that has just opened the session can decode.

Stands beside `source`, which adds each access unit and gives a worker what it needs. Pure; time is the media's own.
"""

from collections import deque
from itertools import islice
from typing import Final

from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import MAX_REORDER_S, AccessUnit

MAX_BYTES: Final = 8 * 1024 * 1024
RECENT_LIMIT: Final = ByteLimit(
    "pictures since the last key frame, and of the seconds before it",
    MAX_BYTES,
    each="session with its publisher here, and each of two that are connecting",
    when_full="the oldest group of pictures goes; the last one is dropped, and a key frame asked for",
    times=3,
)
MAX_SECONDS: Final = 30.0
MAX_UNITS: Final = 1_800
"""The link takes no more in one replay."""
KEPT_BEHIND_S: Final = 3.0
"""What came before a key frame is kept until that is so old. A worker that was lost had shown less of the source than
has come: its successor goes on where viewers are, also where a key frame came meanwhile."""


class RecentPictures:
    """Groups of pictures, the oldest first: each is a key frame and what came until the next one. Or nothing.

    The newest group is all since the last key frame. Older ones are kept for `KEPT_BEHIND_S`, and give way first. A
    newest group that outgrows the bounds is dropped, because it is worth nothing without its key frame: until the next
    one `wants_key_frame` says to ask the publisher.
    """

    __slots__ = ("_bytes", "_groups", "_max_us")

    def __init__(
        self, *, limit: ByteLimit = RECENT_LIMIT, max_seconds: float = MAX_SECONDS, holdings: Holdings | None = None
    ) -> None:
        self._max_us = round(max_seconds * 1e6)
        self._groups: deque[list[AccessUnit]] = deque()
        self._bytes = (holdings or Holdings()).bound(limit)

    @property
    def newest_group(self) -> tuple[AccessUnit, ...]:
        """All since the last key frame; empty, or begins with it."""
        return tuple(self._groups[-1]) if self._groups else ()

    def after(self, seen_us: int) -> tuple[AccessUnit, ...]:
        """What a decoder needs to show whatever comes after `seen_us`, a capture time, as far as it is held."""
        start = 0
        for number, group in enumerate(self._groups):
            if group[0].capture_us > seen_us:
                break
            start = number
        return tuple(unit for group in islice(self._groups, start, None) for unit in group)

    @property
    def wants_key_frame(self) -> bool:
        """Nothing that a decoder could start with is held."""
        return not self._groups

    def add(self, unit: AccessUnit) -> None:
        """Take the next unit of the stream, in decoding order."""
        # Another stream: without its own key frame it cannot be decoded.
        if self._groups and not self._goes_on_with(unit):
            self.clear()

        if unit.key_frame:
            self._groups.append([])
        elif not self._groups:
            return

        group = self._groups[-1]
        self._let_old_groups_go(unit)
        first_us = group[0].capture_us if group else unit.capture_us
        too_long = unit.capture_us - first_us > self._max_us or self._count >= MAX_UNITS
        if too_long or not self._bytes.take(_size(unit)):
            self.clear()
        else:
            group.append(unit)

    @property
    def _count(self) -> int:
        return sum(map(len, self._groups))

    def _goes_on_with(self, unit: AccessUnit) -> bool:
        """Whether it is of the same stream: it goes back in time no further than pictures are reordered."""
        newest = self._groups[-1][-1]
        return unit.codec is newest.codec and unit.capture_us >= newest.capture_us - MAX_REORDER_S * 1e6

    def _let_old_groups_go(self, unit: AccessUnit) -> None:
        """Make room for the unit: nobody needs what is before a key frame that is old enough."""
        while len(self._groups) > 1:
            follower = self._groups[1]
            next_us = follower[0].capture_us if follower else unit.capture_us
            is_old = unit.capture_us - next_us >= KEPT_BEHIND_S * 1e6
            is_room = self._bytes.fits(_size(unit)) and self._count < MAX_UNITS
            if is_room and not is_old:
                return
            self._bytes.give(sum(map(_size, self._groups.popleft())))

    def clear(self) -> None:
        """Hold nothing: the publisher has gone or changed."""
        self._groups.clear()
        self._bytes.clear()


def _size(unit: AccessUnit) -> int:
    """What it takes of memory, about."""
    return len(unit.data) + OBJECT_BYTES
