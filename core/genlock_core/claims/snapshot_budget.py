"""The bytes that all snapshots of an installation may hold: asked for and granted by heartbeats, booked by session.

Snapshots lie in other slots than the control plane, so no script that writes one can see the others. Therefore each
worker asks with its heartbeat (`Claims.renew`) for what its sessions' snapshots need, and keeps to what it is granted.
The bookings and their rules stand in `scripts/snapshot_room.lua`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from genlock_core.claims import keys
from genlock_core.claims.lua import Scripts
from genlock_core.store import Store


@dataclass(frozen=True, slots=True)
class SnapshotAsk:
    """What the owner under `epoch` asks for one session's snapshot, in bytes: `holds` <= `needs` <= `wants`."""

    epoch: int

    holds: int
    """What is stored. It is booked in any case, as it is there."""

    needs: int
    """What must be there for the next snapshot to be of use; `holds` if that is not known."""

    wants: int
    """`needs`, and room to grow."""


@dataclass(frozen=True, slots=True)
class SnapshotBookings:
    """How much of the budget is taken, in bytes."""

    budget: int
    booked: int
    """By all sessions, also by those that nobody owns."""


class SnapshotBudget:
    """The installation's side of it. All methods raise RedisError. `now_ms` replaces Redis' time (tests)."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._store = store
        self._scripts = Scripts(store, now_ms=now_ms)

    async def settle(self, budget: int | None) -> None:
        """Say how many bytes all snapshots may hold; None: half of Redis' `maxmemory`, and 1 GiB without one.

        A budget below what is booked takes nothing away: nothing grows until there is less.
        """
        if budget is None:
            await cast("Any", self._store.delete(keys.SNAPSHOT_BUDGET))
        else:
            await cast("Any", self._store.set(keys.SNAPSHOT_BUDGET, str(budget)))

    async def bookings(self) -> SnapshotBookings:
        budget, booked = await self._scripts.run("snapshot_bookings")
        return SnapshotBookings(int(budget), int(booked))

    async def deleted(self, session: str) -> bool:
        """The snapshot of a finished or forgotten session was deleted: its bytes are others' now. False for any other.

        Whoever deletes a snapshot says so afterwards, so that no byte is ever given away twice.
        """
        (ended,) = await self._scripts.run("snapshot_deleted", session)
        return bool(ended)
