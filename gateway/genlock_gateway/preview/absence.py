"""Why there is no picture of a session now, in words that clients can test."""

from dataclasses import dataclass
from typing import Final

from genlock_gateway.access.problems import Problem, unavailable


@dataclass(frozen=True, slots=True)
class Absence:
    """`retry_after_s`: when to ask again; this gateway does not ask the worker earlier either."""

    reason: str
    detail: str
    retry_after_s: float

    def problem(self, session: str) -> Problem:
        """503 with `Retry-After`."""
        return unavailable(f"{session}: {self.detail}", retry_after_s=self.retry_after_s, reason=self.reason)


NO_PICTURE: Final = Absence("no-picture", "no picture has been generated yet", 1.0)
NO_WORKER: Final = Absence("no-worker", "no worker has the session now", 2.0)
UNREACHABLE: Final = Absence("no-worker", "the session's worker cannot be reached from here", 2.0)
NOT_THERE: Final = Absence("no-worker", "the session's worker does not show it yet, or not any more", 1.0)
WORKER_FULL: Final = Absence("worker-full", "the session's worker shows as many previews as it may", 5.0)
TOO_OLD: Final = Absence("worker-too-old", "the session's worker is of a version without previews; upgrade it", 60.0)
GATEWAY_FULL: Final = Absence("gateway-full", "this gateway shows as many previews as it may", 5.0)
