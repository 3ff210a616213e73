"""What the scripts of `claims` answer, as facts and errors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genlock_core.claims.facts import (
    Assignment,
    AssignmentKind,
    Ceiling,
    Claim,
    Event,
    EventKind,
    MoveCause,
    SessionEnded,
    WorkerState,
    WorkerView,
)
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.lua import decoded
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import LevelLimit, SessionRecord, from_fields
from genlock_core.errors import NoCapacity, Overloaded, UnknownSession

_ASSIGNMENT_KINDS = frozenset(kind.value for kind in AssignmentKind)
_EVENT_KINDS = frozenset(kind.value for kind in EventKind)


def record(fields: Any) -> SessionRecord | None:
    """The record in a hash as redis-py gives it; None for an empty one: there is no such key."""
    return from_fields({decoded(key): decoded(value) for key, value in fields.items()}) if fields else None


def claim(session: str, reply: Sequence[Any]) -> Claim:
    """The claim that `claim` and `move` grant, behind the status. Raises UnknownSession, SessionEnded, NoCapacity."""
    match reply[0]:
        case "unknown":
            raise UnknownSession(session)
        case "ended":
            raise SessionEnded(session)
        case "full":
            raise NoCapacity(session, str(reply[1]))
        case "overloaded":
            raise Overloaded(session)
    epoch, worker, incarnation, address, pool, cost = reply[1:]
    return Claim(session, int(epoch), WorkerIdentity(worker, incarnation), address, pool, int(cost))


def view(reply: Sequence[Any]) -> WorkerView:
    """A worker: its name, its heartbeat's age, its hash, and its sessions with `epoch:cost` each."""
    name, age_ms, flat, sessions = reply
    fields = dict(pairs(flat))
    linked: Mapping[str, Iterable[str]] = json.loads(fields["links"])
    return WorkerView(
        identity=WorkerIdentity(name, fields["incarnation"]),
        pool=fields["pool"],
        model=fields["model"],
        address=fields["address"],
        state=WorkerState(fields["state"]),
        heartbeat_age_ms=int(age_ms),
        progress=int(fields["progress"]),
        links={session: tuple(gateways) for session, gateways in linked.items()},
        capacity=int(fields["capacity"]),
        free=int(fields["free"]),
        sessions={session: int(held.split(":")[0]) for session, held in pairs(sessions)},
        formats=FormatRange(int(fields["oldest"]), int(fields["newest"])),
        gpu_product=fields["gpu_product"],
        gpus=int(fields["gpus"]),
        engine=fields.get("engine", ""),
        vitals=_vitals(fields),
        ceilings=fields.get("ceilings") == "1",
        halves=fields.get("halves") == "1",
        limits=fields.get("ceilings") == "1" and "halves" in fields,
    )


def outcome(session: str, status: str) -> str:
    """What `grant` says became of it. Raises UnknownSession, SessionEnded."""
    match status:
        case "unknown":
            raise UnknownSession(session)
        case "ended":
            raise SessionEnded(session)
    return status


def ceilings(flat: Sequence[str], epochs: Mapping[str, int]) -> dict[str, Ceiling]:
    """Session, steps, every, number, cost, due, limit and since when it is below its request, for each in turn."""
    told = zip(*(flat[at::8] for at in range(8)), strict=True)
    return {
        session: Ceiling(
            steps=int(steps),
            every=int(every),
            number=int(number),
            cost=int(cost),
            due=int(due),
            limit=LevelLimit.of(limit, epochs[session]) if limit else None,
            below_since_ms=int(below_ms),
        )
        for session, steps, every, number, cost, due, limit, below_ms in told
    }


def _vitals(fields: Mapping[str, str]) -> Vitals | None:
    if "alive" not in fields:
        return None
    return Vitals(
        alive=int(fields["alive"]),
        phase=fields["phase"],
        late_ms=int(fields["late_ms"]),
        patience_ms=int(fields["patience_ms"]),
        patient=fields["patient"] == "1",
        overloaded=fields.get("overloaded") == "1",
    )


def assignment(entry: str, fields: Mapping[str, str]) -> Assignment | None:
    """An entry of a worker's inbox; None for a kind that only a later release knows."""
    if fields["kind"] not in _ASSIGNMENT_KINDS:
        return None
    return Assignment(
        id=entry,
        kind=AssignmentKind(fields["kind"]),
        session=fields["session"],
        epoch=int(fields["epoch"]),
        cause=MoveCause(fields["cause"]) if fields["cause"] else None,
        successor_epoch=int(fields["successor_epoch"]),
        successor_address=fields["successor_address"],
    )


def event(entry: str, fields: Mapping[str, str]) -> Event | None:
    """An entry of the events; None for a kind that only a later release knows.

    What the release before does not know stands beside a kind that it knows: for it the record is to be read anew.
    """
    kind = fields.get("news", fields["kind"])
    if kind not in _EVENT_KINDS:
        return None
    return Event(entry, EventKind(kind), fields["session"], int(fields["epoch"]), fields["detail"])


def pairs(flat: Sequence[str]) -> Iterable[tuple[str, str]]:
    """A hash as Redis sends it, key and value in turn."""
    return zip(flat[::2], flat[1::2], strict=True)
