"""One publisher per session, and the gateways that are up."""

import asyncio

import pytest

from genlock_core import store
from genlock_core.claims import keys, liveness
from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import LostSlot, PublicationLost, PublisherConflict, Publishing, TooManyCandidates
from genlock_core.claims.lua import decoded
from genlock_core.claims.publisher import Contender, Gateways, KeptSlot, Publication, Publishers, PublisherSlot
from genlock_core.clock import ManualClock
from tests.core.claims.passing import time_passes

DEMO = "default/demo"


@pytest.fixture
async def gateways(redis_store: store.Store, clock: ManualClock) -> Gateways:
    gateways = Gateways(redis_store, now_ms=clock.wall_ms)
    for name in ("g0", "g1"):
        await gateways.announce(name, f"http://{name}", ttl_s=60)
    return gateways


@pytest.fixture
def publishers(redis_store: store.Store, clock: ManualClock, gateways: Gateways) -> Publishers:
    return Publishers(redis_store, now_ms=clock.wall_ms)


def contender(key: str, gateway: str, resource: str, *, take_over: bool = False) -> Contender:
    return Contender(key, gateway, resource, take_over)


CAMERA = contender("k", "g0", "r1")
AGAIN = contender("k", "g1", "r2")
STRANGER = contender("other", "g1", "s1")


async def hold(publishers: Publishers, one: Contender = CAMERA) -> PublisherSlot:
    """Ask and connect."""
    run_seen = await publishers.enter(DEMO, one)
    return await publishers.promote(DEMO, one, run_seen=run_seen)


async def keep(publishers: Publishers, one: Contender = CAMERA, *, heard_ms: int = 0, silent: bool = False) -> KeptSlot:
    kept = await publishers.keep(
        DEMO, key=one.key, gateway=one.gateway, resource=one.resource, heard_ms=heard_ms, silent=silent
    )
    assert kept is not None
    return kept


async def is_held_by(publishers: Publishers, one: Contender) -> bool:
    return await publishers.keep(DEMO, key=one.key, gateway=one.gateway, resource=one.resource) is not None


async def lost(publishers: Publishers, one: Contender, run_seen: int) -> LostSlot:
    with pytest.raises(PublicationLost) as told:
        await publishers.promote(DEMO, one, run_seen=run_seen)
    return told.value.why


# -- who may connect ---------------------------------------------------------------------------------------------------


async def test_an_offer_moves_nothing_until_it_has_connected(publishers: Publishers) -> None:
    first = await hold(publishers)
    run_seen = await publishers.enter(DEMO, AGAIN)
    assert run_seen == first.run
    assert await keep(publishers) == KeptSlot(first.run, contended=False)
    second = await publishers.promote(DEMO, AGAIN, run_seen=run_seen)
    assert second.run > first.run
    assert second.previous == Publication("g0", "r1", first.run)
    assert not await is_held_by(publishers, CAMERA)
    assert await is_held_by(publishers, AGAIN)


async def test_another_key_gets_a_conflict_that_names_the_gateway(publishers: Publishers) -> None:
    await hold(publishers)
    with pytest.raises(PublisherConflict, match="g0"):
        await publishers.enter(DEMO, STRANGER)


async def test_the_holder_learns_that_somebody_else_waits_and_the_other_hears_of_its_answer(
    publishers: Publishers, claims: Claims, clock: ManualClock
) -> None:
    await hold(publishers)
    with pytest.raises(PublisherConflict) as first:
        await publishers.enter(DEMO, STRANGER)
    assert not first.value.heard
    assert (await keep(publishers, heard_ms=500)).contended
    with pytest.raises(PublisherConflict) as second:
        await publishers.enter(DEMO, STRANGER, since_ms=first.value.asked_ms)
    assert not second.value.heard, "that was before it asked"
    assert second.value.asked_ms == first.value.asked_ms

    await time_passes(claims, clock, 0.5)
    await keep(publishers, heard_ms=100)
    with pytest.raises(PublisherConflict) as third:
        await publishers.enter(DEMO, STRANGER, since_ms=first.value.asked_ms)
    assert third.value.heard

    await time_passes(claims, clock, liveness.PUBLISHER_CANDIDATE_MS / 1_000)
    assert not (await keep(publishers)).contended


