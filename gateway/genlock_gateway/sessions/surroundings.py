"""What Redis knows of a session besides its record: who publishes, which engine paints, whether there is room for it.

It is read once a second for each live session, and not more often for the sessions that people ask about over HTTP.
Nothing is decided by it: people are told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Publishing, Room, WorkerView
from genlock_core.claims.publisher import Publishers
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.clock import Clock
from genlock_core.spec.engines import EngineKind, engine_kind
from genlock_core.spec.session import ApproximationPolicy
from genlock_gateway.sessions.shared_reads import SharedReads

MAX_AGE_S: Final = 1.0
MAX_SESSIONS: Final = 4_096


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


@dataclass(frozen=True, slots=True)
class _Need:
    """What a session asks of which pools."""

    pools: tuple[PoolChoice, ...]
    steps: int
    lowest_steps: int
    """With so few it would be content."""
    is_lowered: bool
    """With every second frame, too, where that has a price."""
    stand_in: str | None
    """The model that it runs with instead of its own."""
    had_worker: bool
    """Then it gets an overloaded one rather than none."""
    snapshot_format: int
    """Its worker must read it."""


class RecentSurroundings:
    """Surroundings for whoever asks over HTTP, a second old at most: strangers who ask often cost nothing."""

    def __init__(self, claims: Claims, publishers: Publishers, clock: Clock) -> None:
        self._claims = claims
        self._publishers = publishers
        self._clock = clock
        # Each with the time at which it was asked for, and for which record; the oldest first.
        self._known: dict[str, tuple[Surroundings, float, SessionRecord]] = {}
        self._reads: SharedReads[dict[str, Surroundings]] = SharedReads()

    async def of(self, records: Sequence[SessionRecord]) -> dict[str, Surroundings]:
        """The surroundings of each session, by its name. Raises RedisError, StoreBusy."""
        found = {record.name: surroundings for record in records if (surroundings := self._of(record)) is not None}
        missing = [record for record in records if record.name not in found]
        if missing:
            key = " ".join(record.name for record in missing)
            found |= await self._reads.get(key, lambda: self._read(missing))
        return found

    def drop(self, session: str) -> None:
        """Something was done to the session."""
        self._known.pop(session, None)

    async def end(self) -> None:
        """Nobody asks any more."""
        await self._reads.end()

    def _of(self, record: SessionRecord) -> Surroundings | None:
        surroundings, read_s, then = self._known.get(record.name, (None, 0.0, record))
        old = self._clock.monotonic() - read_s > MAX_AGE_S
        moved = (then.epoch, then.owner, then.phase) != (record.epoch, record.owner, record.phase)
        return None if old or moved else surroundings

    async def _read(self, records: Sequence[SessionRecord]) -> dict[str, Surroundings]:
        began_s = self._clock.monotonic()
        found = await look_around(self._claims, self._publishers, records)
        for record in records:
            self._known.pop(record.name, None)
            self._known[record.name] = found[record.name], began_s, record
        while len(self._known) > MAX_SESSIONS:
            del self._known[next(iter(self._known))]
        return found


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
    rooms: Mapping[_Need, Room],
) -> Surroundings:
    owner = next((view for view in workers if view.identity == record.owner), None)
    pools = {choice.pool for choice in record.choices}
    painters = [owner] if owner is not None else [view for view in workers if view.pool in pools]
    return Surroundings(
        publishing=publishing,
        engine=next((engine for view in painters if (engine := engine_kind(view.engine)) is not None), None),
        gpus=None if owner is None else owner.gpus,
        room=rooms.get(_need(record)) if _waits(record) else None,
    )


async def _workers(claims: Claims, records: Sequence[SessionRecord]) -> list[WorkerView]:
    """All that matter: one where one session asks, and has a worker."""
    if len(records) == 1 and records[0].owner is not None:
        view = await claims.worker(records[0].owner.name)
        return [] if view is None else [view]
    return await claims.workers() if records else []


async def _rooms(claims: Claims, records: Sequence[SessionRecord]) -> dict[_Need, Room]:
    """Sessions that ask for the same of the same pools find the same: one of them is asked for."""
    asking = {_need(record): record.name for record in records if _waits(record)}
    found = {need: await claims.room(name) for need, name in asking.items()}
    return {need: room for need, room in found.items() if room is not None}


def _need(record: SessionRecord) -> _Need:
    return _Need(
        pools=record.pools,
        steps=record.requested_steps,
        lowest_steps=record.lowest_steps,
        is_lowered=record.session.approximation.policy is ApproximationPolicy.ADAPTIVE,
        stand_in=record.stand_in,
        had_worker=record.epoch > 0,
        snapshot_format=record.snapshot_format,
    )


def _waits(record: SessionRecord) -> bool:
    return record.owner is None and not record.finished
