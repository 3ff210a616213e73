"""What the operator does about a StreamSession: every rule, in the order in which it asks.

A record is made, brought up to date, claimed for, moved where its spec asks for it, ended and forgotten; what came of
it is reported in the status. Nothing is remembered between two plans: each asks for the next step from what it sees.
"""

from dataclasses import replace

from genlock_core.claims.facts import MoveCause
from genlock_core.claims.record import FINISHED, SessionRecord
from genlock_core.claims.rules import HOLD_MS
from genlock_core.sizing.placement import Placement
from genlock_core.spec.session import Phase, ResolvedSession
from genlock_core.spec.status import ConditionType, SessionStatus
from genlock_core.stream_state.control import ControlChange
from genlock_operator.actions import (
    ChangeStream,
    ClaimWorker,
    DeleteSession,
    EndSession,
    FitClaim,
    ForgetRecord,
    LookAgain,
    MoveSession,
    SessionAction,
    StoreRecord,
    Tell,
    WriteSessionStatus,
)
from genlock_operator.observed import Meta, SessionSeen
from genlock_operator.plan.conditions import ConditionVerdict, conditions, find, milliseconds
from genlock_operator.plan.policy import SessionPolicy
from genlock_operator.plan.session.demand import choice_here, in_shape_of, needs_move, own_record, waits_to_change
from genlock_operator.plan.session.status import figures_differ, final_status, is_news, status_of, stored_status
from genlock_operator.plan.session.why_not import NEEDS_A_PERSON
from genlock_operator.reasons import EventReason, Reason

_GOOD_NEWS = (Reason.CLAIMED, Reason.FITS)


def plan_session(seen: SessionSeen, now_ms: int, policy: SessionPolicy) -> list[SessionAction]:
    """The next actions for this session; none but LookAgain, if even that, where all is as it should be."""
    resource, record = seen.resource, seen.record
    if resource is None or resource.meta.deleting:
        return _clear_away(record) if record is not None and record.uid else []
    meta, before = resource.meta, stored_status(resource)
    if record is not None and record.uid not in ("", meta.uid):
        return _clear_away(record)
    if before.phase in FINISHED:
        return _after_the_end(seen, meta, before, now_ms)
    if record is not None and record.finished:
        return _finish(record, meta, before, now_ms) if record.uid else _clear_away(record)
    return _next_steps(seen, meta, before, now_ms) or _report(seen, meta, before, now_ms, policy)


def store_away(seen: SessionSeen, now_ms: int) -> list[SessionAction]:
    """What to say while Redis does not answer: nobody can tell whether a worker has it. Nothing else changes."""
    if seen.resource is None or seen.resource.meta.deleting:
        return []
    meta, before = seen.resource.meta, stored_status(seen.resource)
    if before.phase in FINISHED:
        return []
    message = "Redis does not answer; live streams go on, and nothing is assigned until it does"
    verdict = ConditionVerdict(ConditionType.ASSIGNED, None, Reason.STORE_AWAY, message)
    judged = conditions(before.conditions, [verdict], generation=meta.generation, now_ms=now_ms)
    after = before.model_copy(update={"conditions": judged})
    return [WriteSessionStatus(meta, after), *_tell(meta, before, after)] if is_news(before, after) else []


# -- the end -----------------------------------------------------------------------------------------------------------


def _clear_away(record: SessionRecord) -> list[SessionAction]:
    """The object that the record was made from is gone."""
    return [ForgetRecord(record.name)] if record.finished else [EndSession(record.name, "Deleted")]


def _finish(record: SessionRecord, meta: Meta, before: SessionStatus, now_ms: int) -> list[SessionAction]:
    after = final_status(record, meta, before, now_ms)
    told = _event(
        meta, EventReason.ENDED, f"{record.phase.value}: {after.reason}", warning=record.phase is Phase.FAILED
    )
    due_ms = (record.finished_ms or now_ms) + record.session.ttl_seconds_after_finished * 1_000
    return [WriteSessionStatus(meta, after), told, LookAgain(max(due_ms, now_ms))]


