"""One publisher per session, and the gateways that are up."""

import pytest

from genlock_core import store
from genlock_core.claims.facts import PublisherConflict
from genlock_core.claims.publisher import Gateways, Publication, Publishers, PublisherSlot
from genlock_core.clock import ManualClock

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


async def enter(publishers: Publishers, key: str, gateway: str, resource: str) -> PublisherSlot:
    return await publishers.enter(DEMO, key=key, gateway=gateway, resource=resource)


async def test_the_same_key_takes_over_and_learns_from_whom(publishers: Publishers) -> None:
    first = await enter(publishers, "k", "g0", "r1")
    second = await enter(publishers, "k", "g1", "r2")
    assert first.previous is None
    assert second.previous == Publication("g0", "r1", first.run)
    assert second.run > first.run
    assert not await publishers.keep(DEMO, resource="r1")
    assert await publishers.keep(DEMO, resource="r2")
    assert await publishers.current(DEMO) == Publication("g1", "r2", second.run)


async def test_another_key_gets_a_conflict_that_names_the_gateway(publishers: Publishers) -> None:
    await enter(publishers, "k", "g0", "r1")
    with pytest.raises(PublisherConflict, match="g0"):
        await enter(publishers, "other", "g1", "r2")


async def test_entering_again_after_a_lost_reply_is_the_same_slot(publishers: Publishers, clock: ManualClock) -> None:
    await enter(publishers, "k", "g0", "r1")
    slot = await enter(publishers, "k", "g1", "r2")
    clock.advance(0.5)
    assert await enter(publishers, "k", "g1", "r2") == slot


async def test_a_slot_that_is_not_kept_is_free_after_three_seconds(publishers: Publishers, clock: ManualClock) -> None:
    first = await enter(publishers, "k", "g0", "r1")
    clock.advance(2)
    assert await publishers.keep(DEMO, resource="r1")
    clock.advance(2.9)
    with pytest.raises(PublisherConflict):
        await enter(publishers, "other", "g1", "r2")
    clock.advance(0.1)
    assert await publishers.current(DEMO) is None
    slot = await enter(publishers, "other", "g1", "r2")
    assert slot.previous is None
    assert slot.run > first.run


async def test_a_slot_ends_with_its_gateway(publishers: Publishers, gateways: Gateways) -> None:
    await enter(publishers, "k", "g0", "r1")
    await gateways.withdraw("g0")
    assert (await enter(publishers, "other", "g1", "r2")).previous is None


async def test_leaving_frees_the_slot_and_runs_still_grow(publishers: Publishers) -> None:
    first = await enter(publishers, "k", "g0", "r1")
    assert not await publishers.leave(DEMO, resource="r0")
    assert await publishers.leave(DEMO, resource="r1")
    assert (await enter(publishers, "other", "g1", "r2")).run == first.run + 1


async def test_gateways_are_found_while_they_announce_themselves(gateways: Gateways, clock: ManualClock) -> None:
    assert await gateways.all() == {"g0": "http://g0", "g1": "http://g1"}
    clock.advance(59)
    await gateways.announce("g0", "http://elsewhere", ttl_s=3)
    clock.advance(1)
    assert await gateways.all() == {"g0": "http://elsewhere"}
    assert await gateways.find("g0") == "http://elsewhere"
    assert await gateways.find("g1") is None
