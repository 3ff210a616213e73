"""The errors of the contract: each says what was wrong, where, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class GenlockError(Exception):
    """Base of every error that Genlock raises on purpose."""


class BadInput(GenlockError):
    """What somebody wrote or asked for cannot be: the same words again have the same end."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One mistake in a manifest or a request: `path` is the field as a person writes it, `spec.slo.frameDeadline`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidManifest(BadInput):
    """A manifest with mistakes; carries every one of them, not only the first."""

    def __init__(self, problems: Sequence[FieldProblem], *, origin: str = "manifest") -> None:
        self.problems = tuple(problems)
        self.origin = origin
        count = len(self.problems)
        head = f"{origin}: {count} mistake{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class StaleEpoch(GenlockError):
    """A write or a frame of an owner that is not the owner any more."""

    def __init__(self, session: str, *, epoch: int, current: int) -> None:
        self.session = session
        self.epoch = epoch
        self.current = current
        super().__init__(f"{session}: epoch {epoch} is stale, the current one is {current}; stop serving this session")


class NoCapacity(GenlockError):
    """No worker of the session's pools can take it now."""

    def __init__(self, session: str, reason: str, *, retry_after_s: float = 2.0) -> None:
        self.session = session
        self.reason = reason
        self.retry_after_s = retry_after_s
        super().__init__(f"{session}: no capacity ({reason}); try again in {retry_after_s:g} s")


class Overloaded(NoCapacity):
    """Workers of the session's pools have room, and cannot do what they have: a new session has to wait."""

    REASON: ClassVar[str] = "all workers are overloaded and take no new session"

    def __init__(self, session: str) -> None:
        super().__init__(session, self.REASON, retry_after_s=5.0)


class NoRoomForSteps(GenlockError):
    """A worker that would run more steps than its claim pays for has no room for them; nothing has changed."""

    def __init__(self, session: str, *, requested: int, granted: int) -> None:
        self.session = session
        self.requested = requested
        self.granted = granted
        super().__init__(
            f"{session}: no room for {requested} steps: its worker gives {granted}; try again when it has room"
        )


class UnknownSession(GenlockError):
    """No record of that session."""

    def __init__(self, session: str) -> None:
        self.session = session
        super().__init__(f"{session}: no such session")


class SnapshotRefused(GenlockError):
    """A snapshot that must not be used or stored: truncated, corrupt, too new, of another model, or too large."""

    def __init__(self, session: str, reason: str) -> None:
        self.session = session
        self.reason = reason
        super().__init__(f"snapshot of {session} refused: {reason}")


class SnapshotNotRead(SnapshotRefused):
    """A snapshot of a format that this worker does not read: nothing is wrong with it."""


class LinkProtocolError(GenlockError):
    """The peer broke the link protocol; the connection is closed."""


class LinkAuthError(LinkProtocolError):
    """The peer does not know the installation's secret."""


class AccessDenied(GenlockError):
    """A missing (`missing=True`, HTTP 401) or a wrong (HTTP 403) token."""

    def __init__(self, message: str, *, missing: bool) -> None:
        self.missing = missing
        super().__init__(message)
