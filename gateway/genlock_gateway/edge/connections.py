"""Which connections there may be, for how long each may keep somebody waiting, and who gives way when there is no room.

Pure: it is told the time and what each connection does, and says which ones are to end. `edge.watch` ends them.

A connection that has not yet asked anything is worth least: it costs a stranger one packet. One that is being answered
is worth most. So where there is no room for a new one, the least worthy gives way, and among equals the oldest of the
address that has the most of them. A client that asks at once is let in however many others never ask; an address that
is many gets in its own way first. Whoever showed a valid token gives way to nobody while it is answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from genlock_core.process.address_groups import group_of


class ConnectionPhase(IntEnum):
    """What a connection does. The first ones give way first."""

    NEW = 0
    """It was opened, and its first request is not whole yet."""
    IDLE = 1
    """It was answered, and asks nothing."""
    READING = 2
    """Another request began, and is not whole yet."""
    STALLED = 3
    """Its client does not take what it is sent."""
    ANSWERING = 4
    """It gets its answer, or waits for it: an event stream for as long as it lasts."""


class Why(StrEnum):
    """Why a connection ends before its client wants it to; a word for metrics."""

    LATE = "late"
    """A request that is not whole in time."""
    IDLE = "idle"
    STALLED = "stalled"
    GAVE_WAY = "gave-way"
    """Somebody else needed its place."""
    ADDRESS_FULL = "address-full"
    """It is one too many of its address, and none of the others gives way."""
    FULL = "full"
    """It is one too many, and nobody gives way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many, and how long."""

    connections: int
    """In all."""
    per_address: int
    """Of one address, or of one IPv6 network of 64 bits."""
    new_per_address: int
    """Of those, how many may have asked nothing yet; more only for `grace_s`."""
    grace_s: float
    """A new connection has this time before it gives way to another new one of its address: a page opens several at
    once, and an office opens hundreds of pages."""
    request_s: float
    """From a request's first byte to its last; from the opening of the connection to the last byte of its first."""
    idle_s: float
    stalled_s: float


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, from `Connections.open` until `Connections.close`."""

    group: str
    vouched: bool
    """Whether it carried a valid token, or is that of a named proxy."""
    counted: bool
    """Whether it counts for its address: a named proxy's counts for nobody's."""
    phase: ConnectionPhase
    since_s: float
    """When it came into that phase."""
    is_open: bool = True


class _Crowd:
    """Connections that are worth the same, in the order in which they came to be: of all, and of each group."""

    def __init__(self) -> None:
        self._all: dict[Connection, None] = {}
        self._groups: dict[str, dict[Connection, None]] = {}
        # Which groups have so many of them: then the largest one is found at once, among any number of groups.
        self._groups_by_size: dict[int, dict[str, None]] = {}
        self._largest = 0

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all)

    def add(self, connection: Connection) -> None:
        group = self._groups.setdefault(connection.group, {})
        self._resize(connection.group, len(group), len(group) + 1)
        group[connection] = None
        self._all[connection] = None

    def remove(self, connection: Connection) -> None:
        group = self._groups[connection.group]
        self._resize(connection.group, len(group), len(group) - 1)
        del group[connection]
        del self._all[connection]
        if not group:
            del self._groups[connection.group]

    def size(self, group: str) -> int:
        return len(self._groups.get(group, ()))

    def oldest_of(self, group: str) -> Connection | None:
        return next(iter(self._groups.get(group, ())), None)

    def oldest_of_the_largest(self) -> Connection | None:
        """Of the group that has the most of them."""
        largest = next(iter(self._groups_by_size.get(self._largest, ())), None)
        return None if largest is None else self.oldest_of(largest)

    def _resize(self, name: str, before: int, after: int) -> None:
        if before:
            same = self._groups_by_size[before]
            del same[name]
            if not same:
                del self._groups_by_size[before]
        if after:
            self._groups_by_size.setdefault(after, {})[name] = None
        self._largest = max(self._largest, after)
        if self._largest not in self._groups_by_size:
            # The largest group has become smaller by one, as sizes change by one at a time.
            self._largest = after


_RANKS: Final = tuple(
    (vouched, phase) for vouched in (False, True) for phase in ConnectionPhase if phase is not ConnectionPhase.ANSWERING
)
"""Who gives way freely, the least worthy first: strangers, then those who were vouched for."""


@dataclass(slots=True)
class Connections:
    """All connections of one set of bounds, and who of them is to go."""

    bounds: Bounds
    _crowds: dict[tuple[bool, ConnectionPhase], _Crowd] = field(
        default_factory=lambda: {(vouched, phase): _Crowd() for vouched in (False, True) for phase in ConnectionPhase}
    )
    _by_group: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def of_group(self, group: str) -> int:
        """How many count for an address."""
        return self._by_group.get(group, 0)

    def open(self, peer: str, now_s: float, *, named_proxy: bool = False) -> tuple[Connection | Why, Connection | None]:
        """The new connection, or why there is none; and the one that has to end for it, which counts no more."""
        group = group_of(peer)
        ending: Connection | Why | None = None

        if not named_proxy:
            ending = self._of_its_address(group, now_s)
        if ending is None and self._count >= self.bounds.connections:
            ending = self._least_worthy(group) or Why.FULL
        if isinstance(ending, Why):
            return ending, None
        if ending is not None:
            self.close(ending)

        opened = Connection(group, named_proxy, not named_proxy, ConnectionPhase.NEW, now_s)
        self._crowd(opened).add(opened)
        self._count += 1
        if opened.counted:
            self._by_group[group] = self.of_group(group) + 1
        return opened, ending

    def enter(self, connection: Connection, phase: ConnectionPhase, now_s: float) -> None:
        """It does something else from now on; nothing changes while it goes on doing the same."""
        if not connection.is_open or connection.phase is phase:
            return
        self._crowd(connection).remove(connection)
        connection.phase = phase
        connection.since_s = now_s
        self._crowd(connection).add(connection)

    def vouch(self, connection: Connection) -> None:
        """It has shown a valid token."""
        if not connection.is_open or connection.vouched:
            return
        self._crowd(connection).remove(connection)
        connection.vouched = True
        self._crowd(connection).add(connection)

    def close(self, connection: Connection) -> None:
        """It has ended, or is about to. It may be told twice."""
        if not connection.is_open:
            return
        connection.is_open = False
        self._crowd(connection).remove(connection)
        self._count -= 1
        if connection.counted:
            self._by_group[connection.group] -= 1
            if not self._by_group[connection.group]:
                del self._by_group[connection.group]

    def late(self, now_s: float) -> list[tuple[Connection, Why]]:
        """Those that have kept somebody waiting for too long."""
        bounds = self.bounds
        allowed = (
            (ConnectionPhase.NEW, bounds.request_s, Why.LATE),
            (ConnectionPhase.READING, bounds.request_s, Why.LATE),
            (ConnectionPhase.IDLE, bounds.idle_s, Why.IDLE),
            (ConnectionPhase.STALLED, bounds.stalled_s, Why.STALLED),
        )
        found: list[tuple[Connection, Why]] = []
        for phase, allowed_s, why in allowed:
            for vouched in (False, True):
                for connection in self._crowds[vouched, phase]:
                    # Those of one phase stand in the order in which they came into it, but for who was vouched for.
                    if now_s - connection.since_s >= allowed_s:
                        found.append((connection, why))
                    elif not vouched:
                        break
        return found

    def give_way(self) -> Connection | None:
        """The one that is worth least, of any address; it counts no more. None where all are being answered."""
        least = self._least_of_all()
        if least is not None:
            self.close(least)
        return least

    def _least_of_all(self) -> Connection | None:
        for rank in _RANKS:
            if (least := self._crowds[rank].oldest_of_the_largest()) is not None:
                return least
        return None

    def _crowd(self, connection: Connection) -> _Crowd:
        return self._crowds[connection.vouched, connection.phase]

    def _of_its_address(self, group: str, now_s: float) -> Connection | Why | None:
        """Which one of the newcomer's own address goes for it, if any; ADDRESS_FULL: it cannot come."""
        if self.of_group(group) >= self.bounds.per_address:
            # A named proxy's connections are vouched for and count for nobody: they are not asked.
            own = (self._crowds[rank].oldest_of(group) for rank in _RANKS)
            return next((one for one in own if one is not None and one.counted), Why.ADDRESS_FULL)

        new = self._crowds[False, ConnectionPhase.NEW]
        oldest = new.oldest_of(group)
        if oldest is not None and new.size(group) >= self.bounds.new_per_address:
            return oldest if now_s - oldest.since_s >= self.bounds.grace_s else None
        return None

    def _least_worthy(self, newcomer: str) -> Connection | None:
        """Who gives way to a newcomer of that group."""
        if (least := self._least_of_all()) is not None:
            return least

        # Strangers' streams alone are left to choose from: those of an address that has more of them than the
        # newcomer's would have.
        streams = self._crowds[False, ConnectionPhase.ANSWERING]
        least = streams.oldest_of_the_largest()
        if least is not None and streams.size(least.group) > streams.size(newcomer) + 1:
            return least
        return None
