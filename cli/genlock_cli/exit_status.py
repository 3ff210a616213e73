"""How a command ends: one table of exit statuses, and for each error the one that it stands for.

`docs/command.md` shows the table. A script may rely on it: a number never changes its meaning.
"""

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from typer.exceptions import Abort, TyperException

from genlock_core.errors import (
    AccessDenied,
    BadInput,
    FieldProblem,
    GenlockError,
    InvalidManifest,
    NoCapacity,
    UnknownSession,
)


class ExitStatus(IntEnum):
    """What a process of the command `genlock` ends with."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    NO_CAPACITY = 6
    TAKEN = 7
    INTERRUPTED = 130
    PIPE_CLOSED = 141

    @property
    def word(self) -> str:
        """As `error` in JSON: `not-found`."""
        return self.name.lower().replace("_", "-")


MEANINGS: Final[Mapping[ExitStatus, str]] = MappingProxyType(
    {
        ExitStatus.OK: "Done. Ctrl-C is how `up`, `publish`, `record` and `logs --follow` are stopped: this too.",
        ExitStatus.FAILED: "It was understood and could not be done; what was tried is said.",
        ExitStatus.BAD_INPUT: "What was written cannot be: an option, a file, a manifest, a value.",
        ExitStatus.NOT_FOUND: "There is no such session, process or running `genlock up`, or not any more.",
        ExitStatus.REFUSED: "A token is missing, or it does not allow this.",
        ExitStatus.UNREACHABLE: "The gateway, Redis or the way of the media does not answer.",
        ExitStatus.NO_CAPACITY: "No worker has room now, or one asks too often; later it may go.",
        ExitStatus.TAKEN: "Somebody else has it: the port, the state folder, the publication.",
        ExitStatus.INTERRUPTED: "Ctrl-C.",
        ExitStatus.PIPE_CLOSED: "Nobody reads the output any more (`genlock ... | head`).",
    }
)
"""What each status tells, as the documentation has it."""


class CommandError(GenlockError):
    """An error of the command that knows how the process is to end. `fields` go into its JSON."""

    exit_status: ExitStatus = ExitStatus.FAILED

    @property
    def fields(self) -> Mapping[str, object]:
        return {}


class NotThere(CommandError):
    """What was named is not there."""

    exit_status = ExitStatus.NOT_FOUND


class Unreachable(CommandError):
    """Nobody answers."""

    exit_status = ExitStatus.UNREACHABLE


class Interrupted(CommandError):
    """Ctrl-C before there was anything to show for it."""

    exit_status = ExitStatus.INTERRUPTED


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the command tells it."""

    status: ExitStatus
    detail: str
    fields: Mapping[str, object] = field(default_factory=dict)


def fault_of(error: BaseException) -> Fault | None:
    """What the error stands for; None for one that nobody expected."""
    match error:
        case TyperException():
            return Fault(ExitStatus.BAD_INPUT, error.format_message())
        case KeyboardInterrupt() | asyncio.CancelledError() | Abort():
            return Fault(ExitStatus.INTERRUPTED, "interrupted")
        case BrokenPipeError():
            return Fault(ExitStatus.PIPE_CLOSED, "nobody reads the output any more")
        case CommandError():
            return Fault(error.exit_status, str(error), error.fields)
        case InvalidManifest():
            return Fault(ExitStatus.BAD_INPUT, str(error), {"mistakes": mistakes_as_json(error.problems)})
        case BadInput():
            return Fault(ExitStatus.BAD_INPUT, str(error))
        case UnknownSession():
            return Fault(ExitStatus.NOT_FOUND, str(error))
        case AccessDenied():
            return Fault(ExitStatus.REFUSED, str(error))
        case NoCapacity():
            return Fault(ExitStatus.NO_CAPACITY, str(error), {"retryAfterS": error.retry_after_s})
        case GenlockError():
            return Fault(ExitStatus.FAILED, str(error))
        case TimeoutError():
            return Fault(ExitStatus.UNREACHABLE, "the connection did not come up in time; does UDP reach the gateway?")
        case ConnectionError():
            return Fault(ExitStatus.UNREACHABLE, f"the connection broke ({type(error).__name__})")
        case OSError():
            return Fault(ExitStatus.FAILED, _of_the_system(error))
        case UnicodeError():
            return Fault(ExitStatus.BAD_INPUT, "what was given is not text in UTF-8")
        case MemoryError():
            return Fault(ExitStatus.FAILED, "this machine has no memory left for it")
        case BaseExceptionGroup():
            faults = [fault_of(one) for one in error.exceptions]
            return faults[0] if all(faults) else None
        case _:
            return None


def mistakes_as_json(problems: tuple[FieldProblem, ...]) -> list[dict[str, str]]:
    """As the gateway's API has them in `errors`."""
    return [{"path": problem.path, "message": problem.message} for problem in problems]


def _of_the_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    # The system names no file where an open one cannot be written.
    return f"cannot write: {reason}" if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) else reason
