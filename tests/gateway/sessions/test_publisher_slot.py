"""Whether a publisher that somebody wants to replace is still there; and who may wait for that. No WebRTC here."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core import store as stores
from genlock_core.claims import keys
from genlock_core.claims.facts import PublisherConflict
from genlock_core.claims.publisher import Contender, Gateways, Publishers
from genlock_gateway.sessions import publisher_slot
from genlock_gateway.sessions.publisher_slot import CHECKS, QUIET_S, WAITING, HolderChecks, PublisherSlots
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom

HOLDER = Contender("camera", "elsewhere", "r1")


@pytest.fixture
async def slots(room: GatewayRoom) -> PublisherSlots:
    """Of a gateway where nobody publishes; the holder is at another one, which says nothing."""
    publishers = Publishers(room.store)
    await announced(room)
    run_seen = await publishers.enter(SESSION, HOLDER)
    await publishers.promote(SESSION, HOLDER, run_seen=run_seen)
    return PublisherSlots(
        publishers, room.hub, for_contenders=publishers, gateway="g0", clock=room.clock, store_timeout_s=5.0
    )


async def keep(room: GatewayRoom, *, heard_ms: int = 60_000, silent: bool = False) -> None:
    await Publishers(room.store).keep(
        SESSION, key=HOLDER.key, gateway=HOLDER.gateway, resource=HOLDER.resource, heard_ms=heard_ms, silent=silent
    )


def contender(name: str, *, take_over: bool = False) -> Contender:
    return Contender(name, "g0", f"resource of {name}".replace(" ", "-"), take_over)


# -- who is silent -----------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=8), st.floats(0, 10))
def test_a_holder_is_silent_after_three_checks_in_a_row_and_three_seconds_without_a_packet(
    answers: list[bool], quiet_s: float
) -> None:
    checks = HolderChecks()
    for answered in answers:
        checks.checked(answered=answered)
    unanswered = len(answers) >= CHECKS and not any(answers[-CHECKS:])
    assert checks.silent(quiet_s=quiet_s) == (unanswered and quiet_s >= QUIET_S)


# -- who waits ---------------------------------------------------------------------------------------------------------


async def test_a_contender_waits_until_the_holder_is_heard(room: GatewayRoom, slots: PublisherSlots) -> None:
    waiting = asyncio.create_task(slots.enter(SESSION, contender("other")))
    await until(lambda: slots._waiting[SESSION] == 1)
    await keep(room)
    await asyncio.sleep(3 * publisher_slot.ASK_EVERY_S)
    assert not waiting.done(), "it was heard before the contender came"
    await keep(room, heard_ms=0)
    with pytest.raises(PublisherConflict) as told:
        await waiting
    assert told.value.heard
    assert not slots._waiting


async def test_a_contender_waits_until_the_holder_is_silent_and_is_let_in(
    room: GatewayRoom, slots: PublisherSlots
) -> None:
    waiting = asyncio.create_task(slots.enter(SESSION, contender("other")))
    await until(lambda: slots._waiting[SESSION] == 1)
    await keep(room, silent=True)
    admission = await waiting
    assert admission.run_seen > 0
    assert not slots._waiting


async def test_a_contender_waits_four_seconds_for_a_gateway_that_says_nothing(
    room: GatewayRoom, slots: PublisherSlots
) -> None:
    waiting = asyncio.create_task(slots.enter(SESSION, contender("other")))
    await until(lambda: slots._waiting[SESSION] == 1)
    room.clock.advance(publisher_slot.WAIT_S)
    with pytest.raises(PublisherConflict) as told:
        await waiting
    assert not told.value.heard


async def test_few_strangers_wait_and_the_publisher_itself_never_does(room: GatewayRoom, slots: PublisherSlots) -> None:
    waiting = [asyncio.create_task(slots.enter(SESSION, contender(f"s{number}"))) for number in range(WAITING)]
    await until(lambda: slots._waiting[SESSION] == WAITING)
    with pytest.raises(PublisherConflict):
        await slots.enter(SESSION, contender("one too many"))
    again = await slots.enter(SESSION, Contender("camera", "g0", "r2"))
    bold = await slots.enter(SESSION, contender("bold", take_over=True))
    assert bold.number > again.number
    room.clock.advance(publisher_slot.WAIT_S)
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in told] == [PublisherConflict] * WAITING


# -- who connected and did not get it ----------------------------------------------------------------------------------


async def announced(room: GatewayRoom) -> None:
    for name in ("g0", "elsewhere"):
        await Gateways(room.store).announce(name, f"http://{name}", ttl_s=60)


async def test_who_connected_and_lost_to_another_publisher_is_told_and_does_not_come_back(
    room: GatewayRoom, slots: PublisherSlots
) -> None:
    stream = await room.stream()
    candidate, peer = room.client("r2", "whip")
    admission = await slots.enter(SESSION, Contender("a", "g0", "r2", take_over=True))
    first = Contender("b", "elsewhere", "r3", take_over=True)
    run_seen = await Publishers(room.store).enter(SESSION, first)
    await Publishers(room.store).promote(SESSION, first, run_seen=run_seen)
    await slots.promote(stream, candidate, admission)
    assert peer.said == [{"type": "replaced", "reason": f"{SESSION}: another publication came first"}]
    assert peer.closed == [f"{SESSION}: another publication came first"]


@pytest.mark.parametrize(("asks", "how"), [(True, "asked"), (False, "unasked")])
async def test_who_takes_the_place_of_a_publisher_that_is_there_is_counted(
    room: GatewayRoom, slots: PublisherSlots, *, asks: bool, how: str
) -> None:
    stream = await room.stream()
    successor, _ = room.client("r2", "whip")
    room.hub.add(stream, successor)
    if not asks:
        await keep(room, silent=True)
    admission = await slots.enter(SESSION, Contender("b", "g0", "r2", take_over=asks))
    await slots.promote(stream, successor, admission)
    assert _takeovers(room) == {how: 1.0}

    # A slot that nobody holds is nobody's place.
    await slots.leave(SESSION, "r2")
    another, _ = room.client("r3", "whip")
    room.hub.add(stream, another)
    await slots.promote(stream, another, await slots.enter(SESSION, Contender("c", "g0", "r3", take_over=True)))
    assert _takeovers(room) == {how: 1.0}


def _takeovers(room: GatewayRoom) -> dict[str, float]:
    (family,) = room.hub.shared.metrics.takeovers.collect()
    return {one.labels["how"]: one.value for one in family.samples if one.name.endswith("_total")}


@pytest.mark.parametrize("too_late", [False, True])
async def test_who_connected_and_found_the_slot_gone_is_asked_to_connect_again(
    room: GatewayRoom, slots: PublisherSlots, *, too_late: bool
) -> None:
    stream = await room.stream()
    candidate, peer = room.client("r2", "whip")
    admission = await slots.enter(SESSION, Contender("camera", "g0", "r2"))
    if too_late:
        await room.store.delete(f"{keys.PREFIX}publisher:{SESSION}:candidates")
    else:
        await room.store.flushall()
        await announced(room)
    await slots.promote(stream, candidate, admission)
    assert peer.said == [{"type": "reconnect", "afterMs": 0}]
    assert len(peer.closed) == 1


async def test_who_connected_while_the_store_does_not_answer_is_asked_to_connect_again(
    room: GatewayRoom, slots: PublisherSlots, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await room.stream()
    candidate, peer = room.client("r2", "whip")
    admission = await slots.enter(SESSION, Contender("camera", "g0", "r2"))
    monkeypatch.setattr(publisher_slot, "CANDIDATE_S", 0.0)
    monkeypatch.setattr(slots, "_publishers", Publishers(stores.connect("redis://127.0.0.1:1")))
    await slots.promote(stream, candidate, admission)
    assert peer.said == [{"type": "reconnect", "afterMs": 0}]
    assert peer.closed == ["the session store does not answer"]


async def test_a_publication_has_a_higher_run_than_those_that_a_store_with_an_early_clock_forgot(
    room: GatewayRoom, slots: PublisherSlots
) -> None:
    stream = await room.stream()
    before, _ = room.client("r1", "whip")
    before.run = room.clock.wall_ms() + 10 * 365 * 86_400_000
    stream.enter(before)
    await room.store.flushall()
    await announced(room)

    candidate, _ = room.client("r2", "whip")
    room.hub.add(stream, candidate)
    await slots.promote(stream, candidate, await slots.enter(SESSION, Contender("camera", "g0", "r2")))
    assert candidate.run == before.run + 1


async def test_a_publication_goes_on_under_its_number_when_redis_has_lost_its_slot(
    room: GatewayRoom, slots: PublisherSlots, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await room.stream()
    publisher, _ = room.client("r2", "whip")
    admission = await slots.enter(SESSION, Contender("camera", "g0", "r2"))
    monkeypatch.setattr(room.hub, "resource", lambda _: publisher)
    await slots.promote(stream, publisher, admission)
    run = publisher.run
    publisher.key = "camera"
    await room.store.flushall()
    await announced(room)
    await slots.keep(stream)
    assert publisher.run == run, "another number would have the worker wait for a key frame"
