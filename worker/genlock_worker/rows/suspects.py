"""Who may be at fault where several sessions lost a batch together: each runs apart until it has finished a chunk.

Pure. Its caller guards it: chunks finish on any thread.
"""

from collections.abc import Collection, Set

from genlock_worker.rows.scheduler import Batch


class Suspects:
    """The sessions of which it is not known whether they make the device fail.

    One that runs with nothing beside it and fails again is at fault; one that finishes a chunk is not.
    """

    def __init__(self) -> None:
        self._apart: set[str] = set()

    @property
    def sessions(self) -> frozenset[str]:
        return frozenset(self._apart)

    def suspect(self, sessions: Collection[str]) -> None:
        """These were on the device together when a batch was lost."""
        self._apart.update(sessions)

    def clear(self, session: str) -> None:
        """It has finished a chunk."""
        self._apart.discard(session)

    def keep(self, sessions: Set[str]) -> None:
        """Forget all but these: the others are not open any more."""
        self._apart &= sessions

    def allowed(self, batch: Batch, *, under_way: Set[str]) -> Batch | None:
        """What of a batch may run beside the sessions that are under way; None: nothing yet.

        A suspect runs alone, and nothing beside it: its next failure is no other session's.
        """
        if not self._apart.isdisjoint(under_way):
            return None
        if self._apart.isdisjoint(row.session for row in batch.rows):
            return batch
        if under_way:
            return None
        return Batch(tuple(row for row in batch.rows if row.session == batch.rows[0].session), batch.shape)
