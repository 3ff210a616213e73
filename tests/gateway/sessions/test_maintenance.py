"""What a gateway does all the time: which loop is stuck, who claims orphans again, and what an event changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims.facts import Event, EventKind
from genlock_core.errors import NoCapacity, UnknownSession
from genlock_core.spec.session import Phase
from genlock_core.stream_state import keys
from genlock_core.stream_state.control import ControlChange
from genlock_gateway.sessions import maintenance
from genlock_gateway.sessions.maintenance import STUCK_S, MaintenanceLoops
from genlock_gateway.sessions.session_data import SessionDataCleaner
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.sessions.upstream.mover import backoff_s
from genlock_gateway.sessions.waiting_offers import WaitingOffers
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


@pytest.fixture
async def loops(room: GatewayRoom) -> AsyncIterator[MaintenanceLoops]:
    cleaner = SessionDataCleaner(room.claims, snapshots=room.snapshots, budget=room.budget, control=room.control)
    made = MaintenanceLoops(
        name="g0",
        claims=room.claims,
        publishers=cast("Any", None),
        slots=cast("Any", None),
        gateways=cast("Any", None),
        board=cast("Any", None),
        session_data=cleaner,
        hub=room.hub,
        offers=WaitingOffers(room.claims, room.hub.shared.metrics, store_timeout_s=5.0),
        records=room.records,
        address=lambda: "http://g0",
        levels=cast("Any", None),
    )
    yield made
    await made.stop()


# -- stuck loops -------------------------------------------------------------------------------------------------------


async def test_a_loop_that_does_not_come_round_is_stuck_and_so_is_one_that_has_ended(
    room: GatewayRoom, loops: MaintenanceLoops
) -> None:
    async def done() -> None: ...

    assert list(loops._tasks) == []
    for name in ("tick", "sweep"):
        loops._last_round_s[name] = room.clock.monotonic()
    assert loops.stuck() == ()
    room.clock.advance(STUCK_S)
    loops._last_round_s["tick"] = room.clock.monotonic()
    assert loops.stuck() == ()
    room.clock.advance(0.1)
    assert loops.stuck() == ("sweep",)

    loops._tasks.append(asyncio.create_task(done(), name="maintenance events"))
    await asyncio.sleep(0)
    assert loops.started
    assert loops.stuck() == ("events", "sweep")


async def test_a_loop_outlives_its_errors_and_says_when_redis_does_not_answer(
    room: GatewayRoom, loops: MaintenanceLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "backoff_s", lambda failures: 0.0)
    answers: list[Exception] = [RedisAway("away"), RuntimeError("a mistake"), OSError("no route")]
    rounds: list[int] = []

    async def work() -> None:
        rounds.append(len(answers))
        if answers:
            raise answers.pop(0)

    loops._tasks.append(asyncio.create_task(loops._loop("sweep", 0.001, work), name="maintenance sweep"))
    await until(lambda: len(rounds) >= 5)
    assert rounds[:4] == [3, 2, 1, 0]
    assert room.figure("genlock_gateway_redis_up") == 0
    assert loops._last_round_s == {"sweep": room.clock.monotonic()}


# -- orphans -----------------------------------------------------------------------------------------------------------


async def test_an_orphan_is_claimed_again_once_its_time_has_come(
    room: GatewayRoom, loops: MaintenanceLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers: list[Exception] = [NoCapacity(SESSION, "full"), NoCapacity(SESSION, "full")]

    async def expire() -> tuple[str, ...]:
        return (SESSION,) if not asked and not loops._orphans else ()

    async def claim(session: str, *, seen_epoch: int) -> None:
        asked.append(session)
        if answers:
            raise answers.pop(0)

    monkeypatch.setattr(room.claims, "expire", expire)
    monkeypatch.setattr(room.claims, "claim", claim)
    await loops._sweep()
    due_s, tries = loops._orphans[SESSION]
    assert (asked, tries) == ([], 0)
    assert 0 < due_s - room.clock.monotonic() <= maintenance.RECLAIM_JITTER_S

    for so_far in range(2):
        room.clock.advance(loops._orphans[SESSION][0] - room.clock.monotonic())
        await loops._sweep()
        wait_s = loops._orphans[SESSION][0] - room.clock.monotonic()
        assert 0.75 * backoff_s(so_far) <= wait_s <= 1.25 * backoff_s(so_far)
        assert loops._orphans[SESSION][1] == so_far + 1
        assert len(asked) == so_far + 1

    await loops._sweep()
    assert len(asked) == 2, "it is not time yet"
    room.clock.advance(10.0)
    await loops._sweep()
    assert (len(asked), loops._orphans) == (3, {})


async def test_an_orphan_that_waits_is_claimed_again_as_soon_as_room_is_made(
    room: GatewayRoom, loops: MaintenanceLoops
) -> None:
    record = await room.record()
    worker = await room.worker()
    await room.claims.claim(SESSION)
    loops._orphans[SESSION] = room.clock.monotonic() + 60.0, 9
    await loops._sweep()
    assert SESSION in loops._orphans, "it is not time yet"

    await loops._heard(Event("1-0", EventKind.ROOM, "", 0, record.pools[0].pool))
    await loops._sweep()
    assert loops._orphans == {}
    found = await room.claims.record(SESSION)
    assert found is not None
    assert found.owner == worker


async def test_an_orphan_that_redis_does_not_know_is_no_orphan(room: GatewayRoom, loops: MaintenanceLoops) -> None:
    with pytest.raises(UnknownSession):
        await room.claims.claim("default/nobody")
    loops._orphans["default/nobody"] = room.clock.monotonic(), 0
    await loops._sweep()
    assert loops._orphans == {}


async def test_sessions_are_counted_by_phase_from_time_to_time(room: GatewayRoom, loops: MaintenanceLoops) -> None:
    await room.record()
    await loops._sweep()
    assert room.figure("genlock_gateway_sessions", phase="Pending") == 1
    assert room.figure("genlock_gateway_sessions", phase="Live") == 0
    await room.record("other")
    await loops._sweep()
    assert room.figure("genlock_gateway_sessions", phase="Pending") == 1
    room.clock.advance(maintenance.COUNT_EVERY_S)
    await loops._sweep()
    assert room.figure("genlock_gateway_sessions", phase="Pending") == 2


# -- Redis came back ---------------------------------------------------------------------------------------------------


async def test_records_that_redis_lost_are_written_back(room: GatewayRoom, loops: MaintenanceLoops) -> None:
    stream = await room.stream()
    await room.store.flushall()
    await loops._redis_answers()
    assert await room.claims.record(SESSION) is None, "it may be between a deletion and its event"

    loops._redis_gone()
    assert room.figure("genlock_gateway_redis_up") == 0
    await loops._redis_answers()
    assert room.figure("genlock_gateway_redis_up") == 1
    assert await room.claims.record(SESSION) is not None
    assert loops._redis_was_gone is False

    await room.store.flushall()
    stream.end_reason = "the session was deleted"
    loops._redis_gone()
    await loops._redis_answers()
    assert await room.claims.record(SESSION) is None


async def test_a_record_that_is_missing_for_long_is_written_back_too(
    room: GatewayRoom, loops: MaintenanceLoops
) -> None:
    stream = await room.stream()
    await room.store.flushall()
    stream.missing_since_s = room.clock.monotonic()
    await loops._redis_answers()
    assert await room.claims.record(SESSION) is None
    room.clock.advance(maintenance.MISSING_S)
    await loops._redis_answers()
    assert await room.claims.record(SESSION) is not None


async def test_a_redis_that_came_back_empty_unnoticed_is_known_by_its_events(
    room: GatewayRoom, loops: MaintenanceLoops
) -> None:
    await room.stream()
    loops._after = await room.claims.last_event()
    await room.store.flushall()
    await loops._redis_answers()
    assert await room.claims.record(SESSION) is not None
    assert loops._after == "0-0"


# -- events ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a stream is told to do."""
    said: list[str] = []
    monkeypatch.setattr(LiveStream, "nudge", lambda self: said.append("nudge"))
    monkeypatch.setattr(LiveStream, "refresh", lambda self: said.append("refresh"))
    return said


