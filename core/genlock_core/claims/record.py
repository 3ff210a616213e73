"""The session's record: everything that a gateway or a worker needs to serve or to move a session without the operator.

In Redis it is one hash of strings; `to_fields` and `from_fields` are the two directions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ConfigDict

from genlock_core.approximation.levels import Level
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.price_list import HalfRate, PoolChoice
from genlock_core.spec.session import (
    AccessSpec,
    ApproximationPolicy,
    Model,
    Orientation,
    Phase,
    PictureFit,
    Resolution,
    ResolvedSession,
)

__all__ = [
    "FINISHED",
    "ControlValue",
    "Granted",
    "HalfRate",
    "LevelLimit",
    "PoolChoice",
    "SessionRecord",
    "from_fields",
    "to_fields",
]

FINISHED = frozenset({Phase.ENDED, Phase.FAILED})
"""Phases that a session never leaves."""

_VALUE, _ID = "control:", "control_id:"

_BESIDE_SPEC: Final[dict[str, Any]] = {
    "access": {"origins"},
    "approximation": {"min_frame_rate", "models"},
    "orientation": True,
    "fit": True,
}


class _Shape(Model):
    """What stands beside the spec; what a later release adds to it is left out here."""

    model_config = ConfigDict(extra="ignore")

    orientation: Orientation | None = None
    fit: PictureFit = PictureFit.CROP
    min_frame_rate: int | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """A level that the claim pays for; the worker runs no more."""

    steps: int
    number: int
    """Of the change that granted it: it grows with each."""
    since_ms: int = 0
    every: int = 1
    """Every how many-th frame of the source is generated, 1 or 2."""

    @property
    def level(self) -> Level:
        return Level(self.steps, every=self.every)


_ROOM_FOR_OTHERS: Final = "busy"
"""Why a plan limits a claim. There is no other reason; the word stands in the record since it was first written."""


@dataclass(frozen=True, slots=True)
class LevelLimit:
    """The most that the plan of levels allows a claim; it ends with that claim."""

    steps: int
    every: int
    since_ms: int

    def to_text(self, epoch: int) -> str:
        """The limit of the claim of that epoch, as it stands in the record."""
        return f"{epoch} {self.steps} {self.every} {_ROOM_FOR_OTHERS} {self.since_ms}"

    @classmethod
    def of(cls, text: str, epoch: int) -> "LevelLimit | None":
        """What `to_text` or a script wrote; None where it is of another claim. Raises ValueError if it is no limit."""
        of_epoch, steps, every, _, since_ms = text.split()
        if int(of_epoch) != epoch:
            return None
        return cls(int(steps), int(every), int(since_ms))


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
    """In order of preference; those with a model that stands in come last."""
    phase: Phase = Phase.PENDING
    epoch: int = 0
    """Of the last claim, also when its owner has gone; 0: never claimed."""

    # The claim that holds now.
    owner: WorkerIdentity | None = None
    address: str = ""
    pool: str = ""
    cost: int = 0
    granted: Granted | None = None
    """What the last claim pays for, or paid for; None where its release knew no levels."""
    limit: LevelLimit | None = None
    """The most that the plan of levels allows the last claim; None: all that is requested."""
    below_since_ms: int = 0
    """Since when less is granted than is requested, in proven time; 0: it is not."""
    stand_in: str | None = None
    """The model that its first claim found instead of its own, for the session's life."""

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

    # Of a session whose orientation is auto; only `Claims.settle_orientation` writes them.
    orientation: Orientation | None = None
    """That of its newest publication; None before the first picture."""
    orientation_run: int = 0
    """The publication that settled it."""

    @property
    def name(self) -> str:
        """`namespace/name`."""
        return str(self.session.key)

    @property
    def requested_steps(self) -> int:
        """What the user wants: what was said last, else what the spec says."""
        said = self.control.get("steps")
        return int(said.value) if said is not None and said.value.isdecimal() else self.session.steps

    @property
    def is_steered(self) -> bool:
        """Its users want other steps than its spec."""
        return self.requested_steps != self.session.steps

    @property
    def choices(self) -> tuple[PoolChoice, ...]:
        """Where a claim or a move looks: the pools of the model that it runs with.

        A session that never ran may find one of a model that stands in as well, where these have no room.
        """
        standing_in = tuple(choice for choice in self.pools if choice.model == self.stand_in)
        return standing_in or tuple(choice for choice in self.pools if choice.model is None)

    def least_cost_in(self, choice: PoolChoice, *, halves: bool) -> int:
        """What it costs at the lowest level at which it is claimed there; `halves`: by a worker that can leave out
        every second frame."""
        cost = choice.cost_at(self.lowest_steps)
        is_lowered = self.session.approximation.policy is ApproximationPolicy.ADAPTIVE
        may_halve = halves and is_lowered and choice.half is not None and choice.half.steps <= self.requested_steps
        return min(cost, choice.half.cost) if may_halve and choice.half is not None else cost

    @property
    def lowest_steps(self) -> int:
        """With no fewer steps of every frame it goes to a worker."""
        approximation = self.session.approximation
        granted = self.requested_steps if self.granted is None else self.granted.steps
        if approximation.policy is ApproximationPolicy.ADAPTIVE:
            granted = min(granted, approximation.min_steps)
        return min(self.requested_steps, granted)

    @property
    def model(self) -> str:
        """What it runs with, or would: the model that stands in for its own, else its own."""
        if self.stand_in is None:
            return self.session.model

        # A gateway of the release before knows no model that stands in, and claims a worker of its own.
        own = {choice.pool for choice in self.pools if choice.model is None}
        return self.session.model if self.owner is not None and self.pool in own else self.stand_in

    @property
    def standing_in(self) -> str | None:
        """The model that stands in for its own; None: it runs with its own, or will."""
        return self.model if self.model != self.session.model else None

    @property
    def resolution(self) -> Resolution:
        """What is made, as far as it is settled."""
        resolution = self.session.resolution
        return resolution.turned(self.orientation) if self.session.orientation is Orientation.AUTO else resolution

    @property
    def made(self) -> ResolvedSession:
        """The session at the resolution that is made."""
        return self.session.model_copy(update={"resolution": self.resolution})

    def settled(self, orientation: Orientation | None, run: int) -> "SessionRecord":
        """With the orientation that this publication settled."""
        return replace(self, orientation=orientation, orientation_run=run)

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED


