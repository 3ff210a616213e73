"""What Redis knows of a session besides its record, as people are told it."""

from dataclasses import replace

import pytest

from genlock_core.claims import keys
from genlock_core.claims.publisher import Publishers
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import SessionRecord
from genlock_gateway.sessions.surroundings import look_around
from tests.gateway.sessions.gateway_room import GatewayRoom

NEVER_LOWERED = {"policy": "Never"}
"""So that one that recovers asks for as many as one that is new."""


async def rooms(room: GatewayRoom, *records: SessionRecord) -> dict[str, bool]:
    """Whether each would find a worker, asked in one go."""
    found = await look_around(room.claims, Publishers(room.store), records)
    return {name: one.room is not None and one.room.fits for name, one in found.items()}


async def orphan(room: GatewayRoom, name: str) -> SessionRecord:
    """A session that has lost its worker, with the needs of one that never had any."""
    await room.record(name, approximation=NEVER_LOWERED)
    await room.claims.claim(f"default/{name}")
    record = await room.claims.record(f"default/{name}")
    assert record is not None
    return replace(record, owner=None)


@pytest.mark.parametrize("new_first", [True, False])
async def test_a_new_session_and_one_that_recovers_are_told_of_their_own_chances(
    room: GatewayRoom, new_first: bool
) -> None:
    worker = await room.worker()
    recovering = await orphan(room, "recovering")
    new = await room.record("new", approximation=NEVER_LOWERED)
    vitals = Vitals(alive=1, phase="stepping", late_ms=0, patience_ms=100, patient=True, overloaded=True)
    await room.claims.renew(worker, progress=1, links={}, vitals=vitals)

    asked = (new, recovering) if new_first else (recovering, new)
    assert await rooms(room, *asked) == {"default/new": False, "default/recovering": True}


@pytest.mark.parametrize("fresh_first", [True, False])
async def test_a_session_whose_snapshot_nobody_reads_is_told_so_beside_one_that_any_worker_serves(
    room: GatewayRoom, fresh_first: bool
) -> None:
    await room.worker()
    fresh = await orphan(room, "fresh")
    stored = await orphan(room, "stored")
    await room.store.hset(keys.record(stored.name), "snapshot_format", "9")
    stored = replace(stored, snapshot_format=9)

    asked = (fresh, stored) if fresh_first else (stored, fresh)
    assert await rooms(room, *asked) == {"default/fresh": True, "default/stored": False}
