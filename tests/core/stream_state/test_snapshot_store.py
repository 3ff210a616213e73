"""Snapshots in Redis: fenced, whole, bounded, against an owner that does not know that it is none any more."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.errors import SnapshotRefused, StaleEpoch
from genlock_core.store import Store
from genlock_core.stream_state import keys
from genlock_core.stream_state.snapshot_store import (
    FENCE_KEPT_MS,
    FenceLost,
    NoSnapshotRoom,
    SnapshotStore,
    StoredSnapshot,
)

SESSION = "default/demo"
MAX_BYTES = 1_000


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Store]:
    client = store.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def snapshots(redis: Store) -> SnapshotStore:
    return SnapshotStore(redis, max_bytes=MAX_BYTES)


async def test_a_new_owner_reads_what_the_last_one_wrote(snapshots: SnapshotStore) -> None:
    assert await snapshots.take_over(SESSION, 5) is None
    assert (
        await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h0\x00\xff", blocks={"a": b"A", "b": b"B"}, keep=())
        == 6
    )
    size = await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h1", blocks={"c": b"CC"}, keep={"b"})
    assert size == 5
    assert await snapshots.take_over(SESSION, 8) == StoredSnapshot(5, 1, b"h1", {"b": b"B", "c": b"CC"})


async def test_a_late_write_of_the_last_owner_is_refused(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=3, head=b"old", blocks={}, keep=())
    await snapshots.take_over(SESSION, 6)
    with pytest.raises(StaleEpoch) as stale:
        await snapshots.write(SESSION, epoch=5, chunk=4, head=b"zombie", blocks={}, keep=())
    assert stale.value.current == 6
    with pytest.raises(StaleEpoch):
        await snapshots.take_over(SESSION, 5)
    with pytest.raises(StaleEpoch):
        await snapshots.discard(SESSION, epoch=5)
    assert await snapshots.take_over(SESSION, 6) == StoredSnapshot(5, 3, b"old", {})


async def test_a_write_whose_reply_was_lost_may_come_again(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    for _ in range(2):
        assert await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=()) == 2


async def test_its_owner_may_write_a_chunk_again_in_another_format(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=7, head=b"new", blocks={"a": b"A", "b": b"B"}, keep=())
    assert await snapshots.write(SESSION, epoch=5, chunk=7, head=b"older", blocks={"c": b"C"}, keep=("a",)) == 7
    assert await snapshots.take_over(SESSION, 6) == StoredSnapshot(5, 7, b"older", {"a": b"A", "c": b"C"})


async def test_chunks_only_grow(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=7, head=b"h", blocks={}, keep=())
    with pytest.raises(SnapshotRefused, match="chunk 6 is not above the stored one, 7"):
        await snapshots.write(SESSION, epoch=5, chunk=6, head=b"h", blocks={}, keep=())
    await snapshots.take_over(SESSION, 6)
    with pytest.raises(SnapshotRefused, match="not above"):
        await snapshots.write(SESSION, epoch=6, chunk=7, head=b"h", blocks={}, keep=())


async def test_an_owner_that_cannot_use_what_it_found_may_start_anew(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=7, head=b"damaged", blocks={"a": b"A"}, keep=())
    await snapshots.take_over(SESSION, 6)
    await snapshots.discard(SESSION, epoch=6)
    await snapshots.write(SESSION, epoch=6, chunk=0, head=b"new", blocks={}, keep=())
    assert await snapshots.take_over(SESSION, 6) == StoredSnapshot(6, 0, b"new", {})


async def test_a_refused_write_changes_nothing(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=())
    with pytest.raises(SnapshotRefused, match="1003 bytes are too large"):
        await snapshots.write(SESSION, epoch=5, chunk=1, head=b"hh", blocks={"b": bytes(1_000)}, keep={"a"})
    with pytest.raises(SnapshotRefused, match="block gone is to be kept but is not stored"):
        await snapshots.write(SESSION, epoch=5, chunk=1, head=b"hh", blocks={"b": b"B"}, keep={"a", "gone"})
    assert await snapshots.take_over(SESSION, 5) == StoredSnapshot(5, 0, b"h", {"a": b"A"})


async def test_a_snapshot_that_outgrows_what_was_granted_changes_nothing(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=(), room=2)
    with pytest.raises(NoSnapshotRoom) as lack:
        await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h", blocks={"b": bytes(7)}, keep={"a"}, room=8)
    assert (lack.value.size, lack.value.room) == (9, 8)
    with pytest.raises(SnapshotRefused, match="too large") as too_large:
        await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h", blocks={"b": bytes(1_000)}, keep=(), room=8)
    assert not isinstance(too_large.value, NoSnapshotRoom), "no grant would help"
    assert await snapshots.take_over(SESSION, 5) == StoredSnapshot(5, 0, b"h", {"a": b"A"})


async def test_a_block_that_is_kept_and_new_is_new(snapshots: SnapshotStore) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=())
    assert await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h", blocks={"a": b"AAA"}, keep={"a"}) == 4
    stored = await snapshots.take_over(SESSION, 5)
    assert stored is not None
    assert stored.blocks == {"a": b"AAA"}


async def test_many_blocks_fit_in_one_write(redis: Store) -> None:
    snapshots = SnapshotStore(redis)
    await snapshots.take_over(SESSION, 5)
    blocks = {f"r{row}.f{frame}": bytes(10_000) for row in range(4) for frame in range(100)}
    await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks=blocks, keep=())
    assert await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h", blocks={}, keep=blocks.keys()) == 4_000_001


async def test_the_fence_of_a_deleted_session_outlives_it(snapshots: SnapshotStore, redis: Store) -> None:
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=())
    await snapshots.delete(SESSION)
    assert await redis.keys("*") == [keys.fence(SESSION).encode()]
    assert 0 < await redis.pttl(keys.fence(SESSION)) <= FENCE_KEPT_MS
    with pytest.raises(StaleEpoch):
        await snapshots.write(SESSION, epoch=5, chunk=1, head=b"late", blocks={}, keep=())
    await snapshots.delete(SESSION)
    with pytest.raises(StaleEpoch):
        await snapshots.take_over(SESSION, 5)
    assert await snapshots.take_over(SESSION, 6) is None
    assert await redis.pttl(keys.fence(SESSION)) == -1


async def test_an_owner_is_told_that_redis_lost_its_data(forgetful_redis_server: RedisProcess) -> None:
    client = store.connect(forgetful_redis_server.url)
    snapshots = SnapshotStore(client)
    await snapshots.take_over(SESSION, 5)
    await snapshots.write(SESSION, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=())
    await asyncio.to_thread(forgetful_redis_server.restart)
    with pytest.raises(FenceLost):
        await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h", blocks={}, keep={"a"})
    assert await snapshots.take_over(SESSION, 5) is None
    await snapshots.write(SESSION, epoch=5, chunk=1, head=b"h", blocks={"a": b"A"}, keep=())
    assert await snapshots.take_over(SESSION, 5) == StoredSnapshot(5, 1, b"h", {"a": b"A"})
    await client.aclose()


async def test_it_works_on_a_cluster(redis_cluster: list[str]) -> None:
    client = store.connect(redis_cluster[0].replace("redis://", "redis+cluster://"))
    snapshots = SnapshotStore(client)
    for number in range(8):
        session = f"default/demo-{number}"
        assert await snapshots.take_over(session, 5) is None
        await snapshots.write(session, epoch=5, chunk=0, head=b"h", blocks={"a": b"A"}, keep=())
        await snapshots.write(session, epoch=5, chunk=1, head=b"h", blocks={"b": b"B"}, keep={"a"})
        assert await snapshots.take_over(session, 6) == StoredSnapshot(5, 1, b"h", {"a": b"A", "b": b"B"})
        with pytest.raises(StaleEpoch):
            await snapshots.write(session, epoch=5, chunk=2, head=b"h", blocks={}, keep=())
        await snapshots.discard(session, epoch=6)
        await snapshots.delete(session)
    await client.aclose()


class Owner:
    """A worker with an epoch, which believes that what it last saw or wrote is what is stored."""

    def __init__(self) -> None:
        self.epoch = 0
        self.chunk = -1
        self.blocks: dict[str, bytes] = {}


class TwoOwners(RuleBasedStateMachine):
    """Two owners in any order of takeovers and writes, each unaware of the other; a model says what must be stored."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.client = store.connect(self.url)
        self.loop.run_until_complete(self.client.flushall())
        self.snapshots = SnapshotStore(self.client, max_bytes=MAX_BYTES)
        self.owners = (Owner(), Owner())
        self.fence = 0
        self.stored: StoredSnapshot | None = None

    @rule(who=st.integers(0, 1), step=st.integers(-2, 3))
    def take_over(self, who: int, step: int) -> None:
        owner, epoch = self.owners[who], max(1, self.fence + step)
        try:
            found = self.loop.run_until_complete(self.snapshots.take_over(SESSION, epoch))
        except StaleEpoch:
            assert epoch < self.fence
            return
        assert epoch >= self.fence
        assert found == self.stored
        self.fence = owner.epoch = epoch
        owner.chunk = found.chunk if found else -1
        owner.blocks = dict(found.blocks) if found else {}

    @precondition(lambda self: any(owner.epoch for owner in self.owners))
    @rule(
        who=st.integers(0, 1),
        ahead=st.integers(0, 3),
        dropped=st.sets(st.sampled_from("abcdef")),
        new=st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=300), max_size=3),
    )
    def write(self, who: int, ahead: int, dropped: set[str], new: Mapping[str, bytes]) -> None:
        owner = self.owners[who]
        if not owner.epoch:
            return
        keep = set(owner.blocks) - dropped - set(new)
        chunk = max(0, owner.chunk + ahead)
        head = f"{owner.epoch}:{chunk}:{sorted({*keep, *new})}".encode()
        blocks = {**{name: owner.blocks[name] for name in keep}, **new}
        try:
            self.loop.run_until_complete(
                self.snapshots.write(SESSION, epoch=owner.epoch, chunk=chunk, head=head, blocks=new, keep=keep)
            )
        except StaleEpoch:
            assert owner.epoch < self.fence
            return
        except SnapshotRefused:
            reused = self.stored is not None and chunk <= self.stored.chunk
            missing = not keep <= set(self.stored.blocks if self.stored else ())
            large = len(head) + sum(map(len, blocks.values())) > MAX_BYTES
            assert reused or missing or large
            return
        assert owner.epoch == self.fence, "a stale epoch wrote"
        again = self.stored is not None and (self.stored.epoch, self.stored.chunk) == (owner.epoch, chunk)
        assert again or self.stored is None or chunk > self.stored.chunk, "a chunk did not grow"
        self.stored = StoredSnapshot(owner.epoch, chunk, head, blocks)
        owner.chunk, owner.blocks = chunk, blocks

    @rule(who=st.integers(0, 1))
    def discard(self, who: int) -> None:
        owner = self.owners[who]
        try:
            self.loop.run_until_complete(self.snapshots.discard(SESSION, epoch=owner.epoch))
        except StaleEpoch:
            assert owner.epoch < self.fence
            return
        assert owner.epoch == self.fence
        self.stored = None
        owner.chunk, owner.blocks = -1, {}

    @invariant()
    def what_is_stored_is_whole(self) -> None:
        frames: dict[bytes, bytes] = self._hash(keys.snapshot_frames(SESSION))
        meta = self._hash(keys.snapshot_meta(SESSION))
        if self.stored is None:
            assert not frames
            assert not meta
            return
        assert {name.decode(): block for name, block in frames.items()} == self.stored.blocks
        assert meta[b"head"] == self.stored.head
        assert int(meta[b"bytes"]) == len(self.stored.head) + sum(map(len, frames.values())) <= MAX_BYTES

    def _hash(self, key: str) -> dict[bytes, bytes]:
        found: Any = self.loop.run_until_complete(self.client.hgetall(key))
        return dict(found)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()


@pytest.fixture
def two_owners(redis_url: str) -> type[TwoOwners]:
    return type("TwoOwnersHere", (TwoOwners,), {"url": redis_url})


def test_two_owners_never_break_a_snapshot(two_owners: type[TwoOwners]) -> None:
    machine = two_owners.TestCase
    machine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    machine().runTest()
