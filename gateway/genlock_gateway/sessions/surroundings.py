"""What Redis knows of a session besides its record: who publishes, which engine paints, whether there is room for it.

It is read for a request, and once a second for each live session. Nothing is decided by it: people are told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Publishing, Room, WorkerView
from genlock_core.claims.publisher import Publishers
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.spec.engines import EngineKind, engine_kind


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Of one session, a moment ago."""

    publishing: Publishing = Publishing.NEVER
    """At any gateway."""
    engine: EngineKind | None = None
    """That of its worker; of the workers that it could get while it has none. None if nobody says."""
    gpus: int | None = None
    """GPUs of its worker; None without one."""
    room: Room | None = None
    """What a claim would find; None while a worker has the session, or it has finished."""


async def look_around(
    claims: Claims, publishers: Publishers, records: Sequence[SessionRecord]
) -> dict[str, Surroundings]:
    """The surroundings of each session, by its name. Raises RedisError."""
    publishing = await publishers.publications({record.name: record.created_ms for record in records})
    workers = await _workers(claims, records)
    rooms = await _rooms(claims, records)
    return {record.name: _of(record, publishing[record.name], workers, rooms) for record in records}


def _of(
    record: SessionRecord,
    publishing: Publishing,
    workers: Sequence[WorkerView],
    rooms: dict[tuple[PoolChoice, ...], Room],
) -> Surroundings:
    owner = next((view for view in workers if view.identity == record.owner), None)
    pools = {choice.pool for choice in record.pools}
    painters = [owner] if owner is not None else [view for view in workers if view.pool in pools]
    return Surroundings(
        publishing=publishing,
        engine=next((engine for view in painters if (engine := engine_kind(view.engine)) is not None), None),
        gpus=None if owner is None else owner.gpus,
        room=rooms.get(record.pools) if _waits(record) else None,
    )


async def _workers(claims: Claims, records: Sequence[SessionRecord]) -> list[WorkerView]:
    """All that matter: one where one session asks, and has a worker."""
    if len(records) == 1 and records[0].owner is not None:
        view = await claims.worker(records[0].owner.name)
        return [] if view is None else [view]
    return await claims.workers() if records else []


async def _rooms(claims: Claims, records: Sequence[SessionRecord]) -> dict[tuple[PoolChoice, ...], Room]:
    """Sessions that ask for the same of the same pools find the same: one of them is asked for."""
    asking = {record.pools: record.name for record in records if _waits(record)}
    found = {pools: await claims.room(name) for pools, name in asking.items()}
    return {pools: room for pools, room in found.items() if room is not None}


def _waits(record: SessionRecord) -> bool:
    return record.owner is None and not record.finished
