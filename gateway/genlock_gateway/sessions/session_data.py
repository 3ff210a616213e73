"""What a session that is no more leaves: snapshot and control stream, which lie in another slot than its record.

Whoever forgets a session deletes its data before the name may be used again; for a session that Redis forgot by
itself, any gateway that hears of it does. Nobody goes on from the snapshot of a session that has ended: it goes at
once, as its bytes count in the budget of all snapshots.
"""

from genlock_core.claims.claims import Claims
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.stream_state.control import ControlStream
from genlock_core.stream_state.snapshot_store import SnapshotStore


class SessionDataCleaner:
    """Deletes what sessions leave. All methods raise RedisError."""

    def __init__(
        self, claims: Claims, *, snapshots: SnapshotStore, budget: SnapshotBudget, control: ControlStream
    ) -> None:
        self._claims = claims
        self._snapshots = snapshots
        self._budget = budget
        self._control = control

    async def forget(self, session: str) -> bool:
        """Forget a finished or unowned session with all its data; False if it is owned or unknown."""
        if not await self._claims.forget(session):
            return False
        await self._delete(session)
        return True

    async def clear(self, session: str) -> bool:
        """A session was forgotten: delete its data, unless a new one has its name by now, whose data it would be.

        False if so.
        """
        if await self._claims.record(session) is not None:
            return False
        await self._delete(session)
        return True

    async def ended(self, session: str) -> bool:
        """A session has ended: delete its snapshot; False if it lives. Its controls stay as long as its record."""
        record = await self._claims.record(session)
        if record is None or not record.finished:
            return False
        await self._delete_snapshot(session)
        return True

    async def _delete(self, session: str) -> None:
        await self._delete_snapshot(session)
        await self._control.delete(session)

    async def _delete_snapshot(self, session: str) -> None:
        await self._snapshots.delete(session)
        await self._budget.deleted(session)
