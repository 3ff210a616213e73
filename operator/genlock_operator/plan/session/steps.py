"""What changes a session's stream next: a record is made, brought up to date, claimed for, moved, fitted.

At most one of these steps is asked for at a time. What comes of it has to be seen before the next is chosen.
"""

from dataclasses import replace

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.liveness import HOLD_MS
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import ResolvedSession
from genlock_core.spec.status import ConditionType, SessionStatus
from genlock_core.stream_state.control import ControlChange
from genlock_operator.actions import ChangeStream, ClaimWorker, FitClaim, MoveSession, SessionAction, StoreRecord, Tell
from genlock_operator.observed import Meta
from genlock_operator.plan.conditions import find, milliseconds
from genlock_operator.plan.session.facts import SessionFacts
from genlock_operator.reasons import EventReason

WHOLE_SECOND_MS = 1_000
"""Conditions tell their times in whole seconds."""


def next_steps(facts: SessionFacts, now_ms: int) -> list[SessionAction]:
    """The next step; nothing where the stream is as it should be, or has to wait for room."""
    record = facts.record
    if record is None:
        return _create(facts, now_ms) if facts.foreign is None else []

    # Claims and moves read the record in Redis, so it says what the spec says before they are asked for.
    changes = _bring_up_to_date(facts, record)
    if changes:
        return changes
    if facts.seen.refusal:
        return []

    if facts.owner is None:
        wanted = record.epoch > 0 or facts.placement is not None
        return [ClaimWorker(record.name)] if wanted else []
    if facts.needs_move:
        steps = facts.seen.session.steps if facts.seen.session is not None else None
        return [MoveSession(record.name, record.epoch, MoveCause.REQUESTED, steps)]

    # Only upwards, and for the spec. What it pays too much its worker gives back, once it runs no more than that.
    return [FitClaim(record.name, record.epoch)] if facts.underpays and not record.is_steered else []


def _create(facts: SessionFacts, now_ms: int) -> list[SessionAction]:
    """A new record; or one that Redis lost: its epochs go on from the one that was seen last."""
    session = facts.seen.session
    stored = facts.stored
    if session is None or facts.placement is None:
        return []
    if stored.epoch and not _nobody_brings_it_back(stored, now_ms):
        return []
    record = SessionRecord(
        session=session,
        pools=facts.placement.choices,
        epoch=stored.epoch or 0,
        uid=facts.meta.uid,
    )
    return [StoreRecord(record)]


def _nobody_brings_it_back(stored: SessionStatus, now_ms: int) -> bool:
    """Has a lost record been missing for so long that its worker would have reasserted it, did it still serve?"""
    assigned = find(stored.conditions, ConditionType.ASSIGNED)
    if assigned is None or assigned.status != "False":
        return False
    return now_ms - milliseconds(assigned.last_transition_time) >= HOLD_MS + WHOLE_SECOND_MS


def _bring_up_to_date(facts: SessionFacts, record: SessionRecord) -> list[SessionAction]:
    """The stream first, the record afterwards: after a crash in between the same change is asked for again."""
    session = facts.attainable
    if session is None:
        return []
    pools = facts.placement.choices if facts.placement is not None else record.pools
    if (session, pools) == (record.session, record.pools):
        return []
    steered = _steer(record.name, record.session, session, facts.meta)
    return [*steered, StoreRecord(replace(record, session=session, pools=pools))]


def _steer(name: str, old: ResolvedSession, new: ResolvedSession, meta: Meta) -> list[SessionAction]:
    """What changed, for the control stream. Steps travel apart: they may have to wait for a move, the rest does not."""
    changes: list[SessionAction] = []
    picture = {
        "prompt": new.prompt if new.prompt != old.prompt else None,
        "noise_scale": new.noise_scale if new.noise_scale != old.noise_scale else None,
    }
    changed = [field for field, value in picture.items() if value is not None]
    if changed:
        change = ControlChange.model_validate(picture)
        changes.append(ChangeStream(name, change, f"operator-{meta.uid}", meta.generation))

    if new.steps != old.steps:
        changed.append("steps")
        change = ControlChange(steps=new.steps)
        changes.append(ChangeStream(name, change, f"operator-{meta.uid}-steps", meta.generation))

    if not changes:
        return []
    message = f"the stream takes over from the spec: {', '.join(changed)}".replace("noise_scale", "noiseScale")
    return [*changes, Tell("StreamSession", meta, "Normal", EventReason.STEERED.value, message)]
