"""Writes a session's checkpoints to Redis and reads the one that the last owner left.

Writing holds nobody up. The newest checkpoint waits until the one before it is stored, and those in between are
skipped. One that fails is reported, and the next one makes it good. The fence in Redis decides who may write, and the
budget of all snapshots how much (`room`): where that has no room the one before stays, from which a session can go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from pydantic import JsonValue
from redis.exceptions import RedisError

from genlock_core.clock import Clock
from genlock_core.errors import SnapshotNotRead, SnapshotRefused, StaleEpoch
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.report import SnapshotReport
from genlock_core.stream_state.formats import FORMAT_1, FORMAT_2, READABLE
from genlock_core.stream_state.snapshot import Snapshot, SnapshotDelta, block_digests, decode, encode_delta
from genlock_core.stream_state.snapshot_store import FenceLost, NoSnapshotRoom, SnapshotStore
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.snapshots import first_format, second_format
from genlock_worker.snapshots.room import RoomState, SnapshotRoom

logger = logging.getLogger(__name__)

MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024
ERROR_CHARS = 200


@dataclass(frozen=True, slots=True)
class Restored:
    """What the last owner left."""

    checkpoint: Checkpoint

    control_id: str
    """The last control entry that it had applied."""

    format: int
    """That in which it is stored."""

    written: Mapping[str, str]
    """The digests of the blocks that are stored."""

    size: int = 0
    """Bytes that are stored."""


class _AttributesFormat(Protocol):
    """How one format has a checkpoint's attributes; a module of this package."""

    def attributes(self, checkpoint: Checkpoint, /) -> Mapping[str, JsonValue]:
        """Raises ValueError."""
        ...

    def to_checkpoint(self, snapshot: Snapshot, /) -> Checkpoint:
        """The inverse. Raises SnapshotRefused."""
        ...


ATTRIBUTES: Mapping[int, _AttributesFormat] = MappingProxyType({FORMAT_1: first_format, FORMAT_2: second_format})
"""By the number of the format."""


def to_snapshot(
    checkpoint: Checkpoint, *, session: str, model: str, version: int, epoch: int, control_id: str
) -> Snapshot:
    """A checkpoint in the form that is stored. Raises ValueError if it has none in that format."""
    return Snapshot(
        session=session,
        model=model,
        format=version,
        epoch=epoch,
        chunk=checkpoint.state.chunk,
        control_id=control_id,
        attributes=ATTRIBUTES[version].attributes(checkpoint),
        head=checkpoint.state.head,
        blocks=checkpoint.state.blocks,
        source=checkpoint.source,
        places=checkpoint.positions,
    )


def to_checkpoint(snapshot: Snapshot) -> Checkpoint:
    """The inverse. Raises SnapshotRefused if the attributes are not ours."""
    return ATTRIBUTES[snapshot.format].to_checkpoint(snapshot)


async def take_over(
    store: SnapshotStore, *, session: str, model: str, epoch: int, metrics: WorkerMetrics
) -> Restored | None:
    """Raise the fence and read what is stored; None for a fresh start. Raises StaleEpoch, RedisError.

    A snapshot that cannot be read is discarded: a fresh start is better than none. Whether one that can be read is of
    use is the engine's word.
    """
    stored = await store.take_over(session, epoch)
    if stored is None:
        metrics.restores.labels("fresh").inc()
        return None

    try:
        snapshot = await asyncio.to_thread(decode, stored.head, stored.blocks, session=session, model=model)
        written = block_digests(stored.head, session=session)
        restored = Restored(to_checkpoint(snapshot), snapshot.control_id, snapshot.format, written, stored.size)
    except SnapshotRefused as refusal:
        logger.error("%s: %s; starting fresh", session, refusal)
        metrics.restores.labels("refused").inc()
        metrics.snapshot_refusals.labels("format" if isinstance(refusal, SnapshotNotRead) else "damaged").inc()
        await store.discard(session, epoch=epoch)
        return None

    return restored


