"""What became of an action, for those who count; and why a claim or a move found no room, for the next plan."""

from dataclasses import dataclass
from enum import StrEnum

from genlock_operator.kube.errors import RequestRefused


class Result(StrEnum):
    """One word each, as in the metrics."""

    DONE = "done"
    ADOPTED = "adopted"  # another one had moved it already
    OVERTAKEN = "overtaken"  # the session is over, or changed hands: the next look shows it
    NO_CAPACITY = "no-capacity"
    THERE = "there"  # what was to be created is there already
    LEFT = "left"  # sessions are left on the worker, which therefore stays
    QUOTA = "quota"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`refusal` is "" unless there was no room."""

    result: Result = Result.DONE
    refusal: str = ""


def of_failure(error: Exception) -> Result:
    """Of an action that raised."""
    if isinstance(error, RequestRefused):
        return Result.QUOTA if error.quota else Result.REFUSED
    return Result.FAILED
