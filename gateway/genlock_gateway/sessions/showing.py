"""A session as somebody may see it: its record, what Redis knows besides, and what this gateway sees of it. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from genlock_core.claims.facts import Publishing
from genlock_core.claims.record import SessionRecord
from genlock_core.media import Trouble
from genlock_core.situation.facts import Pictures, SituationFacts
from genlock_core.situation.lowered import lowered
from genlock_core.situation.situation import situation_of
from genlock_core.slo.report import StreamReport
from genlock_core.spec.session import Phase, SourceType
from genlock_core.stream_state.control import ControlChange
from genlock_core.tokens import Role
from genlock_gateway.sessions.session_view import EndpointsView, SessionLevelView, SessionView, SituationView
from genlock_gateway.sessions.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenHere:
    """What a gateway sees of a session that is live at it."""

    phase: Phase
    reason: str
    """Why the phase is what it is, where this gateway knows better than the record; "" where it does not."""
    publisher: bool
    viewers: int
    pictures: Pictures
    source_moves: bool
    trouble: Trouble | None
    late_share: float | None
    """As `SituationFacts` has it."""
    level_settles: bool
    """Another level was granted a moment ago: the figures may be of the one before."""
    stats: StreamReport | None


NOT_HERE: Final = SeenHere(
    phase=Phase.PENDING,
    reason="",
    publisher=False,
    viewers=0,
    pictures=Pictures.NONE,
    source_moves=False,
    trouble=None,
    late_share=None,
    level_settles=False,
    stats=None,
)


def view_of(
    record: SessionRecord,
    *,
    role: Role,
    surroundings: Surroundings,
    may_start_again: bool,
    here: SeenHere | None = None,
) -> SessionView:
    """The session as somebody with `role` may see it; `here` is None if it is not live at this gateway."""
    session = record.session
    said = {name: value.value for name, value in record.control.items()}
    change = ControlChange.from_fields(said) if said else ControlChange(prompt=session.prompt)
    steps = change.steps or session.steps
    paused = bool(change.paused)
    path = f"{session.key.namespace}/{session.key.name}"

    seen = _elsewhere(record, surroundings) if here is None else here
    facts = _facts(record, role, surroundings, seen, steps=steps, paused=paused, may_start_again=may_start_again)
    told = situation_of(facts)
    return SessionView(
        namespace=session.key.namespace,
        name=session.key.name,
        phase=seen.phase,
        reason="no-capacity" if facts.busy_workers is not None else facts.reason,
        state=told.state,
        situation=SituationView(headline=told.headline, detail=told.detail, tone=told.tone, offers=list(told.offers)),
        waiting_for=told.waiting_for,
        role="publish" if role.implies(Role.PUBLISH) else "view",
        publishing=surroundings.publishing is Publishing.NOW,
        engine=surroundings.engine,
        model=session.model,
        stand_in=record.standing_in,
        quality_mode=session.quality_mode,
        steps=steps,
        level=SessionLevelView.in_record(record),
        resolution=record.resolution,
        orientation=session.orientation,
        fit=session.fit,
        frame_rate=session.frame_rate,
        prompt=change.prompt or session.prompt,
        noise_scale=session.noise_scale if change.noise_scale is None else change.noise_scale,
        paused=paused,
        source=session.source,
        access=session.access,
        time_to_first_frame_ms=session.time_to_first_frame_ms,
        frame_deadline_ms=session.frame_deadline_ms,
        worker=None if record.owner is None else record.owner.name,
        pool=record.pool or None,
        epoch=record.epoch,
        gpus=surroundings.gpus,
        viewers=seen.viewers,
        publisher=seen.publisher,
        trouble=seen.trouble,
        endpoints=EndpointsView(
            whip=f"/whip/{path}", whep=f"/whep/{path}", studio=f"/studio/{path}", watch=f"/watch/{path}"
        ),
        stats=seen.stats,
    )


def phase_of(record: SessionRecord, publishing: Publishing) -> Phase:
    """The record's phase. Its worker writes that the source has gone some time after it has."""
    waits = record.session.source.type is SourceType.WEBRTC and publishing is not Publishing.NOW
    return Phase.ASSIGNED if waits and record.phase is Phase.LIVE else record.phase


def _elsewhere(record: SessionRecord, surroundings: Surroundings) -> SeenHere:
    """A session that is live at another gateway, or nowhere: its record says whether pictures come."""
    phase = phase_of(record, surroundings.publishing)
    live = phase is Phase.LIVE
    pictures = Pictures.MOVING if live else Pictures.NONE
    return replace(NOT_HERE, phase=phase, pictures=pictures, source_moves=live)


def _facts(
    record: SessionRecord,
    role: Role,
    surroundings: Surroundings,
    seen: SeenHere,
    *,
    steps: int,
    paused: bool,
    may_start_again: bool,
) -> SituationFacts:
    session = record.session
    room = surroundings.room
    full = room is not None and not room.fits and record.owner is None
    report = seen.stats or StreamReport()
    return SituationFacts(
        session=record.name,
        phase=seen.phase,
        reason=seen.reason or record.reason,
        role=role,
        source=session.source.type,
        publishing=surroundings.publishing,
        source_moves=seen.source_moves,
        trouble=seen.trouble,
        paused=paused,
        pictures=seen.pictures,
        viewers=seen.viewers,
        frame_rate=session.frame_rate,
        frame_rate_running=None if seen.level_settles else report.frame_rate,
        late_share=seen.late_share,
        # What the worker has not read yet is not missing.
        steps_asked=report.requested_steps or steps,
        steps_running=0 if seen.level_settles else report.steps,
        lowered=lowered(record),
        strained=report.strained,
        busy_workers=room.workers if room is not None and full else None,
        overloaded=room is not None and room.overloaded,
        next_room_s=room.next_ms / 1000 if room is not None and room.next_ms is not None else None,
        next_worker_s=room.worker_ms / 1000 if room is not None and room.worker_ms is not None else None,
        may_start_again=may_start_again,
    )
