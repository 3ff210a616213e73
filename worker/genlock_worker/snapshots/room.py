"""The room that this worker's snapshots have in Redis: what each session asks for with the heartbeat, and was granted.

The heartbeat alone talks to Redis (`Claims.renew`); each session's writer keeps to its own part of the grant.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from genlock_core.claims.snapshot_budget import SnapshotAsk
from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics

FIRST_ASK_BYTES: Final = 1024 * 1024
"""Asked for before a session has any snapshot."""
LEAST_GROWTH_BYTES: Final = 64 * 1024
GROWTH: Final = 4
"""A quarter of a snapshot is asked for beyond it, so that one that grows need not wait for the next heartbeat."""
TRY_AGAIN_S: Final = 10.0
"""A snapshot that had no room is tried again after this long: the session's next ones may be smaller."""


class RoomState(Enum):
    """Whether a snapshot may be written now."""

    OPEN = auto()
    AWAITED = auto()  # the heartbeat's answer is on its way
    NONE = auto()  # the budget has none: what is stored stays, the stream goes on


class SessionRoom:
    """One session's part, under one epoch.

    AWAITED (nothing was granted yet) -> OPEN (`granted`). A write that was `refused` for want of room asks for what it
    needs: AWAITED -> OPEN, or NONE until there is more. `lost`: Redis forgot what it granted, AWAITED again.
    """

    def __init__(self, epoch: int, *, holds: int, clock: Clock, asking: Callable[[], None]) -> None:
        self.epoch = epoch
        self.holds = holds
        """Bytes that are stored, as far as is known."""
        self.needs = 0
        """Bytes of the snapshot that had no room; 0 when the newest one had."""
        self.limit = 0
        """Bytes that the snapshot may hold."""
        self.on_answer: Callable[[], None] | None = None
        """Called when Redis has answered what was asked."""
        self._clock = clock
        self._asking = asking
        self._answered = False
        """Whether Redis has said what it grants for these needs."""
        self._under_way = 0
        """The limit of a write whose outcome is not known: that much may be stored, now or soon."""
        self._tried_s = clock.monotonic()
        asking()

    @property
    def state(self) -> RoomState:
        """Whether to write now."""
        if not self._answered:
            return RoomState.AWAITED
        if not self.is_short or self._clock.monotonic() - self._tried_s >= TRY_AGAIN_S:
            return RoomState.OPEN
        return RoomState.NONE

    @property
    def is_short(self) -> bool:
        """Whether Redis has no room for the newest snapshot."""
        return self._answered and self.limit < self.needs

    # -- what the writer tells ----------------------------------------------------------------------------------------

    def writing(self) -> int:
        """A write begins; returns the limit that it has to keep."""
        self._under_way = max(self._under_way, self.limit)
        self._tried_s = self._clock.monotonic()
        return self.limit

    def stored(self, size: int) -> None:
        """So many bytes are stored now; 0: nothing is."""
        self.holds = size
        self.needs = 0
        self._under_way = 0

    def refused(self, size: int) -> None:
        """A write of so many bytes was refused, for it was above the limit."""
        self.needs = size
        self._under_way = 0
        self._answered = False
        self._asking()

    def begin_anew(self) -> None:
        """The session begins anew: what had no room is of no use any more, and the next snapshot is a small one."""
        self.needs = 0

    # -- what the heartbeat tells -------------------------------------------------------------------------------------

    def ask(self) -> SnapshotAsk:
        """What to ask for now. What was granted beyond that is not used from here on."""
        needs = max(self.holds, self.needs, self._under_way)
        wants = needs + max(needs // GROWTH, LEAST_GROWTH_BYTES) if needs else FIRST_ASK_BYTES

        # What is about right stays: a changed booking costs Redis a sum over all sessions.
        if wants <= self.limit <= 2 * wants:
            wants = self.limit
        self.limit = min(self.limit, wants)
        return SnapshotAsk(self.epoch, self.holds, needs, wants)

    def granted(self, size: int, asked: SnapshotAsk) -> None:
        """The answer to `asked`."""
        self.limit = size
        if asked.needs >= self.needs:
            self._answered = True
            if self.on_answer is not None:
                self.on_answer()

    def lost(self) -> None:
        """Redis lost its data, and with it what it granted: nothing is written until it has granted it again."""
        self.limit = 0
        self._answered = False
        self._asking()


class SnapshotRoom:
    """All sessions of this worker. `open` and `close` by their writers, the rest by the heartbeat."""

    def __init__(self, clock: Clock, metrics: WorkerMetrics) -> None:
        self.asking = asyncio.Event()
        """Set when a session waits for an answer: the next heartbeat should come soon."""
        self._clock = clock
        self._metrics = metrics
        self._sessions: dict[str, SessionRoom] = {}

    def open(self, session: str, epoch: int, *, holds: int, asks: bool = True) -> SessionRoom:
        """A session whose snapshot this worker writes from now on, and of which `holds` bytes are stored.

        One that is never to be stored does not ask: what was booked for it stays as it is.
        """
        room = SessionRoom(epoch, holds=holds, clock=self._clock, asking=self.asking.set)
        if asks:
            self._sessions[session] = room
        return room

    def close(self, session: str, room: SessionRoom) -> None:
        """It is not written any more. What is stored stays booked for who writes it next."""
        if self._sessions.get(session) is room:
            del self._sessions[session]

    def asks(self) -> dict[str, SnapshotAsk]:
        """What to ask for, by session."""
        self.asking.clear()
        return {session: room.ask() for session, room in self._sessions.items()}

    def granted(self, granted: Mapping[str, int], asked: Mapping[str, SnapshotAsk]) -> None:
        """The heartbeat's answer to `asked`. A session that it leaves out has what it had."""
        for session, size in granted.items():
            room = self._sessions.get(session)
            if room is not None and room.epoch == asked[session].epoch:
                room.granted(size, asked[session])

    def lost(self) -> None:
        """Redis lost its data."""
        for room in self._sessions.values():
            room.lost()

    def show(self) -> None:
        """Set the metrics."""
        rooms = self._sessions.values()
        self._metrics.snapshot_room_bytes.labels("held").set(sum(room.holds for room in rooms))
        self._metrics.snapshot_room_bytes.labels("granted").set(sum(room.limit for room in rooms))
        self._metrics.snapshot_short_sessions.set(sum(room.is_short for room in rooms))
