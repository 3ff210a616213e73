"""What a buffer may hold, in bytes: declared once with its name, and kept by one kind of object.

Whatever stands between a socket and an engine has a `ByteLimit`, and says what gives way when it is reached. A
`ByteBound` counts what one buffer holds. The `Holdings` of a publisher are all of its buffers at a place, so that what
it costs is one figure. `docs/bounds.md` is made from the limits.

Python's own objects count too: a million packets of one byte are not a megabyte.
"""

import weakref
from dataclasses import dataclass
from typing import Final

OBJECT_BYTES: Final = 256
"""About what a packet, a unit or a chunk costs besides its payload: an object, its numbers, a place in a container."""


@dataclass(frozen=True, slots=True)
class ByteLimit:
    """The most that a buffer of this name holds."""

    name: str
    """In plain words."""
    at_most: int
    """Bytes."""
    each: str
    """What has one such buffer."""
    when_full: str
    """What gives way."""
    times: int = 1
    """How many of them one publisher (or one connection) may have."""


class ByteBound:
    """What one buffer holds, by its own account: a buffer counts what it takes and what it gives away.

    Nothing here drops anything. `take` refuses what would be too much, `add` counts it in any case: its caller drops
    until `is_over` is false, before anybody else has a turn.
    """

    __slots__ = ("__weakref__", "held", "limit")

    def __init__(self, limit: ByteLimit) -> None:
        self.limit = limit
        self.held = 0
        """Bytes, those of the objects included."""

    @property
    def is_over(self) -> bool:
        return self.held > self.limit.at_most

    def fits(self, size: int) -> bool:
        """Whether so much more would be within the limit."""
        return self.held + size <= self.limit.at_most

    def take(self, size: int) -> bool:
        """Count so much more, if it fits. False: nothing has changed."""
        if not self.fits(size):
            return False
        self.held += size
        return True

    def add(self, size: int) -> None:
        """Count so much more, whatever the limit; so much less if it is negative."""
        self.held += size

    def give(self, size: int) -> None:
        """So much has left."""
        self.held -= size

    def hold(self, size: int) -> bool:
        """It holds so much now, if that fits. False: nothing has changed."""
        if size > self.limit.at_most:
            return False
        self.held = size
        return True

    def clear(self) -> None:
        """Nothing is left."""
        self.held = 0


class Holdings:
    """Every buffer of one publisher (or one connection) at one place. A buffer that is gone counts no more."""

    def __init__(self) -> None:
        self._bounds: weakref.WeakSet[ByteBound] = weakref.WeakSet()

    def bound(self, limit: ByteLimit) -> ByteBound:
        """The bound of a new buffer, which keeps it as long as it lives."""
        made = ByteBound(limit)
        self._bounds.add(made)
        return made

    @property
    def bounds(self) -> tuple[ByteBound, ...]:
        return tuple(self._bounds)

    @property
    def held_bytes(self) -> int:
        """All of them together."""
        return sum(bound.held for bound in self._bounds)
