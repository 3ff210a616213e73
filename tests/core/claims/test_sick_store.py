"""Nothing is taken away from the healthy by a store that could not have renewed it, and the dead keep nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError

from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.claims import liveness
from genlock_core.claims.claims import Claims, MoveCause, MoveHeld
from genlock_core.claims.facts import PublisherConflict
from genlock_core.claims.liveness import HOLD_MS, LEASE_MS, SETTLE_MS
from genlock_core.claims.publisher import Contender, Gateways, Publishers
from genlock_core.errors import StaleEpoch
from genlock_core.spec.session import Orientation, Phase
from genlock_core.stream_state.control import ControlChange, ControlStream
from genlock_core.stream_state.snapshot_store import SnapshotStore
from tests.core.claims import samples
from tests.core.claims.installation import ROUND_MS, SESSIONS, Installation, StoreFault

DEATH_TO_SWEEP_MS = LEASE_MS + ROUND_MS
"""After so long the sessions of a silent worker have no owner, on a Redis that is well."""


@pytest.fixture
async def home(redis_server: RedisProcess) -> AsyncIterator[Installation]:
    client = store.connect(redis_server.url)
    installation = Installation(client)
    await installation.begin()
    yield installation
    await client.aclose()


@pytest.mark.parametrize("fault", StoreFault)
async def test_whatever_befalls_redis_the_healthy_keep_everything(home: Installation, fault: StoreFault) -> None:
    await home.suffer(fault)
    await home.healthy(2 * HOLD_MS)
    assert home.lost == []
    assert await home.is_as_it_was()


@pytest.mark.parametrize("fault", [fault for fault in StoreFault if fault is not StoreFault.LOST])
async def test_when_redis_takes_writes_again_nothing_has_run_out_before_anybody_could_write(
    home: Installation, fault: StoreFault
) -> None:
    await home.suffer(fault)
    assert await home.is_as_it_was()
    assert {view.identity.name for view in await home.claims.workers() if view.heartbeat_age_ms <= 1_000} == {
        "w0",
        "w1",
    }
    with pytest.raises(PublisherConflict):
        await home.publishers.enter(SESSIONS[0], Contender("other", "g0", "s1"))
    await home.claims.create(samples.record("another"))
    assert (await home.claims.claim("default/another")).worker.name in {"w0", "w1"}


@pytest.mark.parametrize("fault", StoreFault)
async def test_whatever_befalls_redis_a_worker_that_dies_with_it_loses_its_sessions_soon_after(
    home: Installation, fault: StoreFault
) -> None:
    home.silent = {home.claimed[SESSIONS[0]].worker.name}
    dead = {name for name, claim in home.claimed.items() if claim.worker.name in home.silent}
    await home.suffer(fault)
    await home.healthy(HOLD_MS + DEATH_TO_SWEEP_MS)
    assert not dead & (await home.owners()).keys()
    assert set(home.lost) <= dead


async def test_on_a_redis_that_is_well_a_dead_worker_is_left_as_soon_as_its_lease_is_over(home: Installation) -> None:
    home.silent = {offer.identity.name for offer in home.workers}
    await home.healthy(LEASE_MS - ROUND_MS)
    assert home.lost == []
    await home.healthy(ROUND_MS)
    assert set(home.lost) == set(SESSIONS), "though nobody but the gateway writes"


@pytest.mark.parametrize("answers_after_ms", [1_000, 1_500, 2_500])
async def test_a_redis_that_becomes_slow_takes_nothing_while_gateways_sweep_as_ever(
    home: Installation, answers_after_ms: int
) -> None:
    """A worker beats again once it was answered; many gateways, each of them as slow, sweep at any time."""
    for wait_ms in (ROUND_MS + answers_after_ms // 2, *[ROUND_MS + answers_after_ms] * 8):
        for _ in range(wait_ms // 250):
            home.wall_ms += 250
            home.lost += await home.claims.expire()
        await home.one_round()
    assert home.lost == []
    assert await home.is_as_it_was()


async def test_after_a_stall_nothing_is_swept_until_workers_could_connect_again(home: Installation) -> None:
    home.silent = {offer.identity.name for offer in home.workers}
    await home.suffer(StoreFault.STALLED)
    await home.healthy(SETTLE_MS - ROUND_MS)
    assert home.lost == []
    home.silent = set()
    await home.healthy(HOLD_MS)
    assert await home.is_as_it_was()


@settings(
    max_examples=10,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    faults=st.lists(st.tuples(st.sampled_from(StoreFault), st.sampled_from([0, ROUND_MS, 4 * ROUND_MS])), max_size=8),
    dies=st.booleans(),
)
def test_any_order_of_faults_takes_nothing_from_the_healthy_and_leaves_nothing_to_the_dead(
    run: asyncio.Runner, shared_server: RedisProcess, faults: list[tuple[StoreFault, int]], dies: bool
) -> None:
    async def live_through() -> None:
        client = store.connect(shared_server.url)
        home = Installation(client)
        await home.begin()
        for fault, well_ms in faults:
            await home.suffer(fault)
            await home.healthy(well_ms)
        if not faults or faults[-1][1] == 0:
            await home.healthy(ROUND_MS)
        assert home.lost == []
        assert await home.is_as_it_was()
        if dies:
            home.silent = {"w0"}
            await home.healthy(HOLD_MS + DEATH_TO_SWEEP_MS)
            assert "w0" not in (await home.owners()).values()
            assert set(home.lost) == {name for name, claim in home.claimed.items() if claim.worker.name == "w0"}
        await client.aclose()

    run.run(live_through())


@pytest.fixture(scope="module")
def run() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("sick")) as server:
        yield server


# -- proofs of death ---------------------------------------------------------------------------------------------------


async def test_in_a_full_redis_nothing_moves_by_lease_and_a_dead_process_is_left_at_once(
    redis_server: RedisProcess,
) -> None:
    client = store.connect(redis_server.url)
    claims = Claims(client)
    for name in ("w0", "w1"):
        await claims.register(samples.offer(name))
    await claims.create(samples.record("s0"))
    claim = await claims.claim("default/s0")
    await asyncio.sleep(liveness.PROOF_EVERY_MS / 1_000)
    await client.config_set("maxmemory", 1)
    for cause in (MoveCause.SILENT, MoveCause.EXPIRED):
        with pytest.raises(MoveHeld):
            await claims.move("default/s0", expected_epoch=claim.epoch, suspect="w0", cause=cause)
    with pytest.raises(RedisError):
        await claims.renew(claim.worker, progress=1, links={})
    assert await claims.expire() == ()
    move = await claims.move("default/s0", expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert (move.won, move.claim.worker.name) == (True, "w1")
    await client.aclose()


async def test_a_new_incarnation_proves_the_old_ones_death_even_while_redis_is_newly_back(home: Installation) -> None:
    await home.suffer(StoreFault.PROMOTED_AHEAD)
    session = SESSIONS[0]
    old = home.claimed[session]
    assert session in await home.claims.register(samples.offer(old.worker.name))
    other = next(claim for claim in home.claimed.values() if claim.worker != old.worker)
    with pytest.raises(MoveHeld):
        await home.claims.move(other.session, expected_epoch=other.epoch, suspect=None, cause=MoveCause.EXPIRED)
    move = await home.claims.move(session, expected_epoch=old.epoch, suspect=None, cause=MoveCause.EXPIRED)
    assert move.won


@pytest.fixture
async def full(redis_server: RedisProcess) -> AsyncIterator[store.Store]:
    """A store with two workers and the sessions s0, claimed, and s1, not claimed; it is full from `fill` on."""
    client = store.connect(redis_server.url)
    claims = Claims(client)
    for name in ("w0", "w1"):
        await claims.register(samples.offer(name))
    for name in ("s0", "s1"):
        await claims.create(samples.record(name))
    await claims.claim("default/s0")
    yield client
    await client.aclose()


async def fill(client: store.Store) -> None:
    await asyncio.sleep(liveness.PROOF_EVERY_MS / 1_000)
    await client.config_set("maxmemory", 1)
    with pytest.raises(RedisError):
        await Claims(client).create(samples.record("another"))


async def test_in_a_full_redis_a_dead_workers_successor_raises_its_fence_and_says_that_it_is_live(
    full: store.Store,
) -> None:
    claims, snapshots = Claims(full), SnapshotStore(full)
    claim = await claims.claim("default/s0")
    await snapshots.take_over(claim.session, claim.epoch)
    await snapshots.write(claim.session, epoch=claim.epoch, chunk=1, head=b"head", blocks={"a": b"block"}, keep=())
    await fill(full)
    move = await claims.move(
        claim.session, expected_epoch=claim.epoch, suspect=claim.worker.name, cause=MoveCause.REFUSED
    )
    stored = await snapshots.take_over(claim.session, move.claim.epoch)
    assert stored is not None
    assert (stored.epoch, stored.head) == (claim.epoch, b"head")
    with pytest.raises(StaleEpoch):
        await snapshots.write(claim.session, epoch=claim.epoch, chunk=2, head=b"late", blocks={}, keep=())
    assert await claims.set_phase(claim.session, move.claim.epoch, Phase.LIVE)


async def test_in_a_full_redis_a_restarted_workers_sessions_find_another_one(full: store.Store) -> None:
    claims = Claims(full)
    claim = await claims.claim("default/s0")
    await fill(full)
    assert await claims.register(samples.offer(claim.worker.name)) == (claim.session,)
    move = await claims.move(claim.session, expected_epoch=claim.epoch, suspect=None, cause=MoveCause.EXPIRED)
    assert move.won


async def test_in_a_full_redis_a_session_that_waits_is_claimed_and_a_worker_leaves_politely(full: store.Store) -> None:
    claims = Claims(full)
    served = await claims.claim("default/s0")
    await fill(full)
    assert await claims.close(served.worker) == (served.session,)
    assert (await claims.claim("default/s1")).worker != served.worker
    move = await claims.move(
        served.session, expected_epoch=served.epoch, suspect=served.worker.name, cause=MoveCause.DRAIN
    )
    assert move.won
    assert not await claims.release(served.session, epoch=served.epoch, phase=Phase.ENDED)
    assert await claims.release(served.session, epoch=move.claim.epoch, phase=Phase.ENDED)


async def test_in_a_full_redis_a_publisher_comes_back_and_its_pictures_may_be_turned(full: store.Store) -> None:
    claims, publishers, gateways = Claims(full), Publishers(full), Gateways(full)
    claim = await claims.claim("default/s0")
    await gateways.announce("g0", "http://g0", 5.0)
    await fill(full)
    contender = Contender("camera", "g0", "r1")
    seen = await publishers.enter(claim.session, contender)
    promoted = await publishers.promote(claim.session, contender, run_seen=seen)
    settled = await claims.settle_orientation(
        claim.session, epoch=claim.epoch, run=promoted.run, orientation=Orientation.PORTRAIT
    )
    assert settled == (Orientation.PORTRAIT, promoted.run)


async def test_in_a_full_redis_nothing_begins_that_would_fill_it_more(full: store.Store) -> None:
    await fill(full)
    for refused in (
        Claims(full).create(samples.record("another")),
        ControlStream(full).append("default/s0", client="page", number=1, change=ControlChange(prompt="x")),
    ):
        with pytest.raises(RedisError):
            await refused


async def test_a_redis_that_refuses_all_writes_gives_nobody_a_session_that_no_fence_protects(
    full: store.Store,
) -> None:
    claims = Claims(full)
    claim = await claims.claim("default/s0")
    await full.config_set("min-replicas-to-write", 1)
    with pytest.raises(RedisError):
        await claims.move(claim.session, expected_epoch=claim.epoch, suspect=claim.worker.name, cause=MoveCause.REFUSED)
    with pytest.raises(RedisError):
        await SnapshotStore(full).take_over(claim.session, claim.epoch + 1)
    record = await claims.record(claim.session)
    assert record is not None
    assert (record.epoch, record.owner) == (claim.epoch, claim.worker)


# -- epochs ------------------------------------------------------------------------------------------------------------


async def test_a_move_has_a_higher_epoch_than_the_one_that_a_lagging_replica_with_an_early_clock_forgot(
    home: Installation,
) -> None:
    session = SESSIONS[0]
    older = home.copied
    moved = await home.claims.move(
        session, expected_epoch=home.claimed[session].epoch, suspect=None, cause=MoveCause.REQUESTED
    )
    home.copied = older
    await home.suffer(StoreFault.PROMOTED_BEHIND)
    seen = moved.claim.epoch
    again = await home.claims.move(
        session, expected_epoch=seen, suspect=moved.claim.worker.name, cause=MoveCause.REFUSED
    )
    assert again.won
    assert again.claim.epoch > seen
    assert again.claim.worker == home.claimed[session].worker, "who had it before, as the replica says, has room for it"


async def test_a_claim_that_a_lagging_replica_tells_of_is_over_for_who_saw_a_later_one(home: Installation) -> None:
    session = SESSIONS[0]
    seen = home.claimed[session].epoch + 500_000
    await home.suffer(StoreFault.PROMOTED_BEHIND)
    with pytest.raises(MoveHeld):
        await home.claims.claim(session, seen_epoch=seen)
    await home.healthy(2 * HOLD_MS)
    claim = await home.claims.claim(session, seen_epoch=seen)
    assert claim.epoch > seen
    assert await home.claims.claim(session, seen_epoch=seen) == claim