async def test_a_packet_just_before_the_question_is_no_answer_to_it(
    publishers: Publishers, claims: Claims, clock: ManualClock
) -> None:
    await hold(publishers)
    await time_passes(claims, clock, 0.5)
    clock.advance((liveness.PROOF_EVERY_MS - 1) / 1_000)  # proven time is told as it was then
    with pytest.raises(PublisherConflict) as asked:
        await publishers.enter(DEMO, STRANGER)

    for passed_ms, heard in ((500, False), (1_000, True)):
        await time_passes(claims, clock, 0.5)
        # The last packet came 1 ms before the question; later there is one 500 ms after it.
        await keep(publishers, heard_ms=501 if passed_ms == 500 else 500)
        with pytest.raises(PublisherConflict) as again:
            await publishers.enter(DEMO, STRANGER, since_ms=asked.value.asked_ms)
        assert again.value.heard is heard


async def test_the_holder_is_not_asked_for_because_of_its_own_new_connection(publishers: Publishers) -> None:
    await hold(publishers)
    await publishers.enter(DEMO, AGAIN)
    assert not (await keep(publishers)).contended


async def test_a_silent_holder_is_replaced_unless_it_answers_again_first(publishers: Publishers) -> None:
    first = await hold(publishers)
    await keep(publishers, silent=True)
    run_seen = await publishers.enter(DEMO, STRANGER)
    await keep(publishers)
    assert await lost(publishers, STRANGER, run_seen) is LostSlot.ANSWERED
    await keep(publishers, silent=True)
    slot = await publishers.promote(DEMO, STRANGER, run_seen=run_seen)
    assert slot.previous == Publication("g0", "r1", first.run)
    assert not (await keep(publishers, STRANGER)).contended
    with pytest.raises(PublisherConflict):
        await publishers.enter(DEMO, CAMERA)  # the silence was the other one's


async def test_whoever_says_so_takes_over_from_a_holder_that_answers(publishers: Publishers) -> None:
    await hold(publishers)
    bold = contender("other", "g1", "s1", take_over=True)
    await keep(publishers)
    assert (await hold(publishers, bold)).previous is not None


async def test_of_two_that_connect_the_first_wins(publishers: Publishers) -> None:
    one, two = contender("a", "g0", "a1"), contender("b", "g1", "b1")
    seen = [await publishers.enter(DEMO, each) for each in (one, two)]
    await publishers.promote(DEMO, two, run_seen=seen[1])
    assert await lost(publishers, one, seen[0]) is LostSlot.OVERTAKEN


async def test_a_newer_offer_of_the_same_publisher_is_the_one_that_counts(publishers: Publishers) -> None:
    run_seen = await publishers.enter(DEMO, CAMERA)
    await publishers.enter(DEMO, AGAIN)
    assert await lost(publishers, CAMERA, run_seen) is LostSlot.REPLACED
    await publishers.promote(DEMO, AGAIN, run_seen=run_seen)


async def test_who_connects_too_late_asks_again(publishers: Publishers, claims: Claims, clock: ManualClock) -> None:
    run_seen = await publishers.enter(DEMO, CAMERA)
    await time_passes(claims, clock, liveness.PUBLISHER_CANDIDATE_MS / 1_000)
    assert await lost(publishers, CAMERA, run_seen) is LostSlot.REPLACED