def _after_the_end(seen: SessionSeen, meta: Meta, before: SessionStatus, now_ms: int) -> list[SessionAction]:
    """The end is final: a record that came back is ended again, and in time the object goes."""
    record = own_record(seen)
    if record is not None and not record.finished:
        return [EndSession(record.name, before.reason or "Ended")]
    session = seen.session or (record.session if record is not None else None)
    if session is None or before.finished is None:
        return []
    due_ms = milliseconds(before.finished) + session.ttl_seconds_after_finished * 1_000
    return [DeleteSession(meta)] if now_ms >= due_ms else [LookAgain(due_ms)]


# -- what the session needs next ---------------------------------------------------------------------------------------


def _next_steps(seen: SessionSeen, meta: Meta, before: SessionStatus, now_ms: int) -> list[SessionAction]:
    """What changes the stream: at most one step that has to be seen before the next is chosen."""
    record = own_record(seen)
    if record is None:
        return _create(seen, meta, before, now_ms) if seen.record is None else []
    changes = _bring_up_to_date(seen, record, meta)
    if changes:
        return changes
    if seen.refusal:
        return []
    if record.owner is None:
        wanted = record.epoch > 0 or isinstance(seen.placement, Placement)
        return [ClaimWorker(record.name)] if wanted else []
    if needs_move(seen):
        return [MoveSession(record.name, record.epoch, MoveCause.REQUESTED)]
    here = choice_here(seen)
    return [FitClaim(record.name, record.epoch)] if here is not None and here.cost != record.cost else []


def _create(seen: SessionSeen, meta: Meta, before: SessionStatus, now_ms: int) -> list[SessionAction]:
    """A new record; or one that Redis lost: its epochs go on from the one that was seen last."""
    if seen.session is None or not isinstance(seen.placement, Placement):
        return []
    if before.epoch and not _nobody_brings_it_back(before, now_ms):
        return []
    record = SessionRecord(session=seen.session, pools=seen.placement.choices, epoch=before.epoch or 0, uid=meta.uid)
    return [StoreRecord(record)]


def _nobody_brings_it_back(before: SessionStatus, now_ms: int) -> bool:
    """Has a lost record been missing for so long that its worker would have reasserted it, did it still serve?"""
    assigned = find(before.conditions, ConditionType.ASSIGNED)
    if assigned is None or assigned.status != "False":
        return False
    whole_second_ms = 1_000
    return now_ms - milliseconds(assigned.last_transition_time) >= HOLD_MS + whole_second_ms


def _bring_up_to_date(seen: SessionSeen, record: SessionRecord, meta: Meta) -> list[SessionAction]:
    """The stream first, the record afterwards: after a crash in between the same change is asked for again."""
    if seen.session is None:
        return []
    session = seen.session if _may_take_shape(seen, record) else in_shape_of(record.session, seen.session)
    pools = seen.placement.choices if isinstance(seen.placement, Placement) else record.pools
    if (session, pools) == (record.session, record.pools):
        return []
    steered = _steer(record.name, record.session, session, meta)
    return [*steered, StoreRecord(replace(record, session=session, pools=pools))]


def _may_take_shape(seen: SessionSeen, record: SessionRecord) -> bool:
    """May the record ask for what the spec asks for? Not while the worker that has it is of another shape."""
    return isinstance(seen.placement, Placement) and (record.owner is None or choice_here(seen) is not None)


