"""Snapshots in Redis, under the fence: one script per verb, so that what is read is always one complete snapshot.

The fence is the epoch of the owner that may write. A new owner raises it and reads in one step (`take_over`); from then
on every write of an older epoch is refused, whenever it arrives. Each verb may be repeated when its reply was lost.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from genlock_core.errors import SnapshotRefused, StaleEpoch
from genlock_core.store import Store
from genlock_core.stream_state import keys, lua

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
"""Per session: about 0.2 MB per latent frame and row, four rows of some ten frames, and the prompts' embeddings."""
FENCE_KEPT_MS = 3_600_000
"""How long the fence of a deleted session is kept against late writers."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """What lies in Redis, unopened; `snapshot.decode` opens it."""

    epoch: int
    chunk: int
    head: bytes
    blocks: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes that are stored."""
        return len(self.head) + sum(map(len, self.blocks.values()))


class FenceLost(SnapshotRefused):
    """The fence is below this epoch: Redis lost its data. Take over again, then write a whole snapshot."""


class NoSnapshotRoom(SnapshotRefused):
    """It is larger than its writer was granted; nothing is wrong with it."""

    def __init__(self, session: str, *, size: int, room: int) -> None:
        self.size = size
        self.room = room
        super().__init__(session, f"{size} bytes are more than the {room} that were granted")


class SnapshotStore:
    """The snapshots of all sessions in one Redis; `max_bytes` bounds each."""

    def __init__(self, redis: Store, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._redis = redis
        self._max_bytes = max_bytes

    async def take_over(self, session: str, epoch: int) -> StoredSnapshot | None:
        """Raise the fence to `epoch`, then read; None if nothing is stored. Raises StaleEpoch."""
        verdict, *rest = await self._run("take_over", session, epoch)
        self._check(session, epoch, verdict, rest)
        if verdict == b"none":
            return None
        stored_epoch, chunk, head, frames = rest
        ids = [block_id.decode() for block_id in frames[::2]]
        return StoredSnapshot(int(stored_epoch), int(chunk), head, dict(zip(ids, frames[1::2], strict=True)))

    async def write(
        self,
        session: str,
        *,
        epoch: int,
        chunk: int,
        head: bytes,
        blocks: Mapping[str, bytes],
        keep: Collection[str],
        room: int | None = None,
    ) -> int:
        """Replace the snapshot by one of `head`, the new `blocks` and the stored ones in `keep`; returns its bytes.

        Raises StaleEpoch; FenceLost; SnapshotRefused if a kept block is not stored, it is over the bound, or `chunk`
        is not above the stored one; NoSnapshotRoom if it is within the bound and over `room`, the bytes that its writer
        was granted. A refused write changes nothing.
        """
        bound = self._max_bytes if room is None else min(room, self._max_bytes)
        new = [part for item in blocks.items() for part in item]
        kept = sorted(set(keep) - set(blocks))
        verdict, *rest = await self._run("write", session, epoch, chunk, bound, head, len(kept), *kept, *new)
        self._check(session, epoch, verdict, rest)
        told = rest[0].decode()
        if verdict == b"old":
            raise SnapshotRefused(session, f"chunk {chunk} is not above the stored one, {told}")
        if verdict == b"missing":
            raise SnapshotRefused(session, f"block {told} is to be kept but is not stored; write a whole snapshot")
        if verdict == b"large" and int(told) <= self._max_bytes:
            raise NoSnapshotRoom(session, size=int(told), room=bound)
        if verdict == b"large":
            raise SnapshotRefused(session, f"{told} bytes are too large, at most {self._max_bytes} may be")
        return int(told)

    async def discard(self, session: str, *, epoch: int) -> None:
        """Drop a stored snapshot that its new owner cannot use, so that it may start at chunk 0.

        Raises StaleEpoch, FenceLost.
        """
        verdict, *rest = await self._run("discard", session, epoch)
        self._check(session, epoch, verdict, rest)

    async def delete(self, session: str) -> None:
        """Forget the snapshot of a session that is over. The fence stays for an hour, above its last owner's epoch."""
        await self._run("delete", session, FENCE_KEPT_MS)

    async def _run(self, verb: str, session: str, *arguments: str | bytes | int) -> list[Any]:
        names = [keys.fence(session), keys.snapshot_meta(session), keys.snapshot_frames(session)]
        reply: list[Any] = await lua.run(self._redis, verb, names, arguments)
        return reply

    def _check(self, session: str, epoch: int, verdict: bytes, rest: list[Any]) -> None:
        if verdict == b"stale":
            raise StaleEpoch(session, epoch=epoch, current=int(rest[0]))
        if verdict == b"fence":
            raise FenceLost(session, f"the fence is {int(rest[0])}, below epoch {epoch}: take over again")
