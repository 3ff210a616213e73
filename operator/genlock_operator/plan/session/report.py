"""Whether a session's status is written, which Events tell of it, and when the session is looked at again.

Phases and conditions are news and are written at once. Figures change all the time, so they are written at intervals:
ten thousand sessions must not write their status with every frame rate.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from genlock_core.spec.status import Condition, ConditionType, Figures, SessionStatus
from genlock_operator.actions import LookAgain, SessionAction, Tell, WriteSessionStatus
from genlock_operator.observed import Meta
from genlock_operator.plan.conditions import find, milliseconds
from genlock_operator.plan.session.facts import SessionFacts
from genlock_operator.plan.session.why_not import NEEDS_A_PERSON
from genlock_operator.reasons import EventReason, Reason

FIGURES_EVERY_MS: Final = 30_000
"""Figures alone are written at most this often."""
RETRY_MS: Final = 1_000
"""How soon a session that waits for room tries again, if nothing that it could hear of changes."""

_NEWS: Final = tuple(name for name in SessionStatus.model_fields if name not in ("figures", "viewers", "steps"))
"""Fields whose change is written at once."""
_GOOD_NEWS: Final = (Reason.CLAIMED, Reason.FITS)


def report(facts: SessionFacts, after: SessionStatus, now_ms: int) -> list[SessionAction]:
    """Write the status if it is news or its figures are due, and look again while the session waits for room."""
    before = facts.stored
    news = write_news(facts, after)
    if news:
        return [*news, *_look_again(facts, after, now_ms)]
    if not _figures_differ(before, after):
        return _look_again(facts, before, now_ms)

    due_ms = now_ms
    if before.figures is not None:
        due_ms = milliseconds(before.figures.updated) + FIGURES_EVERY_MS
    if now_ms >= due_ms:
        return [WriteSessionStatus(facts.meta, after), *_look_again(facts, after, now_ms)]
    return _look_again(facts, before, now_ms) or [LookAgain(due_ms)]


def write_news(facts: SessionFacts, after: SessionStatus) -> list[SessionAction]:
    """The write and its Events, if anything but figures differs from the stored status.

    A number in a sentence is a figure too: when one more session waits for a full pool, the others do not all say so.
    """
    before = facts.stored
    if not any(_is_other(name, getattr(before, name), getattr(after, name)) for name in _NEWS):
        return []
    return [WriteSessionStatus(facts.meta, after), *_events(facts.meta, before, after)]


def _events(meta: Meta, before: SessionStatus, after: SessionStatus) -> list[SessionAction]:
    """Where it went, and why it went nowhere, once per reason."""
    told: list[SessionAction] = []
    if after.worker is not None and after.epoch != before.epoch:
        moved = before.epoch is not None
        event = EventReason.MOVED if moved else EventReason.ASSIGNED
        came_from = f", moved from {before.worker}" if moved and before.worker is not None else ""
        message = f"worker {after.worker} of pool {after.pool} has it{came_from} (epoch {after.epoch})"
        told.append(Tell("StreamSession", meta, "Normal", event.value, message))

    for type_ in (ConditionType.ASSIGNED, ConditionType.PLACED):
        was = find(before.conditions, type_)
        now = find(after.conditions, type_)
        if now is None or now.reason in _GOOD_NEWS or (was is not None and was.reason == now.reason):
            continue
        reason = Reason(now.reason)
        warning = reason in NEEDS_A_PERSON
        news = Tell("StreamSession", meta, "Warning" if warning else "Normal", reason.value, now.message)
        told += [news] if news not in told else []
    return told


# -- when to look again ------------------------------------------------------------------------------------------------


def _look_again(facts: SessionFacts, written: SessionStatus, now_ms: int) -> list[SessionAction]:
    """Soon while it waits for room, and the less often the longer it has waited.

    Nothing else is asked for: Redis and the watches tell whatever becomes of a session that a worker has, and the
    figures that gateways post bring it back as well.
    """
    if facts.owner is None:
        patience_ms = _patience_ms(written, now_ms, least=RETRY_MS, most=FIGURES_EVERY_MS)
        return [LookAgain(now_ms + patience_ms)]
    return [LookAgain(now_ms + RETRY_MS)] if facts.waits_to_change else []


def _patience_ms(status: SessionStatus, now_ms: int, *, least: int, most: int) -> int:
    """A tenth of the time that it has waited, within bounds: ten thousand that wait must not ask every second."""
    since = find(status.conditions, ConditionType.ASSIGNED)
    waited_ms = now_ms - milliseconds(since.last_transition_time) if since is not None else 0
    return max(least, min(waited_ms // 10, most))


# -- what differs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FiguresOnly:
    figures: Figures | None
    viewers: int
    steps: int | None


def _figures_differ(before: SessionStatus, after: SessionStatus) -> bool:
    """Whether figures, viewers and steps say something else than those that are stored, whenever they were read."""
    return _only_figures(before) != _only_figures(after)


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