class SnapshotWriter:
    """Stores one session's checkpoints under its epoch; `run` is its loop.

    `on_stale` is told when another owner has raised the fence: this worker must stop serving the session.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        session: str,
        model: str,
        epoch: int,
        clock: Clock,
        metrics: WorkerMetrics,
        room: SnapshotRoom,
        wants_room: bool,
        version: Callable[[], int],
        note_format: Callable[[int], Awaitable[bool]],
        on_stale: Callable[[StaleEpoch], None],
        restored: Restored | None = None,
    ) -> None:
        self._store = store
        self._session = session
        self._model = model
        self._epoch = epoch
        self._clock = clock
        self._metrics = metrics
        self._rooms = room
        self._version = version
        self._note_format = note_format
        self._on_stale = on_stale
        self._written: Mapping[str, str] = restored.written if restored is not None else {}
        self._stored_chunk = restored.checkpoint.state.chunk if restored is not None else -1
        self._next: tuple[Checkpoint, str] | None = None
        self._last: tuple[Checkpoint, str] | None = None
        """The one that this worker stored last."""
        self._without_room: tuple[Checkpoint, str] | None = None
        """The last one that was found to have no room."""
        self._changed = asyncio.Event()
        self._room = room.open(session, epoch, holds=restored.size if restored is not None else 0, asks=wants_room)
        self._room.on_answer = self._changed.set
        self._stored = asyncio.Event()
        self._stored.set()
        self._noted = restored.format if restored is not None else 0
        """The format that the record names; 0 while nothing is stored."""
        self._starts_over = False
        self.report = SnapshotReport()

    def offer(self, checkpoint: Checkpoint, control_id: str) -> None:
        """Store this one next; one that still waits is skipped, and so is one whose last chunk is stored already.

        The latter happens when a chunk in flight was finished and none was fed since: what is stored leads to the same.
        """
        if checkpoint.state.chunk <= self._stored_chunk and not self._starts_over:
            return
        self._offer(checkpoint, control_id)

    def _offer(self, checkpoint: Checkpoint, control_id: str) -> None:
        self._next = (checkpoint, control_id)
        self._stored.clear()
        self._changed.set()

    def start_over(self) -> None:
        """The session began anew, at chunk 0: what is stored is of no use any more, nor is what waits."""
        self._starts_over = True
        self._next = None
        self._last = None
        self._room.begin_anew()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the newest checkpoint was stored or has failed; False if that took longer.

        One that is stored in another format than the one to write now is stored again: a stream that stands still has
        no next one, and must be able to move to a worker that reads nothing else.
        """
        if self._next is None and self._last is not None and self._version() != self._noted:
            self._offer(*self._last)
        try:
            async with asyncio.timeout(timeout_s):
                await self._stored.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Store what is offered, until the fence says no."""
        try:
            await self._run()
        finally:
            self._rooms.close(self._session, self._room)

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._next is None:
                self._stored.set()
                continue

            match self._room.state:
                case RoomState.AWAITED:
                    continue
                case RoomState.NONE:
                    self._has_no_room()
                    continue
                case RoomState.OPEN:
                    pass

            checkpoint, control_id = self._next
            self._next = None
            try:
                await self._write(checkpoint, control_id)
            except StaleEpoch as stale:
                self._failed("fenced", stale)
                self._on_stale(stale)
                return
            finally:
                if self._next is None:
                    self._stored.set()

    async def _write(self, checkpoint: Checkpoint, control_id: str) -> None:
        started_s = self._clock.monotonic()
        try:
            version = await self._agreed_format()
            snapshot = to_snapshot(
                checkpoint,
                session=self._session,
                model=self._model,
                version=version,
                epoch=self._epoch,
                control_id=control_id,
            )

            if self._starts_over:
                await self._store.discard(self._session, epoch=self._epoch)
                self._room.stored(0)
                self._starts_over = False
                self._written = {}

            # Only the blocks that are not stored yet are encoded, off the event loop.
            delta = await asyncio.to_thread(encode_delta, snapshot, written=self._written)
            size = await self._store_delta(snapshot, delta)

            # An older format is named once it is stored: until then it takes a reader of the newer one.
            if version < self._noted and await self._note_format(version):
                self._noted = version
            self._last = (checkpoint, control_id)
        except FenceLost as lost:
            self._failed("fenced", lost)
            await self._recover_fence()
        except NoSnapshotRoom as lack:
            # It waits for the answer, unless a newer one does.
            self._room.refused(lack.size)
            self._next = self._next or (checkpoint, control_id)
        except SnapshotRefused as refusal:
            self._written = {}
            self._failed("too-large", refusal)
        except RedisError as error:
            self._failed("redis", error)
        except (TypeError, ValueError) as error:
            self._failed("engine", error)
        else:
            seconds = self._clock.monotonic() - started_s
            self._metrics.snapshot_seconds.observe(seconds)
            self._metrics.snapshot_bytes.observe(size)
            self.report = SnapshotReport(chunk=snapshot.chunk, bytes=size, ms=round(seconds * 1000, 3))

    async def _agreed_format(self) -> int:
        """The format to write now, which the record names then if it is a newer one.

        The record says who may go on from here. A worker that cannot read what is stored would have to start anew.
        """
        version = self._version()
        if version <= self._noted:
            return version
        if await self._note_format(version):
            self._noted = version
            return version
        return self._noted or READABLE.oldest

    async def _store_delta(self, snapshot: Snapshot, delta: SnapshotDelta) -> int:
        size = await self._store.write(
            self._session,
            epoch=self._epoch,
            chunk=snapshot.chunk,
            head=delta.head,
            blocks=delta.blocks,
            keep=delta.keep,
            room=self._room.writing(),
        )
        self._room.stored(size)
        self._written = delta.digests
        self._stored_chunk = snapshot.chunk

        return size

    async def _recover_fence(self) -> None:
        """Redis lost its data: raise the fence again. The next snapshot is a whole one, its format is named anew."""
        self._written = {}
        self._stored_chunk = -1
        self._noted = 0
        try:
            stored = await self._store.take_over(self._session, self._epoch)
            self._room.stored(stored.size if stored is not None else 0)
        except RedisError as error:
            logger.warning("%s: the fence cannot be raised: %s", self._session, error)

    def _failed(self, reason: str, error: Exception) -> None:
        logger.warning("%s: snapshot not stored (%s): %s", self._session, reason, error)
        self._metrics.snapshot_failures.labels(reason).inc()
        self._report_error(f"{reason}: {error}", short=False)

    def _has_no_room(self) -> None:
        """The one that waits is not stored for want of room, nor are the next ones until there is some."""
        if self._next is not self._without_room:
            self._without_room = self._next
            self._metrics.snapshot_failures.labels("room").inc()

        if not self.report.short:
            logger.warning("%s: no room for %d bytes of snapshot, the stream goes on", self._session, self._room.needs)
        kept = f"that of chunk {self._stored_chunk} is kept" if self._room.holds else "none is stored"
        self._report_error(f"room: no room for {self._room.needs} bytes, {kept}", short=True)
        self._stored.set()

    def _report_error(self, error: str, *, short: bool) -> None:
        self.report = self.report.model_copy(update={"error": error[:ERROR_CHARS], "short": short})