async def test_asking_again_after_a_lost_reply_changes_nothing(
    publishers: Publishers, claims: Claims, clock: ManualClock
) -> None:
    await hold(publishers)
    run_seen = await publishers.enter(DEMO, AGAIN)
    assert await publishers.enter(DEMO, AGAIN) == run_seen
    slot = await publishers.promote(DEMO, AGAIN, run_seen=run_seen)
    await time_passes(claims, clock, 0.5)
    assert await publishers.promote(DEMO, AGAIN, run_seen=run_seen) == slot


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_strangers_fill_their_own_places_and_never_that_of_the_publisher_itself(
    publishers: Publishers, claims: Claims, clock: ManualClock
) -> None:
    await hold(publishers)
    await publishers.leave(DEMO, resource="r1")
    for number in range(liveness.PUBLISHER_CANDIDATES):
        await publishers.enter(DEMO, contender(f"s{number}", "g1", f"s{number}"))
    with pytest.raises(TooManyCandidates):
        await publishers.enter(DEMO, STRANGER)
    run_seen = await publishers.enter(DEMO, AGAIN)
    await publishers.promote(DEMO, AGAIN, run_seen=run_seen)

    await time_passes(claims, clock, liveness.PUBLISHER_CANDIDATE_MS / 1_000)
    await publishers.enter(DEMO, contender("late", "g1", "l1", take_over=True))


async def test_who_goes_before_it_has_connected_leaves_its_place(publishers: Publishers) -> None:
    for number in range(liveness.PUBLISHER_CANDIDATES):
        await publishers.enter(DEMO, contender(f"s{number}", "g1", f"s{number}"))
    assert not await publishers.leave(DEMO, resource="s0")
    await publishers.enter(DEMO, STRANGER)


async def test_a_flood_of_offers_leaves_two_names_in_redis_and_the_slot_where_it_was(
    publishers: Publishers, redis_store: store.Store
) -> None:
    slot = await hold(publishers)
    for number in range(300):
        one = contender(f"s{number}", "g1", f"s{number}", take_over=True)
        try:
            await publishers.enter(DEMO, one)
        except TooManyCandidates:
            assert number >= liveness.PUBLISHER_CANDIDATES
        await publishers.enter(DEMO, contender("k", "g1", f"again{number}"))
    assert (await keep(publishers)).run == slot.run
    assert len(await redis_store.hgetall(f"{keys.PREFIX}publisher:{DEMO}:candidates")) == 3


async def test_who_never_connected_is_forgotten_after_its_time(
    publishers: Publishers, claims: Claims, redis_store: store.Store, clock: ManualClock
) -> None:
    await publishers.enter(DEMO, STRANGER)
    await claims.expire()
    await time_passes(claims, clock, liveness.PUBLISHER_CANDIDATE_MS / 1_000)
    await claims.expire()
    assert not await redis_store.exists(f"{keys.PREFIX}publisher:{DEMO}:candidates")


# -- the slot's life ---------------------------------------------------------------------------------------------------


async def test_a_slot_that_is_not_kept_is_free_after_three_seconds(
    publishers: Publishers, claims: Claims, clock: ManualClock
) -> None:
    first = await hold(publishers)
    await time_passes(claims, clock, 2)
    await keep(publishers)
    await time_passes(claims, clock, 2.9)
    with pytest.raises(PublisherConflict):
        await publishers.enter(DEMO, STRANGER)
    await time_passes(claims, clock, 0.1)
    slot = await hold(publishers, STRANGER)
    assert slot.previous is None
    assert slot.run > first.run


async def test_a_slot_ends_with_its_gateway(publishers: Publishers, gateways: Gateways) -> None:
    await hold(publishers)
    await gateways.withdraw("g0")
    assert (await hold(publishers, STRANGER)).previous is None


async def test_leaving_frees_the_slot_and_runs_still_grow(publishers: Publishers) -> None:
    first = await hold(publishers)
    assert not await publishers.leave(DEMO, resource="r0")
    assert await publishers.leave(DEMO, resource="r1")
    assert (await hold(publishers, STRANGER)).run == first.run + 1


