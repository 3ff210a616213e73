"""Claims: which worker serves which session. Every method is one atomic script, safe to repeat.

Gateways, workers, the CLI and the operator all hold one of these; none of them asks another for permission.
All methods raise `redis.exceptions.RedisError` when Redis is away. A session is named `namespace/name`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from genlock_core.claims import arguments, keys, replies
from genlock_core.claims.facts import (
    Assignment,
    AssignmentKind,
    Claim,
    Event,
    EventKind,
    Fit,
    GrantAnswer,
    GrantOutcome,
    Held,
    LimitOutcome,
    Move,
    MoveCause,
    MoveHeld,
    Reasserted,
    Renewal,
    Room,
    SessionEnded,
    Waiting,
    WorkerState,
    WorkerView,
)
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.claims.lua import Scripts, decoded
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import SessionRecord, to_fields
from genlock_core.claims.snapshot_budget import SnapshotAsk
from genlock_core.errors import StaleEpoch
from genlock_core.spec.session import Orientation, Phase
from genlock_core.store import MAX_BLOCK_MS, Store

__all__ = [
    "Assignment",
    "AssignmentKind",
    "Claim",
    "Claims",
    "Event",
    "EventKind",
    "Fit",
    "GrantAnswer",
    "GrantOutcome",
    "Held",
    "LimitOutcome",
    "Move",
    "MoveCause",
    "MoveHeld",
    "Reasserted",
    "Renewal",
    "SessionEnded",
    "Waiting",
    "WorkerState",
    "WorkerView",
]

EVENTS_AT_ONCE = 256
"""As many entries of a stream are read at a time: who gets fewer has seen all that there were."""
_RECORDS_AT_ONCE = 100
_WAITING_AT_ONCE = 256


class Claims:
    """The control plane in Redis. `now_ms` replaces Redis' own time (tests)."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._store = store
        self._scripts = Scripts(store, now_ms=now_ms)

    # -- the record -------------------------------------------------------------------------------------------------

    async def create(self, record: SessionRecord) -> bool:
        """Write a new session's record, without owner: Pending, or Recovering if `record` has an epoch (it was lost).

        False if the session exists: then its spec, pools and key ids are updated and everything else is left alone (a
        finished session stays finished).
        """
        (created,) = await self._scripts.run("create", record.name, json.dumps(to_fields(record)))
        return bool(created)

    async def record(self, session: str) -> SessionRecord | None:
        fields = await cast("Any", self._store.hgetall(keys.record(session)))
        return replies.record(fields)

    async def records(self) -> list[SessionRecord]:
        """Every session, by name. Not one moment's picture: each record is read on its own."""
        return list((await self.records_of(sorted(await self.sessions()))).values())

    async def records_of(self, sessions: Sequence[str]) -> dict[str, SessionRecord]:
        """The records of these sessions, in their order; who has none is left out. Each is read on its own."""
        records: dict[str, SessionRecord] = {}
        for start in range(0, len(sessions), _RECORDS_AT_ONCE):
            names = sessions[start : start + _RECORDS_AT_ONCE]
            async with self._store.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.hgetall(keys.record(name))
                found = [replies.record(fields) for fields in await cast("Any", pipeline.execute())]
            records |= {name: record for name, record in zip(names, found, strict=True) if record is not None}
        return records

    async def sessions(self) -> set[str]:
        """The names of all records."""
        return set(decoded(list(await cast("Any", self._store.smembers(keys.SESSIONS)))))

    async def forget(self, session: str) -> bool:
        """Delete the record of a finished or unowned session; False if it is owned or unknown.

        The session data (snapshot, control stream, fence) lies in another slot: who sees the event deletes it.
        """
        (forgotten,) = await self._scripts.run("forget", session)
        return bool(forgotten)

    async def set_phase(self, session: str, epoch: int, phase: Phase, reason: str = "") -> bool:
        """Write the phase as the owner under `epoch`, or with epoch 0 for a session that nobody owns.

        Ended and Failed release the claim. False if somebody else owns it, nobody does (epoch > 0), or it is finished.
        """
        (written,) = await self._scripts.run("set_phase", session, epoch, phase.value, reason)
        return bool(written)

    async def touch(self, session: str) -> None:
        """Somebody publishes or watches: the idle timeout starts anew. Nothing happens to a finished session."""
        await self._scripts.run("touch", session)

    async def remember_control(self, session: str, values: Mapping[str, str], id: str) -> None:  # noqa: A002 - the stream's word
        """Keep the last value per control field; a field whose known id is newer than `id` is left alone."""
        await self._scripts.run("remember_control", session, id, json.dumps(dict(values)))

    async def note_snapshot_format(self, session: str, *, epoch: int, version: int) -> bool:
        """The stored snapshot has this format (0: none), so that `move` chooses who reads it. False: stale epoch."""
        (written,) = await self._scripts.run("snapshot_format", session, epoch, version)
        return bool(written)

    async def settle_orientation(
        self, session: str, *, epoch: int, run: int, orientation: Orientation
    ) -> tuple[Orientation | None, int]:
        """Settle the orientation of a publication, unless it is settled; what holds now, and the run that settled it.

        The owner does it with a publication's first picture. Later turns within the publication change nothing. An
        owner of before is told what holds: (None, 0) where nothing is settled yet.
        """
        settled, by_run = await self._scripts.run("orientation", session, epoch, run, orientation.value)
        return Orientation(settled) if settled else None, int(by_run)

    # -- workers ----------------------------------------------------------------------------------------------------

    async def register(self, offer: WorkerOffer) -> tuple[str, ...]:
        """A worker process starts. Returns the sessions of an older incarnation, whose claims are void now.

        Its heartbeat counts as fresh until `HEARTBEAT_STALE_MS` later. Repeating it with the same incarnation changes
        nothing that the worker owns.
        """
        return tuple(await self._scripts.run("register", arguments.offer(offer)))

    async def renew(
        self,
        identity: WorkerIdentity,
        *,
        progress: int,
        links: Mapping[str, Sequence[str]],
        snapshots: Mapping[str, SnapshotAsk] = MappingProxyType({}),
        vitals: Vitals | None = None,
    ) -> Renewal:
        """The worker's heartbeat, every 0.5 s. It renews all leases of the worker if its engine has made progress.

        `progress` is the engine loop's own counter: it must be above that of the last heartbeat. `links` says for each
        session which gateways are linked for it, `snapshots` which bytes are asked for its snapshot; a session that is
        not asked for keeps what is booked. With `vitals` the leases of a worker whose engine stands still, no longer
        than is normal for it, are renewed as well; and they last longer where more is normal.
        """
        linked = json.dumps({session: list(gateways) for session, gateways in links.items()})
        asked = json.dumps({name: (ask.epoch, ask.holds, ask.needs, ask.wants) for name, ask in snapshots.items()})
        reply = await self._scripts.run(
            "renew", identity.name, identity.incarnation, progress, linked, asked, *arguments.vitals(vitals)
        )
        status, holding, closed, owned, granted, ceilings = reply
        epochs = {session: int(epoch) for session, epoch in replies.pairs(owned)}
        return Renewal(
            known=status == "known",
            superseded=status == "superseded",
            holding=bool(holding),
            closed=bool(closed),
            owned=epochs,
            snapshots={session: int(size) for session, size in replies.pairs(granted)},
            ceilings=replies.ceilings(ceilings, epochs),
        )

    async def close(self, identity: WorkerIdentity) -> tuple[str, ...]:
        """The worker drains: it gets no new claims. Returns the sessions left; () as well if it is unknown."""
        return tuple(await self._scripts.run("close", identity.name, identity.incarnation))

    async def reassert(self, offer: WorkerOffer, held: Sequence[Held], *, closed: bool = False) -> Reasserted:
        """After Redis lost its data: register, and claim again what the worker still serves, in one step.

        A session is refused if another worker owns it by a higher epoch, if it has finished, or if new claims have
        taken its room. All are refused if a newer incarnation has the name. A missing record is written back, owned or
        not. `closed`: the worker drains.
        """
        entries = [
            {"session": one.session, "epoch": str(one.epoch), "cost": one.cost, "record": to_fields(one.record)}
            for one in held
        ]
        kept, refused = await self._scripts.run("reassert", arguments.offer(offer), json.dumps(entries), int(closed))
        return Reasserted(tuple(kept), tuple(refused))

    async def worker(self, name: str) -> WorkerView | None:
        views = await self._scripts.run("workers", name)
        return replies.view(views[0]) if views else None

    async def workers(self) -> list[WorkerView]:
        """Every worker that is known, by name."""
        return [replies.view(reply) for reply in await self._scripts.run("workers")]

    async def run_id(self) -> str | None:
        """Which Redis the scripts have met last; None where nobody has noted it since it lost its data."""
        noted = await cast("Any", self._store.hget(keys.GUARD, "run_id"))
        return None if noted is None else str(decoded(noted))

    async def proven_ms(self) -> int:
        """Proven time now, `PROOF_EVERY_MS` ago at most where scripts run all the time; 0 before the first one."""
        noted = await cast("Any", self._store.hget(keys.CLOCK, "proven_ms"))
        return 0 if noted is None else int(noted)

    async def reserves(self, pools: Sequence[str]) -> dict[str, int]:
        """What `claim` leaves free in each of these pools, in thousandths; 0 where nobody has said."""
        async with self._store.pipeline(transaction=False) as pipeline:
            for pool in pools:
                pipeline.hget(keys.pool_settings(pool), "reserve")
            found = await cast("Any", pipeline.execute())
        return {pool: int(one or 0) for pool, one in zip(pools, found, strict=True)}

    async def set_reserve(self, pool: str, reserve: int) -> None:
        """Thousandths of the pool's workers that `claim` must leave free for moves."""
        await cast("Any", self._store.hset(keys.pool_settings(pool), "reserve", str(reserve)))

    async def expect_worker(self, pool: str, in_ms: int) -> None:
        """Say when the pool's next worker is expected to be ready, from now. It is forgotten once that has passed."""
        await self._scripts.run("expect_worker", pool, in_ms)

    # -- claims -----------------------------------------------------------------------------------------------------

    async def claim(self, session: str, *, seen_epoch: int = 0) -> Claim:
        """Give the session to the fullest worker with room, in the order of its pools; or answer the claim it has.

        It gets the highest level that there is room for now, from what it requests down to what its spec allows. Only
        where its own model has no room at any level, and the session never ran, a model that stands in is tried.

        `seen_epoch` is the highest epoch that the caller has seen: a claim of a lower one, which an older replica may
        tell of, is over. Raises UnknownSession, SessionEnded, NoCapacity, MoveHeld (while the owner of that higher
        epoch may be about to reassert it), Overloaded (a session that never had a worker gets none that is overloaded).
        """
        reply = await self._scripts.run("claim", session, seen_epoch)
        if reply[0] == "held":
            raise MoveHeld(session)
        return replies.claim(session, reply)

    async def room(self, session: str) -> Room | None:
        """Whether a claim would find a worker now, for people who wait; None for a session without a record."""
        reply = await self._scripts.run("room", session)
        if not reply:
            return None
        workers, fits, next_ms, overloaded, worker_ms = reply
        return Room(
            int(workers),
            bool(fits),
            int(next_ms) if next_ms else None,
            overloaded=bool(overloaded),
            worker_ms=int(worker_ms) if worker_ms else None,
        )

    async def move(
        self, session: str, *, expected_epoch: int, suspect: str | None, cause: MoveCause, steps: int | None = None
    ) -> Move:
        """Give the session to another worker than `suspect` and its owner, if its epoch is still `expected_epoch`.

        It is a compare-and-set; the new epoch is above `expected_epoch` even where Redis went back to an older replica.
        Who comes second gets the winner's claim, with `won` False; so does EXPIRED when the
        lease was renewed meanwhile. A move may use the pool's reserve. After DRAIN and REQUESTED the old worker serves
        on until the handover; they find a worker with room for what is granted at least. The others take one with room
        for fewer steps, as far as the spec allows, rather than none. With `steps` it moves for their sake: to a worker
        with room for so many, and it pays for them.
        A session whose owner went with its incarnation may go back to the same name: leave
        `suspect` None.

        Raises UnknownSession, SessionEnded, NoCapacity (nothing has changed), MoveHeld (SILENT and EXPIRED, while Redis
        is newly back or takes no writes), StaleEpoch (another epoch, and nobody owns it now: read the record again).
        """
        reply = await self._scripts.run("move", session, expected_epoch, suspect or "", cause.value, steps or "")
        if reply[0] == "held":
            raise MoveHeld(session)
        if reply[0] == "stale":
            raise StaleEpoch(session, epoch=expected_epoch, current=int(reply[1]))
        return Move(replies.claim(session, reply), won=reply[0] == "won")

    async def fit(self, session: str, *, expected_epoch: int) -> Fit:
        """Have a claim pay for what the record requests now, after `create` has changed the record.

        The epoch stays, and nothing moves. What it pays too much its worker gives back. Raises UnknownSession,
        SessionEnded.
        """
        outcome, *_ = await self._scripts.run("grant", session, "", expected_epoch)
        return Fit(replies.outcome(session, outcome))

    async def grant(self, session: str, steps: int) -> GrantAnswer:
        """Users are about to ask for so many steps: pay for as many as there is room for, where the session is.

        It stands before the wish is written down, so that nobody runs what is not paid for. What is missing is granted
        once the wish is in the record and its worker has room; one that says it is overloaded has none. Asking for
        fewer changes nothing at once: what nobody has asked for in `GIVE_BACK_MS` is given back. Raises UnknownSession,
        SessionEnded.
        """
        outcome, granted, *every = await self._scripts.run("grant", session, steps, "")
        known = replies.outcome(session, outcome)
        if not granted:
            return GrantAnswer(GrantOutcome.UNSERVED)
        return GrantAnswer(GrantOutcome(known), int(granted), int(every[0]) if every else 1)

    async def settle(self, session: str, *, epoch: int, number: int) -> bool:
        """The worker begins no chunk with more steps than this grant has: the claim pays for no more.

        False, and nothing has changed, if it is not the newest grant of the claim of that epoch.
        """
        (settled,) = await self._scripts.run("settle", session, epoch, number)
        return bool(settled)

    # -- plans of levels --------------------------------------------------------------------------------------------

    async def limit(self, session: str, *, epoch: int, number: int, steps: int | None, every: int = 1) -> LimitOutcome:
        """A plan allows the claim of `epoch` so many steps of every frame, or of every second one; None: no limit.

        It is a compare-and-set on `number`, that of the grant which the plan knew. Downwards what is granted falls at
        once, the worker is told, and the claim gets cheaper when the worker has settled it. Upwards the claim pays
        first, as far as there is room; heartbeats add the rest, and go no higher. STALE as well for a level that the
        spec does not allow, for a pool without levels, and for a worker that knows no such level.
        """
        told = "" if steps is None else steps
        (outcome,) = await self._scripts.run("limit", session, epoch, number, told, every)
        return LimitOutcome(outcome)

    async def waiting(self, pool: str) -> tuple[Waiting, ...]:
        """Who found no room in that pool and asked for it in the last `WAITS_MS`, longest first; 256 at most.

        Claims that found none write it down, and moves of sessions that lose their worker or whose worker leaves; not
        those that a person asks for. It is over when the session is served, finished or forgotten.
        """
        found = await self._scripts.run("waiting", pool, _WAITING_AT_ONCE)
        return tuple(
            Waiting(session, int(since_ms), bool(recovers), kept_at or None)
            for session, since_ms, recovers, kept_at in found
        )

    async def decide(self, pool: str, *, holder: str, rank: int) -> bool:
        """Whether `holder` decides on the levels of that pool for `DECIDES_MS` of proven time from now.

        Asked again in time it stays so, until somebody of a lower rank asks: the operator is 0, a gateway 1.
        """
        (decides,) = await self._scripts.run("decide", pool, holder, rank)
        return bool(decides)

    async def release(self, session: str, *, epoch: int, phase: Phase, reason: str = "") -> bool:
        """Give the claim of `epoch` back and write the phase; False if it is not the one that holds."""
        (released,) = await self._scripts.run("release", session, epoch, phase.value, reason)
        return bool(released)

    async def expire(self, limit: int = 100) -> tuple[str, ...]:
        """Sweep what is due, at most `limit` of each kind. Any gateway calls it, often.

        Returns the sessions whose lease ran out: they have no owner now and are Recovering. Also ends idle sessions,
        forgets finished ones after their time, and drops workers that are long silent and own nothing. () while Redis
        is newly back or takes no writes.
        """
        return tuple(await self._scripts.run("expire", limit))

    # -- streams ----------------------------------------------------------------------------------------------------

    async def assignments(self, identity: WorkerIdentity, after: str, block_ms: int) -> list[Assignment]:
        """The worker's inbox after that id ("0": from its start); waits for at most `block_ms` (capped at 2 s)."""
        entries = await self._read(keys.inbox(identity.name), after, block_ms)
        return [
            known
            for entry, fields in entries
            if fields["incarnation"] == identity.incarnation
            if (known := replies.assignment(entry, fields)) is not None
        ]

    async def events(self, after: str, block_ms: int) -> list[Event]:
        """What happened after that id (see `last_event`); waits for at most `block_ms` (capped at 2 s)."""
        entries = await self._read(keys.EVENTS, after, block_ms)
        return [known for entry, fields in entries if (known := replies.event(entry, fields)) is not None]

    async def last_event(self) -> str:
        """The id of the newest event, to follow `events` from now on."""
        newest = decoded(await cast("Any", self._store.xrevrange(keys.EVENTS, count=1)))
        return str(newest[0][0]) if newest else "0-0"

    async def _read(self, stream: str, after: str, block_ms: int) -> list[tuple[str, dict[str, str]]]:
        block = min(block_ms, MAX_BLOCK_MS) or None
        reply = await cast("Any", self._store.xread({stream: after}, count=EVENTS_AT_ONCE, block=block))
        entries = reply[0][1] if reply else []
        return [
            (decoded(entry), {decoded(key): decoded(value) for key, value in fields.items()})
            for entry, fields in entries
        ]