def _steer(name: str, old: ResolvedSession, new: ResolvedSession, meta: Meta) -> list[SessionAction]:
    """What changed, for the control stream. Steps travel apart: they may have to wait for a move, the rest does not."""
    picture = {
        "prompt": new.prompt if new.prompt != old.prompt else None,
        "noise_scale": new.noise_scale if new.noise_scale != old.noise_scale else None,
    }
    changes: list[SessionAction] = []
    if any(value is not None for value in picture.values()):
        change = ControlChange.model_validate(picture)
        changes.append(ChangeStream(name, change, f"operator-{meta.uid}", meta.generation))
    if new.steps != old.steps:
        change = ControlChange(steps=new.steps)
        changes.append(ChangeStream(name, change, f"operator-{meta.uid}-steps", meta.generation))
    if not changes:
        return []
    changed = [field for field, value in picture.items() if value is not None]
    changed += ["steps"] if new.steps != old.steps else []
    message = f"the stream takes over from the spec: {', '.join(changed)}".replace("noise_scale", "noiseScale")
    return [*changes, _event(meta, EventReason.STEERED, message)]


# -- the report --------------------------------------------------------------------------------------------------------


def _report(
    seen: SessionSeen, meta: Meta, before: SessionStatus, now_ms: int, policy: SessionPolicy
) -> list[SessionAction]:
    after = status_of(seen, meta, before, now_ms)
    every_ms = round(policy.figures_every_s * 1_000)
    due_ms = milliseconds(before.figures.updated) + every_ms if before.figures is not None else now_ms
    figures = figures_differ(before, after)
    if is_news(before, after) or (figures and now_ms >= due_ms):
        return [WriteSessionStatus(meta, after), *_tell(meta, before, after), *_wait(seen, after, now_ms, policy)]
    return _wait(seen, before, now_ms, policy) or ([LookAgain(due_ms)] if figures else [])


def _wait(seen: SessionSeen, stored: SessionStatus, now_ms: int, policy: SessionPolicy) -> list[SessionAction]:
    """Soon while it waits for room, and the less often the longer it has. Nothing else is asked for: whatever becomes
    of a session that a worker has is told by Redis and by the watches, and new figures by the board."""
    retry_ms, every_ms = round(policy.retry_s * 1_000), round(policy.figures_every_s * 1_000)
    record = own_record(seen)
    if record is None or record.owner is None:
        return [LookAgain(now_ms + _patience_ms(stored, ConditionType.ASSIGNED, now_ms, retry_ms, every_ms))]
    return [LookAgain(now_ms + retry_ms)] if waits_to_change(seen) else []


def _patience_ms(status: SessionStatus, type: ConditionType, now_ms: int, least: int, most: int) -> int:  # noqa: A002
    """A tenth of the time that it has waited, within bounds: ten thousand that wait must not ask every second."""
    since = find(status.conditions, type)
    waited_ms = now_ms - milliseconds(since.last_transition_time) if since is not None else 0
    return max(least, min(waited_ms // 10, most))


def _tell(meta: Meta, before: SessionStatus, after: SessionStatus) -> list[SessionAction]:
    """Events for what is new: where it went, and why it went nowhere, once per reason."""
    told: list[SessionAction] = []
    if after.worker is not None and after.epoch != before.epoch:
        moved = before.epoch is not None
        event = EventReason.MOVED if moved else EventReason.ASSIGNED
        came_from = f", moved from {before.worker}" if moved and before.worker is not None else ""
        message = f"worker {after.worker} of pool {after.pool} has it{came_from} (epoch {after.epoch})"
        told.append(_event(meta, event, message))
    for type_ in (ConditionType.ASSIGNED, ConditionType.PLACED):
        was, now = (find(status.conditions, type_) for status in (before, after))
        if now is None or now.reason in _GOOD_NEWS or (was is not None and was.reason == now.reason):
            continue
        reason = Reason(now.reason)
        news = _event(meta, reason, now.message, warning=reason in NEEDS_A_PERSON)
        told += [news] if news not in told else []
    return told


def _event(meta: Meta, reason: Reason | EventReason, message: str, *, warning: bool = False) -> Tell:
    return Tell("StreamSession", meta, "Warning" if warning else "Normal", reason.value, message)
