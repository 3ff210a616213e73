"""A session that is no more leaves no snapshot and no controls; one that is there keeps its own."""

import pytest

from genlock_core.claims.snapshot_budget import SnapshotAsk
from genlock_core.errors import StaleEpoch
from genlock_core.spec.session import Phase
from genlock_core.stream_state.control import ControlChange
from genlock_gateway.sessions.session_data import SessionDataCleaner
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom


async def with_data(room: GatewayRoom) -> SessionDataCleaner:
    await room.control.append(SESSION, client="c", number=1, change=ControlChange(prompt="neon"))
    await room.snapshots.take_over(SESSION, 1)
    await room.snapshots.write(SESSION, epoch=1, chunk=3, head=b"head", blocks={}, keep=())
    return SessionDataCleaner(room.claims, snapshots=room.snapshots, budget=room.budget, control=room.control)


async def left(room: GatewayRoom) -> tuple[bool, bool]:
    """Whether its controls and its snapshot are there."""
    return bool(await room.control.read(SESSION)), await room.snapshots.take_over(SESSION, 9) is not None


async def test_a_session_that_is_owned_is_not_forgotten_and_keeps_its_data(room: GatewayRoom) -> None:
    await room.worker()
    await room.record()
    await room.claims.claim(SESSION)
    cleaner = await with_data(room)
    assert await cleaner.forget(SESSION) is False
    assert await left(room) == (True, True)


async def test_a_session_that_is_forgotten_leaves_nothing(room: GatewayRoom) -> None:
    await room.record()
    await room.claims.set_phase(SESSION, 0, Phase.ENDED)
    cleaner = await with_data(room)
    assert await cleaner.forget(SESSION) is True
    assert await room.claims.record(SESSION) is None
    assert await left(room) == (False, False)


async def test_the_data_of_a_new_session_of_the_name_is_not_cleared(room: GatewayRoom) -> None:
    cleaner = await with_data(room)
    await room.record()
    assert await cleaner.clear(SESSION) is False
    assert await left(room) == (True, True)


async def test_the_data_of_a_session_that_redis_forgot_is_cleared(room: GatewayRoom) -> None:
    cleaner = await with_data(room)
    assert await cleaner.clear(SESSION) is True
    assert await left(room) == (False, False)


async def test_a_session_that_has_ended_keeps_its_controls_and_gives_its_snapshots_bytes_back(
    room: GatewayRoom,
) -> None:
    worker = await room.worker()
    await room.record()
    claim = await room.claims.claim(SESSION)
    cleaner = await with_data(room)
    ask = SnapshotAsk(claim.epoch, holds=4, needs=4, wants=500)
    await room.claims.renew(worker, progress=1, links={}, snapshots={SESSION: ask})
    assert await cleaner.ended(SESSION) is False
    assert (await room.budget.bookings()).booked == 500

    await room.claims.release(SESSION, epoch=claim.epoch, phase=Phase.ENDED)
    assert await cleaner.ended(SESSION) is True
    assert (await room.budget.bookings()).booked == 0
    with pytest.raises(StaleEpoch):  # the worker that has not heard of the end yet
        await room.snapshots.write(SESSION, epoch=1, chunk=4, head=b"late", blocks={}, keep=())
    assert await left(room) == (True, False)