async def test_a_slot_has_no_time_to_live_and_is_forgotten_an_hour_after_it_was_kept(
    publishers: Publishers, claims: Claims, redis_store: store.Store, clock: ManualClock
) -> None:
    await hold(publishers)
    await redis_store.pexpire(f"{keys.PREFIX}publisher:{DEMO}", 60_000)
    await keep(publishers)
    assert await redis_store.pttl(f"{keys.PREFIX}publisher:{DEMO}") == -1, "a step of Redis' clock would end it"
    await claims.expire()
    await time_passes(claims, clock, 3_590)
    await claims.expire()
    assert await redis_store.exists(f"{keys.PREFIX}publisher:{DEMO}")
    await time_passes(claims, clock, 10)
    await claims.expire()
    assert not await redis_store.exists(f"{keys.PREFIX}publisher:{DEMO}")


async def test_what_redis_lost_its_holder_takes_again_and_who_had_asked_before_asks_again(
    publishers: Publishers, gateways: Gateways, redis_store: store.Store
) -> None:
    first = await hold(publishers)
    run_seen = await publishers.enter(DEMO, AGAIN)
    await redis_store.flushall()
    for name in ("g0", "g1"):
        await gateways.announce(name, f"http://{name}", ttl_s=60)
    assert await lost(publishers, AGAIN, run_seen) is LostSlot.GONE
    assert (await keep(publishers)).run >= first.run
    assert (await hold(publishers, AGAIN)).previous is not None


async def test_a_slot_that_somebody_else_has_is_not_taken_again(publishers: Publishers) -> None:
    await hold(publishers)
    await hold(publishers, AGAIN)
    assert not await is_held_by(publishers, CAMERA)
    assert await is_held_by(publishers, AGAIN)


# -- the release before ------------------------------------------------------------------------------------------------

OLD_FIELDS = {"key": "k", "gateway": "g0", "resource": "r1", "run": "5", "previous": ""}


async def written(redis_store: store.Store, **fields: str) -> None:
    for name, value in fields.items():
        await redis_store.hset(f"{keys.PREFIX}publisher:{DEMO}", name, value)


async def test_a_slot_that_a_gateway_of_the_release_before_holds_is_respected(
    publishers: Publishers, redis_store: store.Store, clock: ManualClock
) -> None:
    await written(redis_store, **OLD_FIELDS, expires_ms=str(clock.wall_ms() + 3_000), silent="4", contended_ms="7")
    with pytest.raises(PublisherConflict) as told:
        await publishers.enter(DEMO, STRANGER)
    assert not told.value.heard
    assert (await hold(publishers, AGAIN)).previous == Publication("g0", "r1", 5)


async def test_a_gateway_of_the_release_before_finds_what_it_reads(
    publishers: Publishers, redis_store: store.Store
) -> None:
    slot = await hold(publishers)
    fields = decoded(await redis_store.hmget(f"{keys.PREFIX}publisher:{DEMO}", [*OLD_FIELDS]))
    assert dict(zip(OLD_FIELDS, fields, strict=True)) == {**OLD_FIELDS, "run": str(slot.run)}
    await publishers.leave(DEMO, resource="r1")
    left = await redis_store.hmget(f"{keys.PREFIX}publisher:{DEMO}", "gateway", "resource", "expires_ms")
    assert left == [None, None, None]


# -- gateways ----------------------------------------------------------------------------------------------------------


async def test_gateways_are_found_while_they_announce_themselves(
    gateways: Gateways, claims: Claims, clock: ManualClock
) -> None:
    assert await gateways.all() == {"g0": "http://g0", "g1": "http://g1"}
    await time_passes(claims, clock, 59)
    await gateways.announce("g0", "http://elsewhere", ttl_s=3)
    await time_passes(claims, clock, 1)
    assert await gateways.all() == {"g0": "http://elsewhere"}
    assert await gateways.find("g0") == "http://elsewhere"
    assert await gateways.find("g1") is None


