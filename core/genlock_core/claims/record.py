"""The session's record: everything that a gateway or a worker needs to serve or to move a session without the operator.

In Redis it is one hash of strings; `to_fields` and `from_fields` are the two directions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from genlock_core.claims.identity import WorkerIdentity
from genlock_core.spec.session import AccessSpec, Phase, ResolvedSession

FINISHED = frozenset({Phase.ENDED, Phase.FAILED})
"""Phases that a session never leaves."""

_VALUE, _ID = "control:", "control_id:"


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """A pool that can serve the session, and what it costs there, in thousandths of one of its workers."""

    pool: str
    cost: int


@dataclass(frozen=True, slots=True)
class ControlValue:
    """The last value of a control field, as text, and the id that its entry had in the control stream."""

    value: str
    id: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as Redis knows it. Times are Redis' own; 0 is "not yet"."""

    session: ResolvedSession
    pools: tuple[PoolChoice, ...]
    """In order of preference."""
    phase: Phase = Phase.PENDING
    epoch: int = 0
    """Of the last claim, also when its owner has gone; 0: never claimed."""

    # The claim that holds now.
    owner: WorkerIdentity | None = None
    address: str = ""
    pool: str = ""
    cost: int = 0

    snapshot_format: int = 0
    """Of the stored snapshot; 0 while there is none."""
    control: Mapping[str, ControlValue] = field(default_factory=dict)
    """The last value of each control field."""
    key_ids: tuple[str, ...] = ()
    created_ms: int = 0
    """`Claims.create` fills it in, as `active_ms`."""
    active_ms: int = 0
    """When somebody last published or watched."""
    finished_ms: int = 0
    reason: str = ""
    """Why the phase is what it is; "" if that is plain."""
    uid: str = ""
    """The StreamSession object that it was made from; "" without a cluster."""

    @property
    def name(self) -> str:
        """`namespace/name`."""
        return str(self.session.key)

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED


def to_fields(record: SessionRecord) -> dict[str, str]:
    """The record as the hash in Redis; what has no value is left out."""
    fields = {
        # A release that does not know a field of the spec reads no record that has it, and no list with that record. So
        # the sites stand beside the spec: who does not know them lets no page of theirs in.
        "spec": record.session.model_dump_json(by_alias=True, exclude={"access": {"origins"}}),
        "origins": json.dumps(list(record.session.access.origins)),
        "pools": json.dumps([{"pool": choice.pool, "cost": choice.cost} for choice in record.pools]),
        "idle_timeout_ms": str(record.session.idle_timeout_ms),
        "ttl_ms": str(record.session.ttl_seconds_after_finished * 1_000),
        "key_ids": json.dumps(list(record.key_ids)),
        "phase": record.phase.value,
        "reason": record.reason,
        "epoch": str(record.epoch),
        "snapshot_format": str(record.snapshot_format),
        "created_ms": str(record.created_ms),
        "active_ms": str(record.active_ms),
        "finished_ms": str(record.finished_ms),
        "uid": record.uid,
    }

    if record.owner is not None:
        fields |= {
            "owner": record.owner.name,
            "incarnation": record.owner.incarnation,
            "address": record.address,
            "pool": record.pool,
            "cost": str(record.cost),
        }

    # Two fields each, so that a script can set one control value without reading the others.
    for name, control in record.control.items():
        fields[_VALUE + name] = control.value
        fields[_ID + name] = control.id
    return fields


def from_fields(fields: Mapping[str, str]) -> SessionRecord:
    """The record that `to_fields`, or a script, wrote. Raises KeyError or ValueError if the hash is no record."""
    owner = fields.get("owner")
    session = ResolvedSession.model_validate_json(fields["spec"])
    access = AccessSpec(
        publish=session.access.publish,
        view=session.access.view,
        origins=tuple(json.loads(fields.get("origins", "[]"))),
    )
    return SessionRecord(
        session=session.model_copy(update={"access": access}),
        pools=tuple(PoolChoice(choice["pool"], choice["cost"]) for choice in json.loads(fields["pools"])),
        phase=Phase(fields["phase"]),
        epoch=int(fields["epoch"]),
        owner=WorkerIdentity(owner, fields["incarnation"]) if owner else None,
        address=fields.get("address", ""),
        pool=fields.get("pool", ""),
        cost=int(fields.get("cost", "0")),
        snapshot_format=int(fields["snapshot_format"]),
        control={
            key.removeprefix(_VALUE): ControlValue(value, fields[_ID + key.removeprefix(_VALUE)])
            for key, value in fields.items()
            if key.startswith(_VALUE)
        },
        key_ids=tuple(json.loads(fields["key_ids"])),
        created_ms=int(fields["created_ms"]),
        active_ms=int(fields["active_ms"]),
        finished_ms=int(fields["finished_ms"]),
        reason=fields["reason"],
        uid=fields.get("uid", ""),
    )