def to_fields(record: SessionRecord) -> dict[str, str]:
    """The record as the hash in Redis; what has no value is left out."""
    fields = {
        # A release that does not know a field of the spec reads no record that has it, and no list with that record. So
        # these stand beside the spec. Who does not know the sites lets no page of theirs in; who does not know the
        # shape turns nothing, crops, and leaves out no frame.
        "spec": record.session.model_dump_json(by_alias=True, exclude=_BESIDE_SPEC),
        "origins": json.dumps(list(record.session.access.origins)),
        "shape": _shape_of(record.session).model_dump_json(by_alias=True),
        # A release that knows no model that stands in would take its pool for one of the session's own model.
        "pools": json.dumps([choice.to_json() for choice in record.pools if choice.model is None]),
        "stand_ins": json.dumps([choice.to_json() for choice in record.pools if choice.model is not None]),
        "steps": str(record.session.steps),
        "min_steps": _min_steps(record.session),
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

    if record.granted is not None:
        fields |= {
            "granted": str(record.granted.steps),
            "granted_epoch": str(record.epoch),
            "granted_number": str(record.granted.number),
            "granted_ms": str(record.granted.since_ms),
        }
        if record.granted.every > 1:
            fields["granted_half"] = str(record.granted.number)

    if record.limit is not None:
        fields["limit"] = record.limit.to_text(record.epoch)
    if record.below_since_ms:
        fields["below_ms"] = str(record.below_since_ms)
    if record.stand_in is not None:
        fields["model"] = record.stand_in

    if record.orientation is not None:
        fields |= {"orientation": record.orientation.value, "orientation_run": str(record.orientation_run)}

    # Two fields each, so that a script can set one control value without reading the others.
    for name, control in record.control.items():
        fields[_VALUE + name] = control.value
        fields[_ID + name] = control.id
    return fields


def _shape_of(session: ResolvedSession) -> _Shape:
    return _Shape(
        orientation=session.orientation,
        fit=session.fit,
        min_frame_rate=session.approximation.min_frame_rate,
        models=session.approximation.models,
    )


def from_fields(fields: Mapping[str, str]) -> SessionRecord:
    """The record that `to_fields`, or a script, wrote. Raises KeyError or ValueError if the hash is no record."""
    owner = fields.get("owner")
    session = ResolvedSession.model_validate_json(fields["spec"])
    access = AccessSpec(
        publish=session.access.publish,
        view=session.access.view,
        origins=tuple(json.loads(fields.get("origins", "[]"))),
    )
    shape = _Shape.model_validate_json(fields.get("shape", "{}"))
    beside_spec = {
        "access": access,
        "approximation": session.approximation.model_copy(
            update={"min_frame_rate": shape.min_frame_rate, "models": shape.models}
        ),
        "orientation": shape.orientation,
        "fit": shape.fit,
    }
    return SessionRecord(
        session=session.model_copy(update=beside_spec),
        pools=tuple(
            PoolChoice.from_json(choice)
            for choice in (*json.loads(fields["pools"]), *json.loads(fields.get("stand_ins", "[]")))
        ),
        phase=Phase(fields["phase"]),
        epoch=int(fields["epoch"]),
        owner=WorkerIdentity(owner, fields["incarnation"]) if owner else None,
        address=fields.get("address", ""),
        pool=fields.get("pool", ""),
        cost=int(fields.get("cost", "0")),
        granted=_granted(fields),
        limit=LevelLimit.of(fields["limit"], int(fields["epoch"])) if "limit" in fields else None,
        below_since_ms=int(fields.get("below_ms", "0")),
        stand_in=fields.get("model"),
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
        orientation=Orientation(fields["orientation"]) if "orientation" in fields else None,
        orientation_run=int(fields.get("orientation_run", "0")),
    )


def _min_steps(session: ResolvedSession) -> str:
    """Beside the spec for the scripts, as the timeouts; empty where its steps are never lowered."""
    adaptive = session.approximation.policy is ApproximationPolicy.ADAPTIVE
    return str(session.approximation.min_steps) if adaptive else ""


def _granted(fields: Mapping[str, str]) -> Granted | None:
    """None as well where the release before has claimed the session since: it grants nothing."""
    if "granted" not in fields or fields["granted_epoch"] != fields["epoch"]:
        return None
    return Granted(
        steps=int(fields["granted"]),
        number=int(fields["granted_number"]),
        since_ms=int(fields["granted_ms"]),
        # A release that knows no halves leaves the field as it is when it grants anew, under another number.
        every=2 if fields.get("granted_half") == fields["granted_number"] else 1,
    )