async def test_of_many_at_once_one_wins(publishers: Publishers) -> None:
    many = [contender(f"c{number}", "g0", f"c{number}") for number in range(liveness.PUBLISHER_CANDIDATES)]
    seen = [await publishers.enter(DEMO, each) for each in many]
    told = await asyncio.gather(
        *(publishers.promote(DEMO, each, run_seen=run) for each, run in zip(many, seen, strict=True)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, PublisherSlot) for one in told) == 1
    assert sum(isinstance(one, PublicationLost) for one in told) == len(many) - 1


async def test_whether_somebody_publishes_is_known_for_many_sessions_at_once(
    publishers: Publishers, claims: Claims, clock: ManualClock, gateways: Gateways
) -> None:
    names = dict.fromkeys([DEMO, "default/other", "default/third"], 0)
    assert await publishers.publications({}) == {}
    assert await publishers.publications(names) == dict.fromkeys(names, Publishing.NEVER)
    await hold(publishers)
    run_seen = await publishers.enter("default/other", AGAIN)
    await publishers.promote("default/other", AGAIN, run_seen=run_seen)
    await publishers.enter("default/third", STRANGER)
    assert await publishers.publications(names) == {
        DEMO: Publishing.NOW, "default/other": Publishing.NOW, "default/third": Publishing.NEVER,
    }  # fmt: skip

    await gateways.withdraw("g1")
    await publishers.leave(DEMO, resource=CAMERA.resource)
    over = await publishers.publications(names)
    assert (over[DEMO], over["default/other"]) == (Publishing.GONE, Publishing.GONE)
    await time_passes(claims, clock, 1)
    assert (await publishers.publications({DEMO: clock.wall_ms()}))[DEMO] is Publishing.NEVER, (
        "another one of that name"
    )
    await hold(publishers, STRANGER)
    await time_passes(claims, clock, 3.1)
    assert (await publishers.publications({DEMO: 0})) == {DEMO: Publishing.GONE}, "nobody has kept the slot"


async def test_a_publication_whose_slot_redis_lost_keeps_its_number(
    publishers: Publishers, gateways: Gateways, redis_store: store.Store, clock: ManualClock
) -> None:
    first = await hold(publishers)
    clock.advance(5)
    await redis_store.flushall()
    for name in ("g0", "g1"):
        await gateways.announce(name, f"http://{name}", ttl_s=60)
    kept = await publishers.keep(DEMO, key=CAMERA.key, gateway="g0", resource=CAMERA.resource, run=first.run)
    assert kept == KeptSlot(first.run, contended=False), "decoders go on"
    assert (await hold(publishers, AGAIN)).run > first.run


async def test_a_publication_comes_after_one_that_began_after_its_slot_was_lost(
    publishers: Publishers, gateways: Gateways, redis_store: store.Store, clock: ManualClock
) -> None:
    first = await hold(publishers)
    clock.advance(5)
    await redis_store.flushall()
    for name in ("g0", "g1"):
        await gateways.announce(name, f"http://{name}", ttl_s=60)
    between = await hold(publishers, STRANGER)
    await publishers.leave(DEMO, resource=STRANGER.resource)
    kept = await publishers.keep(DEMO, key=CAMERA.key, gateway="g0", resource=CAMERA.resource, run=first.run)
    assert kept is not None
    assert kept.run > between.run > first.run


async def test_a_publication_whose_slot_redis_lost_comes_after_one_that_its_gateway_has_seen(
    publishers: Publishers, gateways: Gateways, redis_store: store.Store, clock: ManualClock
) -> None:
    first = await hold(publishers)
    await redis_store.flushall()
    await gateways.announce("g0", "http://g0", ttl_s=60)
    kept = await publishers.keep(
        DEMO,
        key=CAMERA.key,
        gateway="g0",
        resource=CAMERA.resource,
        run=first.run,
        highest_run=first.run + 10_000_000,
    )
    assert kept is not None
    assert kept.run > first.run + 10_000_000
