"""What is left to do for a session that is over: the record is ended and forgotten, the object told and deleted.

The end is final. Nothing here asks for a worker.
"""

from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import Phase
from genlock_operator.actions import (
    DeleteSession,
    EndSession,
    ForgetRecord,
    LookAgain,
    SessionAction,
    Tell,
    WriteSessionStatus,
)
from genlock_operator.plan.conditions import milliseconds
from genlock_operator.plan.session.facts import SessionFacts
from genlock_operator.plan.session.status import final_status
from genlock_operator.reasons import EventReason


def clear_away(record: SessionRecord) -> list[SessionAction]:
    """End, then forget a record whose object is gone."""
    return [ForgetRecord(record.name)] if record.finished else [EndSession(record.name, "Deleted")]


def finish(facts: SessionFacts, record: SessionRecord, now_ms: int) -> list[SessionAction]:
    """Say of the object that its record has finished, and come back when the object's time is over."""
    after = final_status(facts, record, now_ms)
    told = Tell(
        "StreamSession",
        facts.meta,
        "Warning" if record.phase is Phase.FAILED else "Normal",
        EventReason.ENDED.value,
        f"{record.phase.value}: {after.reason}",
    )
    due_ms = (record.finished_ms or now_ms) + record.session.ttl_seconds_after_finished * 1_000
    return [WriteSessionStatus(facts.meta, after), told, LookAgain(max(due_ms, now_ms))]


def after_the_end(facts: SessionFacts, now_ms: int) -> list[SessionAction]:
    """End a record that came back after the status said that the session is over; delete the object in time."""
    record = facts.record
    if record is not None and not record.finished:
        return [EndSession(record.name, facts.stored.reason or "Ended")]

    # How long the object stays is said by its spec; if that cannot be read, by the record.
    session = facts.seen.session or (record.session if record is not None else None)
    if session is None or facts.stored.finished is None:
        return []
    due_ms = milliseconds(facts.stored.finished) + session.ttl_seconds_after_finished * 1_000
    return [DeleteSession(facts.meta)] if now_ms >= due_ms else [LookAgain(due_ms)]
