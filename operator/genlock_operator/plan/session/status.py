"""A session's status: phase, worker, figures and conditions, put down from the facts and what stands in its way.

The record is the truth about phase and owner. The stored status only adds what the record does not tell: since when a
condition holds, how often the session moved, and what the last figures were.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from genlock_core.claims.figure_board import PostedFigures
from genlock_core.claims.record import SessionRecord
from genlock_core.media import Trouble
from genlock_core.situation.lowered import LoweredReason, lowered
from genlock_core.situation.words import TROUBLES
from genlock_core.sizing.placement import Placement
from genlock_core.slo.burn import MissShares, is_broken
from genlock_core.spec.session import Phase, Resolution, ResolvedSession
from genlock_core.spec.status import ConditionType, Endpoints, Figures, LevelReason, SessionStatus, StatusLevel
from genlock_core.stream_state.control import ControlChange
from genlock_operator.plan.conditions import ConditionVerdict, conditions, find, no, shortened, timestamp, yes
from genlock_operator.plan.session.facts import SessionFacts
from genlock_operator.plan.session.telling import told_of, why_over
from genlock_operator.plan.session.why_not import Hindrances
from genlock_operator.reasons import Reason

MAX_UNPROFILED: Final = 16
"""What the schema lets the list have."""

_TROUBLES: Final[Mapping[str, Reason]] = {
    Trouble.NO_KEY_FRAME: Reason.NO_KEY_FRAME,
    Trouble.NO_PARAMETER_SETS: Reason.NO_PARAMETER_SETS,
    Trouble.UNSUPPORTED_PROFILE: Reason.UNSUPPORTED_PROFILE,
    Trouble.ENCRYPTED: Reason.ENCRYPTED,
    Trouble.UNDECODABLE: Reason.UNDECODABLE,
}
"""What a gateway posts, as a reason."""


_LEVEL_REASONS: Final[Mapping[LoweredReason, LevelReason]] = {
    LoweredReason.BUSY: LevelReason.BUSY,
    LoweredReason.NO_ROOM: LevelReason.NO_ROOM,
    LoweredReason.TOO_LATE: LevelReason.TOO_LATE,
}


def status_of(facts: SessionFacts, hindrances: Hindrances, now_ms: int) -> SessionStatus:
    """The whole status of a session that has not ended, with the newest figures."""
    seen = facts.seen
    record = facts.record
    before = facts.stored

    # A record that was only just made again has no epoch yet; the last one that was seen stands until it has.
    epoch = record.epoch if record is not None and record.epoch else before.epoch
    moved = before.epoch is not None and epoch != before.epoch

    phase = _phase(facts)
    judged = conditions(
        before.conditions,
        _verdicts(facts, hindrances, phase),
        generation=facts.meta.generation,
        now_ms=now_ms,
    )
    decisive = find(judged, ConditionType.ASSIGNED if phase is Phase.PENDING else ConditionType.LIVE)
    gpus, share = _gpus(facts)
    return SessionStatus(
        phase=phase,
        reason=decisive.message if decisive is not None else "",
        observed_generation=facts.meta.generation,
        worker=facts.owner.name if facts.owner is not None else None,
        pool=record.pool if record is not None and facts.owner is not None else None,
        epoch=epoch,
        gpus=gpus,
        gpu_share=share,
        steps=_steps(facts),
        stand_in=None if record is None else record.standing_in,
        level=_level(facts),
        resolution=str(_made(seen.session, record)) if seen.session is not None else before.resolution,
        viewers=seen.figures.viewers if seen.figures is not None else 0,
        moves=before.moves + int(moved),
        unprofiled=_unprofiled(facts),
        endpoints=_endpoints(seen.public_url, seen.name),
        figures=_figures(facts, now_ms),
        conditions=judged,
    )


def _made(session: ResolvedSession, record: SessionRecord | None) -> Resolution:
    """What is made of a session whose record may be of an earlier version of its spec."""
    return session.resolution if record is None else replace(record, session=session).resolution


def final_status(facts: SessionFacts, record: SessionRecord, now_ms: int) -> SessionStatus:
    """The status of a session whose record has finished: its figures stay, its worker and pool do not."""
    before = facts.stored
    why = why_over(record)
    verdicts = [
        no(ConditionType.ASSIGNED, Reason.FINISHED, why),
        no(ConditionType.LIVE, Reason.FINISHED, why),
    ]
    return before.model_copy(
        update={
            "phase": record.phase,
            "reason": shortened(why),
            "observed_generation": facts.meta.generation,
            "worker": None,
            "pool": None,
            "epoch": record.epoch or before.epoch,
            "gpus": None,
            "gpu_share": None,
            "level": None,
            "viewers": 0,
            "finished": timestamp(record.finished_ms or now_ms),
            "conditions": conditions(before.conditions, verdicts, generation=facts.meta.generation, now_ms=now_ms),
        }
    )


# -- phase and conditions ----------------------------------------------------------------------------------------------


def _phase(facts: SessionFacts) -> Phase:
    if facts.record is not None:
        return facts.record.phase
    return Phase.RECOVERING if facts.stored.epoch else Phase.PENDING


def _verdicts(facts: SessionFacts, hindrances: Hindrances, phase: Phase) -> list[ConditionVerdict]:
    verdicts = [_placed(facts, hindrances), _assigned(facts, hindrances), _live(facts, phase)]
    more = (_source_usable(facts), _snapshots_stored(facts), _slo_met(facts))
    return [*verdicts, *(verdict for verdict in more if verdict is not None)]


def _placed(facts: SessionFacts, hindrances: Hindrances) -> ConditionVerdict:
    if hindrances.placing is not None:
        return no(ConditionType.PLACED, hindrances.placing.reason, hindrances.placing.message)
    placement = facts.placement
    assert placement is not None
    pools = ", ".join(choice.pool for choice in placement.choices if choice.model is None)
    share = f"{placement.gpus:g} GPUs per session, {placement.sessions_per_worker} per worker"
    told = [f"served in time by pool {pools} ({share} in the first)", *_stand_ins(placement)]
    return yes(ConditionType.PLACED, Reason.FITS, shortened("; ".join(told)))


def _stand_ins(placement: Placement) -> list[str]:
    """Which models may stand in, and where; and of the others why they cannot."""
    may = [f"{choice.model} may stand in, in pool {choice.pool}" for choice in placement.choices if choice.model]
    return [*may, *(f"{model} cannot stand in: {why}" for model, why in placement.not_standing_in.items())]


def _assigned(facts: SessionFacts, hindrances: Hindrances) -> ConditionVerdict:
    if facts.seen.record is None and facts.stored.epoch and hindrances.placing is None:
        lost = "Redis lost its record; the worker that serves it brings it back, else it is made anew"
        return no(ConditionType.ASSIGNED, Reason.RECOVERING, lost)
    if hindrances.assigning is not None:
        return no(ConditionType.ASSIGNED, hindrances.assigning.reason, hindrances.assigning.message)
    if hindrances.moving is not None:
        return yes(ConditionType.ASSIGNED, hindrances.moving.reason, hindrances.moving.message)
    assert facts.owner is not None
    assert facts.record is not None
    message = f"worker {facts.owner.name} of pool {facts.record.pool} has it"
    return yes(ConditionType.ASSIGNED, Reason.CLAIMED, message)


def _live(facts: SessionFacts, phase: Phase) -> ConditionVerdict:
    stored = find(facts.stored.conditions, ConditionType.LIVE)
    lived = stored is not None and stored.status == "True"
    if facts.owner is None and phase is not Phase.RECOVERING:
        return no(ConditionType.LIVE, Reason.NOT_CLAIMED, "no worker has it yet")
    if phase is Phase.RECOVERING and facts.record is None:
        return no(ConditionType.LIVE, Reason.RECOVERING, "Recovering. Redis lost its record.")

    told = told_of(facts, phase, lived=lived)
    # A session that leaves its worker by a drain streams on until the next worker has it.
    if phase is Phase.LIVE or (phase is Phase.DRAINING and lived):
        return yes(ConditionType.LIVE, Reason.STREAMING, told.sentence)
    reason = Reason.RECOVERING if phase is Phase.RECOVERING else Reason.NO_SOURCE
    return no(ConditionType.LIVE, reason, told.sentence)


def _source_usable(facts: SessionFacts) -> ConditionVerdict | None:
    """None: what is stored stands. A session that never had trouble has no such condition."""
    figures = facts.seen.figures
    if figures is None:
        return None
    if figures.trouble in _TROUBLES:
        trouble = Trouble(figures.trouble)
        return no(ConditionType.SOURCE_USABLE, _TROUBLES[trouble], TROUBLES[trouble])

    if find(facts.stored.conditions, ConditionType.SOURCE_USABLE) is None:
        return None
    if not figures.publisher:
        return ConditionVerdict(ConditionType.SOURCE_USABLE, None, Reason.NOT_PUBLISHED, "nobody publishes")
    return yes(ConditionType.SOURCE_USABLE, Reason.USABLE, "pictures are made of what is published")


def _snapshots_stored(facts: SessionFacts) -> ConditionVerdict | None:
    """None: what is stored stands. A session whose snapshots always had room has no such condition."""
    figures = facts.seen.figures
    if figures is None:
        return None
    if figures.snapshot_short:
        message = "the budget of snapshots is used up: it streams on, and would go on from an older snapshot, or anew"
        return no(ConditionType.SNAPSHOTS_STORED, Reason.NO_SNAPSHOT_ROOM, message)
    if find(facts.stored.conditions, ConditionType.SNAPSHOTS_STORED) is None:
        return None
    return yes(ConditionType.SNAPSHOTS_STORED, Reason.STORED, "its newest snapshot is stored")


def _slo_met(facts: SessionFacts) -> ConditionVerdict | None:
    """None: what is stored stands, as nobody can say just now."""
    session = facts.seen.session
    shares = _miss_shares(facts.seen.figures)
    stored = find(facts.stored.conditions, ConditionType.SLO_MET)
    if session is None or shares is None:
        if stored is not None:
            return None
        return ConditionVerdict(ConditionType.SLO_MET, None, Reason.NOT_MEASURED, "it was not measured for long enough")

    budget = f"{session.miss_budget * 100:.4g} %"
    before = stored is not None and stored.status == "False"
    if is_broken(shares, budget=session.miss_budget, before=before):
        return no(ConditionType.SLO_MET, Reason.TOO_LATE, f"more than {budget} of the frames are late")
    return yes(ConditionType.SLO_MET, Reason.IN_BUDGET, f"no more than {budget} of the frames are late")


def _miss_shares(figures: PostedFigures | None) -> MissShares | None:
    """None from a gateway that cannot say, as yet or in its release."""
    if figures is None or figures.miss_share_short is None or figures.miss_share_long is None:
        return None
    return MissShares(figures.miss_share_short, figures.miss_share_long)


# -- figures and shape -------------------------------------------------------------------------------------------------


def _figures(facts: SessionFacts, now_ms: int) -> Figures | None:
    given = facts.seen.figures
    before = facts.stored.figures
    if given is None or (before is None and not _measured(given)):
        return before
    return Figures(
        output_fps=round(given.output_fps, 1),
        miss_share=round(min(1.0, given.miss_share), 4),
        first_frame_ms=_rounded(given.first_frame_ms),
        latency_ms=_rounded(given.latency_ms),
        freezes=given.freezes,
        last_recovery_gap_ms=_rounded(given.last_recovery_gap_ms),
        continuous_play_ratio=None if given.continuous_play_ratio is None else round(given.continuous_play_ratio, 4),
        time_to_first_chunk_ms=_rounded(given.time_to_first_chunk_ms),
        real_time_factor=None if given.real_time_factor is None else round(given.real_time_factor, 2),
        picture_age_p50_ms=_rounded(given.picture_age_p50_ms),
        picture_age_p95_ms=_rounded(given.picture_age_p95_ms),
        updated=timestamp(now_ms),
    )


def _measured(figures: PostedFigures) -> bool:
    """Did the gateway see a frame of it?"""
    return figures.output_fps > 0 or figures.first_frame_ms is not None


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def _steps(facts: SessionFacts) -> int | None:
    """In use as measured, else as last asked for at a gateway, else as the spec has it."""
    seen = facts.seen
    record = facts.record
    if seen.figures is not None and 1 <= seen.figures.steps <= 4:
        return seen.figures.steps
    said = record.control.get("steps") if record is not None else None
    if said is not None:
        return ControlChange.from_fields({"steps": said.value}).steps
    spec = record.session if record is not None else seen.session
    return spec.steps if spec is not None else None


def _level(facts: SessionFacts) -> StatusLevel | None:
    """None while it has what it asks for. The record is the truth, so another leader says the same."""
    less = lowered(facts.record) if facts.record is not None else None
    if less is None:
        return None
    return StatusLevel(
        steps=less.granted.steps,
        frame_rate=less.frame_rate,
        since=timestamp(less.since_ms),
        reason=_LEVEL_REASONS[less.reason],
    )


def _gpus(facts: SessionFacts) -> tuple[int | None, float | None]:
    """The owner's GPUs, and this session's share of them."""
    worker = facts.seen.worker
    record = facts.record
    if record is None or worker is None or facts.owner != worker.identity:
        return None, None
    return worker.gpus, round(worker.gpus * record.cost / max(worker.capacity, 1), 3)


def _unprofiled(facts: SessionFacts) -> list[str]:
    if facts.placement is None:
        return facts.stored.unprofiled
    return list(facts.placement.unprofiled[:MAX_UNPROFILED])


def _endpoints(url: str, name: str) -> Endpoints:
    return Endpoints(
        whip=f"{url}/whip/{name}",
        whep=f"{url}/whep/{name}",
        studio=f"{url}/studio/{name}",
        watch=f"{url}/watch/{name}",
    )
