"""A session's status from what is seen: phase, worker, figures and conditions, and which of it is news.

The record is the truth about phase and owner. The status that is stored only adds what the record does not tell:
since when a condition holds, how often it moved, and what the last figures were.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from genlock_core.claims.figure_board import PostedFigures
from genlock_core.claims.record import SessionRecord
from genlock_core.sizing.placement import Placement
from genlock_core.spec.session import Phase
from genlock_core.spec.status import Condition, ConditionType, Endpoints, Figures, SessionStatus
from genlock_core.stream_state.control import ControlChange
from genlock_operator.observed import Meta, SessionResource, SessionSeen
from genlock_operator.plan.conditions import ConditionVerdict, conditions, find, no, shortened, timestamp, yes
from genlock_operator.plan.session.demand import own_record, waits_to_change
from genlock_operator.plan.session.why_not import why_not_assigned, why_not_moved, why_not_placed
from genlock_operator.reasons import Reason

MAX_UNPROFILED: Final = 16
"""What the schema lets the list have."""

_NEWS: Final = tuple(name for name in SessionStatus.model_fields if name not in ("figures", "viewers", "steps"))
"""What is told at once."""

_WHY: Final = {
    "Idle": "nobody published or watched for its idleTimeout",
    "Deleted": "it was deleted",
    "LeaseExpired": "its worker stopped renewing its lease",
    "WorkerRestarted": "its worker started again",
    "refused": "its worker's process is gone",
    "silent": "its worker fell silent",
    "expired": "its worker stopped renewing its lease",
    "drain": "its worker is leaving",
    "requested": "a move was asked for",
}
"""The record's reasons of one word, as half a sentence; others are sentences already."""


def stored_status(resource: SessionResource) -> SessionStatus:
    """The status as it was written last; a field that this version cannot read is left out, never the whole."""
    given = resource.status
    try:
        return SessionStatus.model_validate(given)
    except ValidationError as error:
        unreadable = {mistake["loc"][0] for mistake in error.errors(include_url=False, include_input=False)}
        return SessionStatus.model_validate({name: value for name, value in given.items() if name not in unreadable})


def status_of(seen: SessionSeen, meta: Meta, before: SessionStatus, now_ms: int) -> SessionStatus:
    """The whole status of a session that has not ended, with the newest figures."""
    record = own_record(seen)
    epoch = before.epoch if record is None or not record.epoch else record.epoch
    moved = before.epoch is not None and epoch != before.epoch
    judged = conditions(before.conditions, _verdicts(seen, before), generation=meta.generation, now_ms=now_ms)
    phase = _phase(record, before)
    decisive = find(judged, ConditionType.ASSIGNED if phase is Phase.PENDING else ConditionType.LIVE)
    gpus, share = _gpus(seen, record)
    owner = record.owner if record is not None else None
    return SessionStatus(
        phase=phase,
        reason=decisive.message if decisive is not None else "",
        observed_generation=meta.generation,
        worker=owner.name if owner is not None else None,
        pool=record.pool if record is not None and owner is not None else None,
        epoch=epoch,
        gpus=gpus,
        gpu_share=share,
        steps=_steps(seen, record),
        resolution=str(seen.session.resolution) if seen.session is not None else before.resolution,
        viewers=seen.figures.viewers if seen.figures is not None else 0,
        moves=before.moves + int(moved),
        unprofiled=_unprofiled(seen, before),
        endpoints=_endpoints(seen.public_url, seen.name),
        figures=_figures(seen, before, now_ms),
        conditions=judged,
    )


