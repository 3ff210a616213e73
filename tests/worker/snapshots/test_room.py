"""What a session's snapshot asks for and keeps to, so that Redis never holds more of it than is booked."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.claims.snapshot_budget import SnapshotAsk
from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.snapshots.room import (
    FIRST_ASK_BYTES,
    LEAST_GROWTH_BYTES,
    TRY_AGAIN_S,
    RoomState,
    SessionRoom,
    SnapshotRoom,
)

SESSION = "default/demo"
MB = 1_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def rooms(clock: ManualClock) -> SnapshotRoom:
    return SnapshotRoom(clock, WorkerMetrics(CollectorRegistry()))


@pytest.fixture
def room(rooms: SnapshotRoom) -> SessionRoom:
    return rooms.open(SESSION, 7, holds=0)


def beat(rooms: SnapshotRoom, size: int) -> SnapshotAsk:
    """A heartbeat that is granted so much."""
    asked = rooms.asks()
    rooms.granted({SESSION: size}, asked)
    return asked[SESSION]


def test_a_session_waits_for_its_first_grant(rooms: SnapshotRoom, room: SessionRoom) -> None:
    assert room.state is RoomState.AWAITED
    assert beat(rooms, MB) == SnapshotAsk(7, 0, 0, FIRST_ASK_BYTES)
    assert (room.state, room.limit) == (RoomState.OPEN, MB)


def test_what_a_session_came_with_is_asked_for_with_room_to_grow(rooms: SnapshotRoom) -> None:
    rooms.open(SESSION, 7, holds=8 * MB)
    assert beat(rooms, 10 * MB) == SnapshotAsk(7, 8 * MB, 8 * MB, 10 * MB)


def test_a_grant_that_is_about_right_is_left_as_it_is(rooms: SnapshotRoom, room: SessionRoom) -> None:
    beat(rooms, 10 * MB)
    for size in (7 * MB, 7 * MB + 100, 5 * MB):
        room.writing()
        room.stored(size)
        assert beat(rooms, 10 * MB).wants == 10 * MB


def test_room_that_is_given_back_is_not_used_from_the_question_on(rooms: SnapshotRoom, room: SessionRoom) -> None:
    beat(rooms, 10 * MB)
    room.writing()
    room.stored(1_000)
    (ask,) = rooms.asks().values()
    assert room.writing() == ask.wants == 1_000 + LEAST_GROWTH_BYTES


@pytest.mark.parametrize("outcome_is_known", [True, False])
def test_a_write_whose_end_is_not_known_may_have_stored_all_that_it_was_allowed(
    rooms: SnapshotRoom, room: SessionRoom, outcome_is_known: bool
) -> None:
    beat(rooms, 10 * MB)
    room.writing()
    if outcome_is_known:
        room.stored(1_000)
    assert beat(rooms, 10 * MB).needs == (1_000 if outcome_is_known else 10 * MB)


def test_a_lost_write_counts_until_a_later_one_is_known(rooms: SnapshotRoom, room: SessionRoom) -> None:
    beat(rooms, 10 * MB)
    room.writing()
    beat(rooms, 4 * MB)
    assert room.writing() == 4 * MB
    assert beat(rooms, 4 * MB).needs == 10 * MB
    room.stored(1_000)
    assert beat(rooms, 4 * MB).needs == 1_000


def test_a_refused_one_asks_at_once_and_waits_for_the_answer(
    rooms: SnapshotRoom, room: SessionRoom, clock: ManualClock
) -> None:
    beat(rooms, MB)
    asked_before = rooms.asks()
    room.writing()
    room.refused(3 * MB)
    assert rooms.asking.is_set()

    # The answer to a question of before says nothing of this.
    rooms.granted({SESSION: MB}, asked_before)
    assert room.state is RoomState.AWAITED
    assert beat(rooms, MB).needs == 3 * MB
    assert (room.state, room.is_short) == (RoomState.NONE, True)
    clock.advance(TRY_AGAIN_S)
    assert (room.state, room.is_short) == (RoomState.OPEN, True)
    beat(rooms, 4 * MB)
    assert (room.state, room.is_short) == (RoomState.OPEN, False)


def test_a_redis_that_lost_its_data_has_granted_nothing(rooms: SnapshotRoom, room: SessionRoom) -> None:
    beat(rooms, MB)
    rooms.lost()
    assert (room.state, room.limit) == (RoomState.AWAITED, 0)
    assert rooms.asking.is_set()


def test_an_older_writer_of_the_session_is_granted_nothing_of_a_newer_one(
    rooms: SnapshotRoom, room: SessionRoom
) -> None:
    asked = rooms.asks()
    newer = rooms.open(SESSION, 9, holds=0)
    rooms.granted({SESSION: MB}, asked)
    assert (room.limit, newer.limit) == (0, 0)
    rooms.close(SESSION, room)
    assert rooms.asks()[SESSION].epoch == 9
    rooms.close(SESSION, newer)
    assert rooms.asks() == {}


def test_a_session_that_is_never_stored_asks_for_nothing(rooms: SnapshotRoom) -> None:
    never = rooms.open(SESSION, 7, holds=0, asks=False)
    assert rooms.asks() == {}
    rooms.close(SESSION, never)


async def test_the_heartbeat_hears_who_waits(rooms: SnapshotRoom) -> None:
    waiting = asyncio.create_task(rooms.asking.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    rooms.open(SESSION, 7, holds=0)
    await asyncio.sleep(0)
    assert waiting.done()
    rooms.asks()
    assert not rooms.asking.is_set()
