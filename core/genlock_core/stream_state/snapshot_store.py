"""Snapshots in Redis, under the fence."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from genlock_core.errors import SnapshotRefused


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    epoch: int
    chunk: int
    head: bytes
    blocks: Mapping[str, bytes]


class FenceLost(SnapshotRefused):
    """The fence is below this epoch: Redis lost its data. Take over again, then write a whole snapshot."""


class SnapshotStore:
    """`redis`: a client of bytes (decode_responses=False)."""

    def __init__(self, redis: object, *, max_bytes: int) -> None:
        raise NotImplementedError

    async def take_over(self, session: str, epoch: int) -> StoredSnapshot | None:
        """Raise the fence to `epoch`, then read, in one script. Raises StaleEpoch."""
        raise NotImplementedError

    async def write(
        self, session: str, *, epoch: int, chunk: int, head: bytes, blocks: Mapping[str, bytes], keep: Collection[str]
    ) -> int:
        """Replace the snapshot; returns its bytes. Raises StaleEpoch, SnapshotRefused, FenceLost."""
        raise NotImplementedError

    async def discard(self, session: str, *, epoch: int) -> None:
        """Drop a stored snapshot that its new owner cannot use, so that it may start at chunk 0. Raises StaleEpoch."""
        raise NotImplementedError

    async def delete(self, session: str) -> None:
        """Forget the session's snapshot; the fence stays for an hour against late writers."""
        raise NotImplementedError