def final_status(record: SessionRecord, meta: Meta, before: SessionStatus, now_ms: int) -> SessionStatus:
    """The status of a session that ended or failed; what it was is kept, whom it had is not."""
    why = why_phase(record) or "it ended"
    verdicts = [
        no(ConditionType.ASSIGNED, Reason.FINISHED, why),
        no(ConditionType.LIVE, Reason.FINISHED, why),
    ]
    return before.model_copy(
        update={
            "phase": record.phase,
            "reason": shortened(why),
            "observed_generation": meta.generation,
            "worker": None,
            "pool": None,
            "epoch": record.epoch or before.epoch,
            "gpus": None,
            "gpu_share": None,
            "viewers": 0,
            "finished": timestamp(record.finished_ms or now_ms),
            "conditions": conditions(before.conditions, verdicts, generation=meta.generation, now_ms=now_ms),
        }
    )


def is_news(before: SessionStatus, after: SessionStatus) -> bool:
    """Does anything but figures differ? Viewers and steps in use come with the figures, and wait with them.

    A number in a sentence is a figure too: when one more session waits for a full pool, the others do not all say so.
    """
    return any(_is_other(name, getattr(before, name), getattr(after, name)) for name in _NEWS)


def figures_differ(before: SessionStatus, after: SessionStatus) -> bool:
    """Do the figures, viewers and steps say something else than those that are stored, whenever they were read?"""
    return _only_figures(before) != _only_figures(after)


def why_phase(record: SessionRecord) -> str:
    """The record's reason in words, "" if it gives none."""
    return _WHY.get(record.reason, record.reason)


def _phase(record: SessionRecord | None, before: SessionStatus) -> Phase:
    if record is not None:
        return record.phase
    return Phase.RECOVERING if before.epoch else Phase.PENDING


def _verdicts(seen: SessionSeen, before: SessionStatus) -> list[ConditionVerdict]:
    record = own_record(seen)
    verdicts = [_placed(seen), _assigned(seen, record, before), _live(record, before)]
    measured = _slo_met(seen, before)
    return verdicts if measured is None else [*verdicts, measured]


def _placed(seen: SessionSeen) -> ConditionVerdict:
    unplaced = why_not_placed(seen)
    if unplaced is not None:
        return no(ConditionType.PLACED, unplaced.reason, unplaced.message)
    assert isinstance(seen.placement, Placement)
    pools = ", ".join(choice.pool for choice in seen.placement.choices)
    share = f"{seen.placement.gpus:g} GPUs per session, {seen.placement.sessions_per_worker} per worker"
    return yes(ConditionType.PLACED, Reason.FITS, f"served in time by pool {pools} ({share} in the first)")


def _assigned(seen: SessionSeen, record: SessionRecord | None, before: SessionStatus) -> ConditionVerdict:
    if seen.record is None and before.epoch and why_not_placed(seen) is None:
        lost = "Redis lost its record; the worker that serves it brings it back, else it is made anew"
        return no(ConditionType.ASSIGNED, Reason.RECOVERING, lost)
    if record is None or record.owner is None:
        why = why_not_assigned(seen)
        return no(ConditionType.ASSIGNED, why.reason, why.message)
    if waits_to_change(seen):
        why = why_not_moved(seen)
        return yes(ConditionType.ASSIGNED, why.reason, why.message)
    return yes(ConditionType.ASSIGNED, Reason.CLAIMED, f"worker {record.owner.name} of pool {record.pool} has it")


def _live(record: SessionRecord | None, before: SessionStatus) -> ConditionVerdict:
    lived = (stored := find(before.conditions, ConditionType.LIVE)) is not None and stored.status == "True"
    phase = record.phase if record is not None else _phase(None, before)
    if phase is Phase.LIVE or (phase is Phase.DRAINING and lived):
        return yes(ConditionType.LIVE, Reason.STREAMING, "generated frames reach the gateways")
    if phase is Phase.RECOVERING:
        why = why_phase(record) if record is not None else "Redis lost its record"
        return no(ConditionType.LIVE, Reason.RECOVERING, f"it goes on elsewhere: {why or 'it moves'}")
    if record is not None and record.owner is not None:
        return no(ConditionType.LIVE, Reason.NO_SOURCE, "a worker has it, and no picture comes in yet")
    return no(ConditionType.LIVE, Reason.NOT_CLAIMED, "no worker has it yet")


