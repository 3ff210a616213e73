"""How old a shown record may be, and that nobody is judged by an old one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Event, EventKind
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import AccessMode, Phase
from genlock_gateway.sessions import record_cache
from genlock_gateway.sessions.record_cache import FOLLOWED_S, MAX_AGE_S, RecordCache
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


@pytest.fixture
async def cache(room: GatewayRoom) -> AsyncIterator[RecordCache]:
    """One whose owner follows the events."""
    await room.record()
    room.records.followed()
    yield room.records
    await room.records.end()


def reads(room: GatewayRoom) -> float:
    return room.figure("genlock_gateway_record_reads_total", result="read") or 0.0


def event(kind: EventKind = EventKind.PHASE, session: str = SESSION) -> Event:
    return Event("1-0", kind, session, 0, "")


async def phase(cache: RecordCache) -> Phase | None:
    record = await cache.recent(SESSION)
    return None if record is None else record.phase


async def follow(room: GatewayRoom, after: str) -> str:
    """Tell the cache what has happened, as the gateway's loop does."""
    for one in await room.claims.events(after, 0):
        room.records.happened(one)
        after = one.id
    room.records.followed()
    return after


async def test_a_record_is_read_once_while_nothing_happens(room: GatewayRoom, cache: RecordCache) -> None:
    for _ in range(5):
        assert await phase(cache) is Phase.PENDING
    assert reads(room) == 1


async def test_an_event_drops_the_record_that_it_is_about(room: GatewayRoom, cache: RecordCache) -> None:
    after = await room.claims.last_event()
    assert await phase(cache) is Phase.PENDING
    await room.claims.set_phase(SESSION, 0, Phase.ENDED)
    assert await phase(cache) is Phase.PENDING, "the event is on its way"
    await follow(room, after)
    assert await phase(cache) is Phase.ENDED


async def test_a_change_of_who_may_watch_is_an_event(room: GatewayRoom, cache: RecordCache) -> None:
    record = await cache.recent(SESSION)
    assert record is not None
    after = await room.claims.last_event()
    closed = record.session.access.model_copy(update={"view": AccessMode.TOKEN})
    await room.claims.create(replace(record, session=record.session.model_copy(update={"access": closed})))
    fresh = await cache.fresh(SESSION)
    assert fresh is not None
    assert fresh.session.access.view is AccessMode.TOKEN, "who comes in is judged by what holds now"
    after = await follow(room, after)
    shown = await cache.recent(SESSION)
    assert shown is not None
    assert shown.session.access.view is AccessMode.TOKEN
    await room.claims.create(shown)
    assert await room.claims.events(after, 0) == [], "the same again is no event"


async def test_nothing_is_kept_for_longer_than_the_events_are_followed(room: GatewayRoom, cache: RecordCache) -> None:
    assert await phase(cache) is Phase.PENDING
    await room.claims.set_phase(SESSION, 0, Phase.ENDED)
    room.clock.advance(FOLLOWED_S + 0.01)
    assert await phase(cache) is Phase.ENDED


async def test_nothing_is_kept_for_longer_than_its_age(room: GatewayRoom, cache: RecordCache) -> None:
    assert await phase(cache) is Phase.PENDING
    await room.claims.set_phase(SESSION, 0, Phase.ENDED)
    for _ in range(4):
        room.clock.advance(MAX_AGE_S / 4)
        cache.followed()
        assert await phase(cache) is Phase.PENDING
    room.clock.advance(0.01)
    assert await phase(cache) is Phase.ENDED


async def test_a_follower_that_lost_track_begins_anew(room: GatewayRoom, cache: RecordCache) -> None:
    assert await phase(cache) is Phase.PENDING
    await room.claims.set_phase(SESSION, 0, Phase.ENDED)
    cache.lost_track()
    cache.followed()
    assert await phase(cache) is Phase.ENDED


@pytest.mark.parametrize("meanwhile", ["event", "followed anew"])
async def test_what_was_read_while_something_happened_is_not_kept(
    room: GatewayRoom, cache: RecordCache, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    read = Claims.record

    async def slow(claims: Claims, session: str) -> SessionRecord | None:
        record = await read(claims, session)
        await room.claims.set_phase(SESSION, 0, Phase.ENDED)
        if meanwhile == "event":
            cache.happened(event())
        else:
            cache.followed()
        return record

    if meanwhile == "followed anew":
        room.clock.advance(FOLLOWED_S + 1)
    monkeypatch.setattr(Claims, "record", slow)
    assert await phase(cache) is Phase.PENDING
    monkeypatch.undo()
    assert await phase(cache) is Phase.ENDED


async def test_the_list_is_read_once_and_knows_who_comes_and_goes(room: GatewayRoom, cache: RecordCache) -> None:
    async def names() -> list[str]:
        return [record.name for record in await cache.all()]

    assert [await names() for _ in range(3)] == [[SESSION]] * 3
    assert reads(room) == 1
    after = await room.claims.last_event()
    await room.record("another")
    after = await follow(room, after)
    assert await names() == ["default/another", SESSION]
    await room.claims.forget(SESSION)
    await follow(room, after)
    assert await names() == ["default/another"]


async def test_an_unknown_session_is_asked_for_each_time_and_takes_no_room(
    room: GatewayRoom, cache: RecordCache
) -> None:
    for number in range(3):
        assert await cache.recent(f"default/nobody{number}") is None
    assert not cache._kept
    await room.record("nobody1")
    assert await cache.recent("default/nobody1") is not None, "it is seen before its event comes"


async def test_the_number_of_kept_records_is_bounded(
    room: GatewayRoom, cache: RecordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_cache, "MAX_RECORDS", 2)
    for number in range(4):
        await room.record(f"s{number}")
        await cache.recent(f"default/s{number}")
    assert list(cache._kept) == ["default/s2", "default/s3"]


async def test_many_who_ask_at_once_cost_two_reads(
    room: GatewayRoom, cache: RecordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    read = Claims.record

    async def counted(claims: Claims, session: str) -> SessionRecord | None:
        nonlocal made
        made += 1
        return await read(claims, session)

    monkeypatch.setattr(Claims, "record", counted)
    records = await asyncio.gather(*(cache.fresh(SESSION) for _ in range(200)))
    assert {record.name for record in records if record is not None} == {SESSION}
    assert made == 2