def event(kind: EventKind, at_ms: int, session: str = SESSION) -> Event:
    return Event(f"{at_ms}-0", kind, session, 0, "")


async def test_a_change_is_told_to_the_worker_and_every_event_reads_the_record_again(
    room: GatewayRoom, loops: MaintenanceLoops, heard: list[str]
) -> None:
    await room.stream()
    now_ms = room.clock.wall_ms()
    await loops._heard(event(EventKind.CONTROL, now_ms))
    assert heard == ["nudge", "refresh"]
    other = next(kind for kind in EventKind if kind not in (EventKind.CONTROL, EventKind.FORGOTTEN))
    await loops._heard(event(other, now_ms))
    await loops._heard(event(EventKind.CONTROL, now_ms, "default/elsewhere"))
    assert heard == ["nudge", "refresh", "refresh"]


async def test_events_are_as_late_as_their_ids_say(room: GatewayRoom, loops: MaintenanceLoops) -> None:
    await loops._heard(event(EventKind.CONTROL, room.clock.wall_ms() - 1_500))
    assert room.figure("genlock_gateway_event_lag_seconds") == 1.5
    await loops._heard(event(EventKind.CONTROL, room.clock.wall_ms() + 1_500))
    assert room.figure("genlock_gateway_event_lag_seconds") == 0


async def test_a_session_that_was_deleted_ends_and_its_data_goes(room: GatewayRoom, loops: MaintenanceLoops) -> None:
    stream = await room.stream()
    await room.control.append(SESSION, client="c", number=1, change=ControlChange(prompt="neon"))
    await loops._heard(event(EventKind.FORGOTTEN, stream.record.created_ms))
    assert stream.end_reason == "", "the event is of an older session of the name"
    await room.claims.set_phase(SESSION, 0, Phase.ENDED)
    await room.claims.forget(SESSION)
    await loops._heard(event(EventKind.FORGOTTEN, stream.record.created_ms + 1))
    assert stream.end_reason == "the session was deleted"
    assert await room.control.read(SESSION) == []


async def test_a_session_that_has_ended_leaves_no_snapshot(room: GatewayRoom, loops: MaintenanceLoops) -> None:
    stream = await room.stream()
    await room.snapshots.take_over(SESSION, 1)
    await room.snapshots.write(SESSION, epoch=1, chunk=3, head=b"head", blocks={}, keep=())
    for phase, stays in ((Phase.LIVE, True), (Phase.ENDED, False)):
        await room.claims.set_phase(SESSION, 0, phase)
        id_ = f"{stream.record.created_ms}-0"
        await loops._heard(Event(id_, EventKind.PHASE, SESSION, 0, phase.value))
        assert bool(await room.store.exists(keys.snapshot_meta(SESSION))) == stays


async def test_events_are_followed_from_where_they_stood_at_the_start(
    room: GatewayRoom, loops: MaintenanceLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BLOCK_MS", 10)
    told: list[str] = []

    async def hear(event: Event) -> None:
        told.append(event.session)

    monkeypatch.setattr(loops, "_heard", hear)
    await room.record("before")
    await loops._follow()
    assert told == []
    await room.record("after")
    await loops._follow()
    assert set(told) == {"default/after"}
    assert loops._after == await room.claims.last_event()