def _slo_met(seen: SessionSeen, before: SessionStatus) -> ConditionVerdict | None:
    """None: what is stored stands, as nobody measures just now."""
    if seen.session is None or seen.figures is None or not _measured(seen.figures):
        if find(before.conditions, ConditionType.SLO_MET) is not None:
            return None
        return ConditionVerdict(ConditionType.SLO_MET, None, Reason.NOT_MEASURED, "no frame was measured yet")
    budget = f"{seen.session.miss_budget * 100:.4g} %"
    if seen.figures.miss_share <= seen.session.miss_budget:
        return yes(ConditionType.SLO_MET, Reason.IN_BUDGET, f"no more than {budget} of the frames are late")
    return no(ConditionType.SLO_MET, Reason.TOO_LATE, f"more than {budget} of the frames are late")


def _figures(seen: SessionSeen, before: SessionStatus, now_ms: int) -> Figures | None:
    given = seen.figures
    if given is None or (before.figures is None and not _measured(given)):
        return before.figures
    return Figures(
        output_fps=round(given.output_fps, 1),
        miss_share=round(min(1.0, given.miss_share), 4),
        first_frame_ms=_rounded(given.first_frame_ms),
        latency_ms=_rounded(given.latency_ms),
        freezes=given.freezes,
        last_recovery_gap_ms=_rounded(given.last_recovery_gap_ms),
        updated=timestamp(now_ms),
    )


def _measured(figures: PostedFigures) -> bool:
    """Did the gateway see a frame of it?"""
    return figures.output_fps > 0 or figures.first_frame_ms is not None


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def _steps(seen: SessionSeen, record: SessionRecord | None) -> int | None:
    """In use as measured, else as last asked for at a gateway, else as the spec has it."""
    if seen.figures is not None and 1 <= seen.figures.steps <= 4:
        return seen.figures.steps
    said = record.control.get("steps") if record is not None else None
    if record is not None and said is not None:
        return ControlChange.from_fields({"steps": said.value}).steps
    spec = record.session if record is not None else seen.session
    return spec.steps if spec is not None else None


def _gpus(seen: SessionSeen, record: SessionRecord | None) -> tuple[int | None, float | None]:
    """The owner's GPUs, and this session's share of them."""
    worker = seen.worker
    if record is None or worker is None or record.owner != worker.identity:
        return None, None
    return worker.gpus, round(worker.gpus * record.cost / max(worker.capacity, 1), 3)


def _unprofiled(seen: SessionSeen, before: SessionStatus) -> list[str]:
    if not isinstance(seen.placement, Placement):
        return before.unprofiled
    return list(seen.placement.unprofiled[:MAX_UNPROFILED])


def _endpoints(url: str, name: str) -> Endpoints:
    return Endpoints(
        whip=f"{url}/whip/{name}", whep=f"{url}/whep/{name}", studio=f"{url}/studio/{name}", watch=f"{url}/watch/{name}"
    )


@dataclass(frozen=True, slots=True)
class _FiguresOnly:
    figures: Figures | None
    viewers: int
    steps: int | None


def _only_figures(status: SessionStatus) -> _FiguresOnly:
    figures = status.figures.model_copy(update={"updated": ""}) if status.figures is not None else None
    return _FiguresOnly(figures, status.viewers, status.steps)


def _is_other(name: str, before: Any, after: Any) -> bool:
    if before == after:
        return False
    match name:
        case "reason":
            return _without_numbers(before) != _without_numbers(after)
        case "conditions":
            return [_gist(condition) for condition in before] != [_gist(condition) for condition in after]
        case _:
            return True


def _gist(condition: Condition) -> Condition:
    return condition.model_copy(update={"message": _without_numbers(condition.message)})


def _without_numbers(sentence: str) -> str:
    return re.sub(r"[0-9]+", "", sentence)
