"""Conditions as Kubernetes means them, for sessions and pools alike: a verdict now, and since when its status holds.

A plan says what it finds (`ConditionVerdict`); what it found last time tells since when. Nothing else is remembered
anywhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from genlock_core.spec.status import Condition

MAX_MESSAGE_CHARS = 4_096
"""What the schema lets a message have."""


@dataclass(frozen=True, slots=True)
class ConditionVerdict:
    """What a plan finds of one condition. `holds` None: Unknown."""

    type: StrEnum
    holds: bool | None
    reason: StrEnum
    message: str

    @property
    def status(self) -> Literal["True", "False", "Unknown"]:
        if self.holds is None:
            return "Unknown"
        return "True" if self.holds else "False"


def yes(type: StrEnum, reason: StrEnum, message: str) -> ConditionVerdict:  # noqa: A002 - the word of Kubernetes
    """It holds."""
    return ConditionVerdict(type, holds=True, reason=reason, message=message)


def no(type: StrEnum, reason: StrEnum, message: str) -> ConditionVerdict:  # noqa: A002
    """It does not hold."""
    return ConditionVerdict(type, holds=False, reason=reason, message=message)


def conditions(
    before: Iterable[Condition], verdicts: Sequence[ConditionVerdict], *, generation: int, now_ms: int
) -> list[Condition]:
    """The verdicts as conditions, in their order; `before` are those that are stored.

    `lastTransitionTime` moves only where the status changes. A type without a verdict keeps its condition.
    """
    known = {condition.type: condition for condition in before}
    found = [_condition(known.pop(verdict.type.value, None), verdict, generation, now_ms) for verdict in verdicts]
    return found + list(known.values())


def find(among: Iterable[Condition], type: StrEnum) -> Condition | None:  # noqa: A002 - the word of Kubernetes
    """The condition of that type, None if there is none."""
    return next((condition for condition in among if condition.type == type.value), None)


def timestamp(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339: UTC, whole seconds."""
    return datetime.fromtimestamp(ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(text: str) -> int:
    """The inverse; any RFC 3339 time. Raises ValueError."""
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


def shortened(message: str) -> str:
    """The message, cut to what the schema lets through."""
    return message if len(message) <= MAX_MESSAGE_CHARS else message[: MAX_MESSAGE_CHARS - 3] + "..."


def _condition(before: Condition | None, verdict: ConditionVerdict, generation: int, now_ms: int) -> Condition:
    stays = before is not None and before.status == verdict.status
    return Condition(
        type=verdict.type.value,
        status=verdict.status,
        reason=verdict.reason.value,
        message=shortened(verdict.message),
        last_transition_time=before.last_transition_time if before is not None and stays else timestamp(now_ms),
        observed_generation=generation,
    )
