"""Each rule of the claims by itself, on a real Redis; `test_claims_machine` has them in every order."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from genlock_core import store
from genlock_core.claims import keys, liveness
from genlock_core.claims.claims import Claim, Claims, Move, MoveCause, MoveHeld, SessionEnded, WorkerState
from genlock_core.claims.facts import Room
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity, StaleEpoch, UnknownSession
from genlock_core.spec.session import Orientation, Phase, PictureFit
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import IDLE_TIMEOUT_MS, TTL_S, offer, record

DEMO = "default/demo"


async def workers(claims: Claims, *offers: WorkerOffer) -> None:
    for one in offers:
        await claims.register(one)


async def hold_is_over(claims: Claims, clock: ManualClock) -> None:
    """Redis has been up for longer than the time in which nothing moves by lease."""
    assert await claims.expire() == ()
    await time_passes(claims, clock, liveness.HOLD_MS / 1_000)


async def heartbeat(claims: Claims, identity: WorkerIdentity, progress: int) -> None:
    assert (await claims.renew(identity, progress=progress, links={})).known


async def test_a_claim_goes_to_the_fullest_worker_that_still_has_room(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    for name in ("one", "two", "three"):
        await claims.create(record(name))
    owners = [(await claims.claim(f"default/{name}")).worker.name for name in ("one", "two", "three")]
    assert owners == ["w0", "w0", "w1"]
    view = await claims.worker("w0")
    assert view is not None
    assert (view.free, view.capacity, set(view.sessions)) == (200, 1_000, {"default/one", "default/two"})


async def test_pools_are_tried_in_the_records_order(claims: Claims) -> None:
    await workers(claims, offer("w0", "cheap"), offer("w1", "dear"))
    await claims.create(record("one", ("cheap", 700), ("dear", 300)))
    await claims.create(record("two", ("cheap", 700), ("dear", 300)))
    first, second = await claims.claim("default/one"), await claims.claim("default/two")
    assert [(c.pool, c.cost) for c in (first, second)] == [("cheap", 700), ("dear", 300)]


async def test_room_is_what_a_claim_would_find(claims: Claims, clock: ManualClock) -> None:
    assert await claims.room(DEMO) is None
    await claims.create(record("demo", ("a", 700)))
    assert await claims.room(DEMO) == Room(workers=0, fits=False, next_ms=None)
    here = [offer("w0"), offer("w1")]
    await workers(claims, *here, offer("w2", "elsewhere"))
    assert await claims.room(DEMO) == Room(workers=2, fits=True, next_ms=None)
    for name in ("one", "two"):
        await claims.create(record(name, ("a", 700)))
        await claims.claim(f"default/{name}")
    assert await claims.room(DEMO) == Room(workers=2, fits=False, next_ms=None), "both are in use"

    await time_passes(claims, clock, 16)
    await claims.touch("default/one")
    for one in here:
        await heartbeat(claims, one.identity, 1)
    room = await claims.room(DEMO)
    assert room == Room(workers=2, fits=False, next_ms=IDLE_TIMEOUT_MS - 16_000), "nobody uses the other"
    await time_passes(claims, clock, 2)
    assert (await claims.room(DEMO)) == Room(workers=0, fits=False, next_ms=IDLE_TIMEOUT_MS - 18_000), "both are silent"


async def test_who_finds_no_room_is_told_when_a_worker_is_expected_until_that_has_passed(
    claims: Claims, clock: ManualClock
) -> None:
    await claims.create(record("demo", ("local", 600)))
    await claims.expect_worker("local", 4_000)
    await claims.expect_worker("another", 1_000)
    room = await claims.room(DEMO)
    assert room == Room(workers=0, fits=False, next_ms=None, worker_ms=4_000)

    clock.advance(0.4)
    room = await claims.room(DEMO)
    assert room is not None
    assert room.expected_ms == 3_600

    # One that is late says nothing any more.
    await claims.expect_worker("local", 300)
    clock.advance(0.4)
    room = await claims.room(DEMO)
    assert room is not None
    assert room.worker_ms is None


async def test_claiming_again_gives_the_same_claim(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    assert await claims.claim(DEMO) == await claims.claim(DEMO)
    assert [view.free for view in await claims.workers()] == [600, 1_000]


async def test_a_claim_of_an_unknown_or_finished_session_is_refused(claims: Claims) -> None:
    with pytest.raises(UnknownSession):
        await claims.claim(DEMO)
    await claims.create(record())
    await claims.set_phase(DEMO, 0, Phase.FAILED, "BadModel")
    with pytest.raises(SessionEnded):
        await claims.claim(DEMO)


async def test_no_capacity_names_the_pools(claims: Claims) -> None:
    await claims.create(record("demo", ("cheap", 700), ("dear", 300)))
    with pytest.raises(NoCapacity, match=r"pool cheap has 700 .*pool dear has 300"):
        await claims.claim(DEMO)


async def test_the_reserve_is_kept_from_claims_and_open_to_moves(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.set_reserve("a", 1_000)
    await claims.create(record("demo", ("a", 600)))
    await claims.create(record("late", ("a", 600)))
    claim = await claims.claim(DEMO)
    with pytest.raises(NoCapacity, match="kept for moves"):
        await claims.claim("default/late")
    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert move.claim.worker.name == "w1"


async def test_a_stale_worker_does_not_count_as_reserve(claims: Claims, clock: ManualClock) -> None:
    fresh, stale = offer("w0"), offer("w1")
    await workers(claims, fresh, stale)
    await claims.set_reserve("a", 1_000)
    await claims.create(record())
    await time_passes(claims, clock, liveness.HEARTBEAT_STALE_MS / 1_000 + 0.1)
    await heartbeat(claims, fresh.identity, 1)
    with pytest.raises(NoCapacity, match="kept for moves"):
        await claims.claim(DEMO)


async def test_a_worker_without_progress_gets_no_claims_and_keeps_no_lease(claims: Claims, clock: ManualClock) -> None:
    stuck = offer("w0")
    await workers(claims, stuck)
    await hold_is_over(claims, clock)
    await claims.create(record())
    await claims.create(record("late"))
    await heartbeat(claims, stuck.identity, 5)
    await claims.claim(DEMO)
    for _ in range(5):
        await time_passes(claims, clock, liveness.RENEW_EVERY_S)
        renewal = await claims.renew(stuck.identity, progress=5, links={})
    assert set(renewal.owned) == {DEMO}
    view = await claims.worker("w0")
    assert view is not None
    assert view.heartbeat_age_ms == 2_500
    with pytest.raises(NoCapacity):
        await claims.claim("default/late")
    assert await claims.expire() == (DEMO,)


async def test_progress_renews_every_lease_of_the_worker(claims: Claims, clock: ManualClock) -> None:
    worker = offer("w0")
    await workers(claims, worker)
    await hold_is_over(claims, clock)
    await heartbeat(claims, worker.identity, 0)
    for name in ("one", "two"):
        await claims.create(record(name))
        await claims.claim(f"default/{name}")
    for progress in range(1, 12):
        await time_passes(claims, clock, liveness.RENEW_EVERY_S)
        await heartbeat(claims, worker.identity, progress)
        assert await claims.expire() == ()


async def test_an_expired_lease_leaves_the_session_without_owner(claims: Claims, clock: ManualClock) -> None:
    await hold_is_over(claims, clock)
    await workers(claims, offer("w0"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    await time_passes(claims, clock, liveness.LEASE_MS / 1_000)
    assert await claims.expire() == (DEMO,)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.phase, found.owner, found.epoch, found.cost) == (Phase.RECOVERING, None, claim.epoch, 0)
    assert [view.free for view in await claims.workers()] == [1_000]
    assert await claims.expire() == ()


async def test_a_new_incarnation_voids_the_claims_of_the_old_one(claims: Claims) -> None:
    old, new = offer("w0"), offer("w0")
    await workers(claims, old)
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert await claims.register(new) == (DEMO,)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.phase, found.owner) == (Phase.RECOVERING, None)
    assert not await claims.set_phase(DEMO, claim.epoch, Phase.LIVE)
    renewal = await claims.renew(old.identity, progress=9, links={})
    assert (renewal.known, renewal.superseded, renewal.owned) == (False, True, {})
    again = await claims.claim(DEMO)
    assert again.worker == new.identity
    assert again.epoch > claim.epoch


async def test_a_worker_of_a_release_that_names_no_engine_is_seen_without_one(
    claims: Claims, redis_store: store.Store
) -> None:
    await workers(claims, replace(offer("w0"), engine="diffusion"))
    (view,) = await claims.workers()
    assert view.engine == "diffusion"
    await redis_store.hdel(f"{keys.PREFIX}worker:w0", "engine")
    (view,) = await claims.workers()
    assert view.engine == ""


async def test_registering_again_changes_nothing(claims: Claims) -> None:
    worker = offer("w0")
    await workers(claims, worker)
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert await claims.register(worker) == ()
    renewal = await claims.renew(worker.identity, progress=1, links={})
    assert renewal.owned == {DEMO: claim.epoch}


async def test_an_unknown_worker_learns_that_redis_does_not_know_it(claims: Claims) -> None:
    renewal = await claims.renew(offer("w0").identity, progress=1, links={})
    assert (renewal.known, renewal.superseded) == (False, False)


async def test_the_loser_of_a_move_gets_the_winners_claim(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"), offer("w2"))
    await claims.create(record())
    epoch = (await claims.claim(DEMO)).epoch
    first = await claims.move(DEMO, expected_epoch=epoch, suspect="w0", cause=MoveCause.REFUSED)
    second = await claims.move(DEMO, expected_epoch=epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert (first.won, second.won) == (True, False)
    assert first.claim == second.claim
    assert first.claim.epoch > epoch


async def test_a_move_without_capacity_changes_nothing(claims: Claims) -> None:
    await workers(claims, offer("w0"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    before = await claims.record(DEMO)
    with pytest.raises(NoCapacity):
        await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert await claims.record(DEMO) == before
    assert await claims.claim(DEMO) == claim


async def test_a_move_chooses_only_who_can_read_the_snapshot(claims: Claims) -> None:
    await workers(claims, offer("w0", formats=(1, 2)), offer("w1", formats=(1, 1)), offer("w2", formats=(2, 2)))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert await claims.note_snapshot_format(DEMO, epoch=claim.epoch, version=2)
    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert move.claim.worker.name == "w2"


async def test_a_move_with_a_stale_epoch_and_no_owner_says_so(claims: Claims) -> None:
    await workers(claims, offer("w0"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    await claims.release(DEMO, epoch=claim.epoch, phase=Phase.PENDING)
    with pytest.raises(StaleEpoch):
        await claims.move(DEMO, expected_epoch=claim.epoch - 1, suspect=None, cause=MoveCause.REFUSED)


@pytest.mark.parametrize("cause", [MoveCause.SILENT, MoveCause.EXPIRED])
async def test_moves_by_lease_are_held_while_redis_is_newly_back(
    claims: Claims, clock: ManualClock, cause: MoveCause
) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    claim = await claims.claim(DEMO)

    async def move() -> Move:
        return await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=cause)

    with pytest.raises(MoveHeld):
        await move()
    await time_passes(claims, clock, liveness.HOLD_MS / 1_000 - 0.1)
    assert await claims.expire() == ()
    with pytest.raises(MoveHeld):
        await move()
    await time_passes(claims, clock, 0.1)
    await workers(claims, offer("w2"))
    assert (await move()).won


async def test_a_refused_link_moves_even_while_redis_is_newly_back(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert (await claims.renew(offer("other").identity, progress=0, links={})).holding
    assert (await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)).won


async def test_a_lease_that_was_renewed_meanwhile_is_not_expired(claims: Claims, clock: ManualClock) -> None:
    await hold_is_over(claims, clock)
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.EXPIRED)
    assert move == Move(claim, won=False)


async def test_a_drain_moves_at_once_and_tells_the_old_worker_where_to(claims: Claims) -> None:
    old, new = offer("w0"), offer("w1")
    await workers(claims, old)
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert await claims.close(old.identity) == (DEMO,)
    await workers(claims, new)
    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.DRAIN)
    assign, withdraw = await claims.assignments(old.identity, "0", 0)
    assert (assign.kind, assign.epoch, assign.cause) == ("assign", claim.epoch, None)
    assert (withdraw.kind, withdraw.epoch, withdraw.cause) == ("withdraw", claim.epoch, MoveCause.DRAIN)
    assert (withdraw.successor_epoch, withdraw.successor_address) == (move.claim.epoch, "w1:7000")
    [taken] = await claims.assignments(new.identity, "0", 0)
    assert (taken.kind, taken.epoch, taken.cause) == ("assign", move.claim.epoch, MoveCause.DRAIN)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.phase, found.owner) == (Phase.DRAINING, new.identity)
    assert await claims.close(old.identity) == ()


async def test_a_closed_worker_gets_no_claims_and_knows_it(claims: Claims) -> None:
    worker = offer("w0")
    await workers(claims, worker)
    await claims.create(record())
    assert await claims.close(worker.identity) == ()
    with pytest.raises(NoCapacity):
        await claims.claim(DEMO)
    assert (await claims.renew(worker.identity, progress=1, links={})).closed
    view = await claims.worker("w0")
    assert view is not None
    assert view.state is WorkerState.DRAINING


async def test_the_inbox_of_another_incarnation_is_not_read(claims: Claims) -> None:
    worker = offer("w0")
    await workers(claims, worker)
    await claims.create(record())
    await claims.claim(DEMO)
    assert await claims.assignments(offer("w0").identity, "0", 0) == []


Write = Callable[[Claims, int], Awaitable[bool]]


@pytest.mark.parametrize(
    "write",
    [
        lambda claims, epoch: claims.set_phase(DEMO, epoch, Phase.LIVE),
        lambda claims, epoch: claims.release(DEMO, epoch=epoch, phase=Phase.ENDED),
        lambda claims, epoch: claims.note_snapshot_format(DEMO, epoch=epoch, version=2),
    ],
    ids=["set_phase", "release", "note_snapshot_format"],
)
async def test_only_the_current_epoch_writes(claims: Claims, write: Write) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    old = await claims.claim(DEMO)
    move = await claims.move(DEMO, expected_epoch=old.epoch, suspect="w0", cause=MoveCause.REFUSED)
    before = await claims.record(DEMO)
    assert not await write(claims, old.epoch)
    assert not await write(claims, move.claim.epoch + 1)
    assert await claims.record(DEMO) == before
    assert await write(claims, move.claim.epoch)


async def test_epochs_are_redis_time_and_grow_even_when_it_stands_still(claims: Claims, clock: ManualClock) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert claim.epoch == clock.wall_ms()
    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect=None, cause=MoveCause.REQUESTED)
    assert move.claim.epoch == claim.epoch + 1


async def test_an_idle_session_ends_and_is_forgotten_after_its_time(claims: Claims, clock: ManualClock) -> None:
    worker = offer("w0")
    await workers(claims, worker)
    await hold_is_over(claims, clock)
    await claims.create(record())
    await heartbeat(claims, worker.identity, 1)
    await claims.claim(DEMO)
    await time_passes(claims, clock, IDLE_TIMEOUT_MS / 1_000 - 1)
    await heartbeat(claims, worker.identity, 2)
    await claims.touch(DEMO)
    await time_passes(claims, clock, 1)
    await claims.expire()
    assert await phase_of(claims) is Phase.ASSIGNED
    await time_passes(claims, clock, IDLE_TIMEOUT_MS / 1_000 - 1)
    await heartbeat(claims, worker.identity, 3)
    assert await claims.expire() == ()
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.phase, found.reason, found.owner) == (Phase.ENDED, "Idle", None)
    await time_passes(claims, clock, TTL_S)
    await claims.expire()
    assert await claims.record(DEMO) is None
    assert await claims.records() == []


async def test_many_records_are_read_in_the_order_of_their_names(claims: Claims) -> None:
    names = [f"s{number:03}" for number in range(250)]
    for name in names:
        await claims.create(record(name))
    assert [one.name for one in await claims.records()] == [f"default/{name}" for name in names]


async def test_records_are_read_by_name_and_who_has_none_is_left_out(claims: Claims) -> None:
    for name in ("one", "two", "three"):
        await claims.create(record(name))
    found = await claims.records_of(["default/two", "default/nobody", "default/one"])
    assert found == {name: await claims.record(name) for name in ("default/two", "default/one")}
    assert await claims.records_of([]) == {}


async def phase_of(claims: Claims) -> Phase:
    found = await claims.record(DEMO)
    assert found is not None
    return found.phase


async def test_a_long_silent_worker_that_owns_nothing_is_dropped(claims: Claims, clock: ManualClock) -> None:
    await workers(claims, offer("w0"))
    await hold_is_over(claims, clock)
    await time_passes(claims, clock, liveness.WORKER_GONE_MS / 1_000 - liveness.HOLD_MS / 1_000 - 1)
    await claims.expire()
    assert len(await claims.workers()) == 1
    await time_passes(claims, clock, 1)
    await claims.expire()
    assert await claims.workers() == []


async def test_a_sweep_is_bounded(claims: Claims, clock: ManualClock) -> None:
    await hold_is_over(claims, clock)
    await workers(claims, offer("w0"))
    for name in ("one", "two"):
        await claims.create(record(name))
        await claims.claim(f"default/{name}")
    await time_passes(claims, clock, liveness.LEASE_MS / 1_000)
    assert len(await claims.expire(limit=1)) == 1
    assert len(await claims.expire(limit=1)) == 1


async def test_creating_again_updates_the_spec_and_leaves_the_owner(claims: Claims) -> None:
    await workers(claims, offer("w0"))
    assert await claims.create(record())
    claim = await claims.claim(DEMO)
    assert not await claims.create(record("demo", ("b", 100)))
    found = await claims.record(DEMO)
    assert found is not None
    assert [(choice.pool, choice.cost) for choice in found.pools] == [("b", 100)]
    assert (found.owner, found.epoch, found.cost) == (claim.worker, claim.epoch, 400)


async def test_creating_again_brings_other_web_sites_and_takes_them_away(claims: Claims) -> None:
    before = record()
    for origins in (("https://www.example.org",), ("*", "https://b.example"), ()):
        access = before.session.access.model_copy(update={"origins": origins})
        await claims.create(replace(before, session=before.session.model_copy(update={"access": access})))
        found = await claims.record(DEMO)
        assert found is not None
        assert found.session.access == access


async def test_only_an_unowned_session_is_forgotten(claims: Claims) -> None:
    await workers(claims, offer("w0"))
    await claims.create(record())
    claim = await claims.claim(DEMO)
    assert not await claims.forget(DEMO)
    await claims.release(DEMO, epoch=claim.epoch, phase=Phase.ENDED)
    assert await claims.forget(DEMO)
    assert not await claims.forget(DEMO)


async def test_the_record_keeps_the_newest_value_of_each_control_field(claims: Claims) -> None:
    await claims.create(record())
    await claims.remember_control(DEMO, {"prompt": "ink", "steps": "2"}, "99-0")
    await claims.remember_control(DEMO, {"prompt": "oil"}, "100-1")
    await claims.remember_control(DEMO, {"prompt": "late", "paused": "true"}, "100-0")
    found = await claims.record(DEMO)
    assert found is not None
    kept = {field: (value.value, value.id) for field, value in found.control.items()}
    assert kept == {"prompt": ("oil", "100-1"), "steps": ("2", "99-0"), "paused": ("true", "100-0")}


async def test_events_tell_what_happened_in_order(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    start = await claims.last_event()
    claim = await claims.claim(DEMO)
    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect="w0", cause=MoveCause.REFUSED)
    await claims.release(DEMO, epoch=move.claim.epoch, phase=Phase.ENDED)
    await claims.forget(DEMO)
    told = [(event.kind.value, event.detail) for event in await claims.events(start, 0)]
    assert told == [
        ("claimed", "w0"),
        ("phase", "Assigned"),
        ("moved", "w1"),
        ("phase", "Recovering"),
        ("released", "w1"),
        ("phase", "Ended"),
        ("forgotten", ""),
    ]
    assert await claims.events(await claims.last_event(), 5) == []


async def test_the_heartbeat_says_which_gateways_are_linked(claims: Claims) -> None:
    worker = offer("w0")
    await workers(claims, worker)
    await claims.renew(worker.identity, progress=1, links={DEMO: ["g0", "g1"], "default/other": []})
    view = await claims.worker("w0")
    assert view is not None
    assert view.links == {DEMO: ("g0", "g1"), "default/other": ()}
    assert await claims.worker("w9") is None


async def test_without_injected_time_redis_own_time_counts(redis_url: str) -> None:

    client = store.connect(redis_url)
    try:
        claims = Claims(client)
        await workers(claims, offer("w0"))
        await claims.create(record())
        claim: Claim = await claims.claim(DEMO)
        assert claim.epoch > 1_700_000_000_000
        view = await claims.worker("w0")
        assert view is not None
        assert 0 <= view.heartbeat_age_ms < 60_000
    finally:
        await client.aclose()


async def test_the_orientation_is_settled_once_for_each_publication_by_the_owner(claims: Claims) -> None:
    await workers(claims, offer("w0"), offer("w1"))
    await claims.create(record())
    claim = await claims.claim(DEMO)

    async def settle(run: int, orientation: Orientation, epoch: int = claim.epoch) -> tuple[Orientation | None, int]:
        return await claims.settle_orientation(DEMO, epoch=epoch, run=run, orientation=orientation)

    assert await settle(5, Orientation.PORTRAIT, epoch=claim.epoch - 1) == (None, 0), "an owner of before"
    assert await settle(5, Orientation.PORTRAIT) == (Orientation.PORTRAIT, 5)
    assert await settle(5, Orientation.LANDSCAPE) == (Orientation.PORTRAIT, 5), "the first one counts"
    assert await settle(4, Orientation.LANDSCAPE) == (Orientation.PORTRAIT, 5), "a publication of before"
    assert await settle(6, Orientation.LANDSCAPE) == (Orientation.LANDSCAPE, 6)

    move = await claims.move(DEMO, expected_epoch=claim.epoch, suspect=None, cause=MoveCause.REQUESTED)
    assert await settle(7, Orientation.PORTRAIT) == (Orientation.LANDSCAPE, 6), "it has moved"
    assert await settle(7, Orientation.PORTRAIT, epoch=move.claim.epoch) == (Orientation.PORTRAIT, 7)
    kept = await claims.record(DEMO)
    assert kept is not None
    assert (kept.orientation, kept.orientation_run) == (Orientation.PORTRAIT, 7)
    await claims.create(record())
    assert await claims.record(DEMO) == kept, "a manifest that is applied again changes nothing of it"


async def test_a_session_that_nobody_knows_has_no_orientation(claims: Claims) -> None:
    settled = await claims.settle_orientation(DEMO, epoch=1, run=1, orientation=Orientation.PORTRAIT)
    assert settled == (None, 0)


async def test_a_manifest_that_is_applied_again_may_change_the_shape(claims: Claims) -> None:
    await claims.create(record())
    shape = {"orientation": Orientation.AUTO, "fit": PictureFit.FIT}
    session = record().session.model_copy(update=shape)
    await claims.create(replace(record(), session=session))
    kept = await claims.record(DEMO)
    assert kept is not None
    assert kept.session == session
