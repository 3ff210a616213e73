"""Checkpoints are stored in the background: the newest wins, failures are reported and mended, the fence is obeyed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError

from genlock_core.clock import ManualClock
from genlock_core.errors import SnapshotRefused, StaleEpoch
from genlock_core.media import SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.store import connect
from genlock_core.stream_state.container import PartKind, seal, unseal
from genlock_core.stream_state.formats import FORMATS
from genlock_core.stream_state.snapshot import Snapshot, decode, encode_delta
from genlock_core.stream_state.snapshot_store import FenceLost, NoSnapshotRoom, SnapshotStore, StoredSnapshot
from genlock_worker.engines.contract import ChunkState, EngineState
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.snapshots.room import TRY_AGAIN_S, SnapshotRoom
from genlock_worker.snapshots.writer import ATTRIBUTES, Restored, SnapshotWriter, take_over, to_checkpoint, to_snapshot

SESSION, MODEL = "default/demo", "wan2.1-1.3b"


def checkpoint(chunk: int) -> Checkpoint:
    blocks = {f"r0.f{i}": {"latent": np.full((2, 3), i, np.float16)} for i in range(chunk + 1)}
    in_flight = ChunkState(
        index=chunk,
        steps=2,
        rows=2,
        done=1,
        first_frame=chunk + 1,
        latents=1,
        pictures=4,
        attributes={"level": [0.5, 3]},
    )
    state = EngineState(
        chunk, (in_flight,), {"frames": chunk, "look": "neon"}, {"last": np.arange(4, dtype=np.float32)}, blocks
    )
    position = SourcePosition(7, 100 + chunk)
    return Checkpoint(state, {chunk: (SourcePosition(7, 50), position)}, position)


@dataclass(slots=True)
class FakeStore:
    """Remembers what was written; fails with the errors that it is given, one per write."""

    errors: list[Exception] = field(default_factory=list)
    written: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    formats: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    takes: int = 0
    discards: int = 0
    size: int = 10_000
    """Of every snapshot."""
    rooms: list[int | None] = field(default_factory=list)
    """What each write was granted."""

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
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.rooms.append(room)
        if room is not None and self.size > room:
            raise NoSnapshotRoom(session, size=self.size, room=room)
        self.written.append((chunk, frozenset(blocks)))
        self.formats.append(unseal(head, PartKind.HEAD).format)
        return self.size

    async def discard(self, session: str, *, epoch: int) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.discards += 1

    async def take_over(self, session: str, epoch: int) -> StoredSnapshot | None:
        self.takes += 1
        return None


class Rig:
    def __init__(self, restored: Restored | None = None) -> None:
        self.store = FakeStore()
        self.stale: list[StaleEpoch] = []
        self.format = 1
        self.owns = True
        self.noted: list[int] = []
        """What the record was told."""
        self.named_at: list[int] = []
        """How many writes there had been then."""
        self.store.gate.set()
        self.clock = ManualClock()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.rooms = SnapshotRoom(self.clock, self.metrics)

        async def note(version: int) -> bool:
            self.noted.append(version)
            self.named_at.append(len(self.store.written))
            return self.owns

        self.writer = SnapshotWriter(
            self.store,  # type: ignore[arg-type]
            session=SESSION,
            model=MODEL,
            epoch=5,
            clock=self.clock,
            metrics=self.metrics,
            room=self.rooms,
            wants_room=True,
            version=lambda: self.format,
            note_format=note,
            on_stale=self.stale.append,
            restored=restored,
        )
        self.task = asyncio.create_task(self.writer.run())
        self.grant(1_000_000)

    def grant(self, size: int) -> None:
        """A heartbeat comes back."""
        self.rooms.granted({SESSION: size}, self.rooms.asks())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def refusals(self) -> float | None:
        return self.metrics.registry.get_sample_value("genlock_snapshot_failures_total", {"reason": "room"})

    async def store_chunk(self, chunk: int) -> None:
        self.writer.offer(checkpoint(chunk), "0-0")
        assert await self.writer.flush(5.0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.end()


def test_every_format_that_is_read_says_what_a_checkpoint_is() -> None:
    assert set(ATTRIBUTES) == set(FORMATS)


@pytest.mark.parametrize("version", list(FORMATS))
def test_a_checkpoint_comes_back_as_it_was(version: int) -> None:
    snapshot = to_snapshot(checkpoint(3), session=SESSION, model=MODEL, version=version, epoch=5, control_id="9-0")
    delta = encode_delta(snapshot, written={})
    again = to_checkpoint(decode(delta.head, delta.blocks, session=SESSION, model=MODEL))
    assert again.state.in_flight == checkpoint(3).state.in_flight
    assert again.positions == {3: (SourcePosition(7, 50), SourcePosition(7, 103))}
    assert again.source == SourcePosition(7, 103)
    assert again.state.attributes == {"frames": 3, "look": "neon"}
    assert set(again.state.blocks) == {f"r0.f{i}" for i in range(4)}
    assert np.array_equal(again.state.head["last"], np.arange(4))


async def test_only_new_blocks_are_written_and_the_format_is_noted_once(rig: Rig) -> None:
    await rig.store_chunk(0)
    await rig.store_chunk(2)
    assert rig.store.written == [(0, frozenset({"r0.f0"})), (2, frozenset({"r0.f1", "r0.f2"}))]
    assert rig.noted == [1]
    assert (rig.writer.report.chunk, rig.writer.report.error) == (2, "")


async def test_while_redis_is_slow_the_newest_waits_and_those_between_are_skipped(rig: Rig) -> None:
    rig.store.gate.clear()
    rig.writer.offer(checkpoint(0), "0-0")
    for _ in range(200):
        await asyncio.sleep(0)
        if rig.writer._next is None:
            break
    for chunk in range(1, 6):
        rig.writer.offer(checkpoint(chunk), "0-0")
    assert not await rig.writer.flush(0.01)
    rig.store.gate.set()
    assert await rig.writer.flush(5.0)
    assert [chunk for chunk, _ in rig.store.written] == [0, 5]


async def test_a_chunk_that_is_stored_is_not_stored_again(rig: Rig) -> None:
    await rig.store_chunk(3)
    await rig.store_chunk(3)
    assert [chunk for chunk, _ in rig.store.written] == [3]


async def test_a_session_that_began_anew_is_stored_from_its_first_chunk(rig: Rig) -> None:
    await rig.store_chunk(4)
    rig.writer.start_over()
    rig.store.errors = [RedisConnectionError("away")]
    await rig.store_chunk(0)
    assert rig.store.discards == 0
    await rig.store_chunk(1)
    await rig.store_chunk(2)
    assert rig.store.discards == 1
    assert rig.store.written[1:] == [(1, frozenset({"r0.f0", "r0.f1"})), (2, frozenset({"r0.f2"}))]


async def test_a_failure_is_reported_and_the_next_one_makes_good(rig: Rig) -> None:
    rig.store.errors = [RedisConnectionError("away")]
    await rig.store_chunk(0)
    assert "redis: away" in rig.writer.report.error
    await rig.store_chunk(1)
    assert rig.store.written == [(1, frozenset({"r0.f0", "r0.f1"}))]
    assert rig.writer.report.error == ""


async def test_after_a_refusal_a_whole_snapshot_is_written(rig: Rig) -> None:
    await rig.store_chunk(0)
    rig.store.errors = [SnapshotRefused(SESSION, "block r0.f0 is not stored")]
    await rig.store_chunk(1)
    await rig.store_chunk(2)
    assert rig.store.written[-1] == (2, frozenset({"r0.f0", "r0.f1", "r0.f2"}))


async def test_a_lost_fence_is_raised_again_and_all_is_written(rig: Rig) -> None:
    await rig.store_chunk(4)
    rig.store.errors = [FenceLost(SESSION, "the fence is 0")]
    await rig.store_chunk(5)
    assert rig.store.takes == 1
    await rig.store_chunk(6)
    assert rig.store.written[-1] == (6, frozenset(f"r0.f{i}" for i in range(7)))


async def test_a_higher_fence_ends_the_writing(rig: Rig) -> None:
    rig.store.errors = [StaleEpoch(SESSION, epoch=5, current=6)]
    await rig.store_chunk(0)
    await rig.task
    assert [stale.current for stale in rig.stale] == [6]


def damaged_head(snapshot: Snapshot) -> bytes:
    """Bytes that are whole, with facts in them that are not ours."""
    attributes = {**snapshot.attributes, "inFlight": [], "flights": None}
    return encode_delta(replace(snapshot, attributes=attributes), written={}).head


UNUSABLE: dict[str, tuple[Callable[[Snapshot], bytes], str, str]] = {
    "of another model": (
        lambda one: encode_delta(replace(one, model="another"), written={}).head,
        "damaged",
        "model another",
    ),
    "cut": (lambda one: encode_delta(one, written={}).head[:-1], "damaged", "truncated"),
    "with other facts": (damaged_head, "damaged", "attributes: flights"),
    "of a newer format": (lambda one: seal(max(FORMATS) + 1, PartKind.HEAD, b"")[0], "format", "is newer than"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_an_unusable_snapshot_is_discarded_with_its_reason_and_the_session_starts_fresh(
    redis_url: str, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    make_head, reason, told = UNUSABLE[kind]
    redis = connect(redis_url)
    try:
        store, metrics = SnapshotStore(redis), WorkerMetrics(CollectorRegistry())
        await store.take_over(SESSION, 5)
        snapshot = to_snapshot(checkpoint(1), session=SESSION, model=MODEL, version=2, epoch=5, control_id="0-0")
        delta = encode_delta(snapshot, written={})
        await store.write(SESSION, epoch=5, chunk=1, head=make_head(snapshot), blocks=delta.blocks, keep=delta.keep)
        assert await take_over(store, session=SESSION, model=MODEL, epoch=6, metrics=metrics) is None
        assert await store.take_over(SESSION, 7) is None
    finally:
        await redis.aclose()
    assert metrics.registry.get_sample_value("genlock_snapshot_refusals_total", {"reason": reason}) == 1
    assert told in caplog.text


# The budget of all snapshots.


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not what():
            await asyncio.sleep(0.001)


async def test_the_first_snapshot_waits_for_the_first_grant() -> None:
    rig = Rig()
    rig.rooms.lost()
    rig.writer.offer(checkpoint(0), "0-0")
    assert not await rig.writer.flush(0.02)
    assert rig.store.rooms == []
    rig.grant(20_000)
    assert await rig.writer.flush(5.0)
    assert rig.store.rooms == [20_000]
    await rig.end()


async def test_a_snapshot_that_outgrew_its_grant_asks_and_is_stored_once_there_is_room(rig: Rig) -> None:
    await rig.store_chunk(0)
    rig.store.size = 2_000_000
    rig.writer.offer(checkpoint(1), "0-0")
    await until(rig.rooms.asking.is_set)
    (ask,) = rig.rooms.asks().values()
    assert (ask.holds, ask.needs) == (10_000, 2_000_000)
    assert ask.wants > ask.needs
    rig.rooms.granted({SESSION: ask.wants}, {SESSION: ask})
    assert await rig.writer.flush(5.0)
    assert [chunk for chunk, _ in rig.store.written] == [0, 1]
    assert (rig.writer.report.error, rig.refusals()) == ("", None)


async def test_without_room_the_older_snapshot_stays_and_it_is_told(rig: Rig) -> None:
    await rig.store_chunk(4)
    rig.store.size = 2_000_000
    rig.writer.offer(checkpoint(5), "0-0")
    await until(rig.rooms.asking.is_set)
    rig.grant(1_000_000)
    assert await rig.writer.flush(5.0)
    report = rig.writer.report
    assert (report.chunk, report.short) == (4, True)
    assert report.error == "room: no room for 2000000 bytes, that of chunk 4 is kept"

    # Later ones are not even sent: a sick store gets no more work than a well one. Each counts once.
    for chunk in (6, 7):
        rig.writer.offer(checkpoint(chunk), "0-0")
        for _ in range(3):
            rig.grant(1_000_000)
            await asyncio.sleep(0)
        assert await rig.writer.flush(5.0)
    assert (len(rig.store.rooms), rig.refusals()) == (2, 3)
    rig.rooms.show()
    assert rig.metrics.registry.get_sample_value("genlock_snapshot_short_sessions") == 1


async def test_when_there_is_room_again_the_newest_is_stored(rig: Rig) -> None:
    await rig.store_chunk(0)
    rig.store.size = 2_000_000
    rig.writer.offer(checkpoint(1), "0-0")
    await until(rig.rooms.asking.is_set)
    rig.grant(1_000_000)
    await rig.store_chunk(2)
    rig.grant(3_000_000)
    await until(lambda: not rig.writer.report.short)
    assert rig.store.written[-1] == (2, frozenset({"r0.f1", "r0.f2"}))
    assert (rig.writer.report.chunk, rig.writer.report.error) == (2, "")


async def test_smaller_snapshots_find_their_way_without_a_larger_grant(rig: Rig) -> None:
    await rig.store_chunk(0)
    rig.store.size = 2_000_000
    rig.writer.offer(checkpoint(1), "0-0")
    await until(rig.rooms.asking.is_set)
    rig.grant(1_000_000)
    await rig.store_chunk(2)
    rig.store.size = 10_000
    await rig.store_chunk(3)
    assert rig.writer.report.short
    rig.clock.advance(TRY_AGAIN_S)
    await rig.store_chunk(4)
    assert (rig.writer.report.chunk, rig.writer.report.short) == (4, False)


async def test_a_session_that_begins_anew_does_not_wait_for_what_its_old_snapshot_needed(rig: Rig) -> None:
    await rig.store_chunk(4)
    rig.store.size = 2_000_000
    rig.writer.offer(checkpoint(5), "0-0")
    await until(rig.rooms.asking.is_set)
    rig.grant(1_000_000)
    rig.writer.start_over()
    rig.store.size = 10_000
    await rig.store_chunk(0)
    assert rig.writer.report.chunk == 0


# A rollout and its rollback.


async def test_the_record_names_a_newer_format_before_it_is_written_and_an_older_one_after(rig: Rig) -> None:
    await rig.store_chunk(0)
    rig.format = 2
    await rig.store_chunk(1)
    rig.format = 1
    await rig.store_chunk(2)
    assert rig.store.formats == [1, 2, 1]
    assert (rig.noted, rig.named_at) == ([1, 2, 1], [0, 1, 3])


async def test_a_change_of_format_writes_no_block_again(rig: Rig) -> None:
    for version, chunk in ((1, 0), (2, 1), (1, 2)):
        rig.format = version
        await rig.store_chunk(chunk)
    assert rig.store.written == [(0, frozenset({"r0.f0"})), (1, frozenset({"r0.f1"})), (2, frozenset({"r0.f2"}))]


async def test_a_stream_that_stands_still_is_stored_in_the_format_that_others_read_when_it_is_to_move(rig: Rig) -> None:
    rig.format = 2
    await rig.store_chunk(3)
    rig.format = 1
    assert await rig.writer.flush(5.0)
    assert await rig.writer.flush(5.0)
    assert rig.store.written == [(3, frozenset(f"r0.f{i}" for i in range(4))), (3, frozenset())]
    assert rig.store.formats == [2, 1]
    assert rig.noted == [2, 1]


async def test_a_format_that_the_record_cannot_name_is_not_written(rig: Rig) -> None:
    await rig.store_chunk(0)
    rig.format = 2
    rig.owns = False
    await rig.store_chunk(1)
    assert rig.store.formats == [1, 1]


async def test_what_the_last_owner_stored_stays_named_until_something_older_is_stored() -> None:
    rig = Rig(Restored(checkpoint(3), "0-0", format=2, written={}))
    await rig.store_chunk(4)
    assert (rig.store.formats, rig.noted, rig.named_at) == ([1], [1], [1])
    await rig.end()


async def test_redis_that_lost_its_data_is_told_the_format_again(rig: Rig) -> None:
    rig.format = 2
    await rig.store_chunk(0)
    rig.store.errors.append(FenceLost(SESSION, "the fence is 0, below epoch 5: take over again"))
    await rig.store_chunk(1)
    await rig.store_chunk(2)
    assert rig.noted == [2, 2]
