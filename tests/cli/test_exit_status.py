"""Each error has one exit status, and no number has two meanings."""

import asyncio
import errno
from pathlib import Path

import pytest
import typer

from genlock_cli.api import GatewayProblem
from genlock_cli.encoded_source import SourceUnreadable
from genlock_cli.exit_status import MEANINGS, ExitStatus, Interrupted, fault_of
from genlock_cli.record import NothingReceived
from genlock_cli.state_dir import AlreadyUp, NotWritable
from genlock_cli.up.ports import PortTaken
from genlock_core.errors import AccessDenied, BadInput, FieldProblem, InvalidManifest, NoCapacity, UnknownSession
from genlock_core.store import StoreUnusable
from genlock_core.tokens import InvalidSecrets
from genlock_worker.engines.diffusion.errors import UnknownModel
from genlock_worker.profiling.plan import BadRange

HERE = Path("/x")

ERRORS: list[tuple[BaseException, ExitStatus]] = [
    (NothingReceived("no picture"), ExitStatus.FAILED),
    (NotWritable(HERE, OSError(errno.EROFS, "read-only")), ExitStatus.FAILED),
    (OSError(errno.ENOSPC, "full"), ExitStatus.FAILED),
    (MemoryError(), ExitStatus.FAILED),
    (StoreUnusable("too old"), ExitStatus.FAILED),
    (typer.BadParameter("no"), ExitStatus.BAD_INPUT),
    (BadInput("no"), ExitStatus.BAD_INPUT),
    (InvalidManifest([FieldProblem("spec.steps", "must be at most 4")]), ExitStatus.BAD_INPUT),
    (InvalidSecrets("none"), ExitStatus.BAD_INPUT),
    (SourceUnreadable("no video"), ExitStatus.BAD_INPUT),
    (UnknownModel("warp", ["tiny"]), ExitStatus.BAD_INPUT),
    (BadRange("1-"), ExitStatus.BAD_INPUT),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), ExitStatus.BAD_INPUT),
    (UnknownSession("default/a"), ExitStatus.NOT_FOUND),
    (GatewayProblem(404, "Not Found"), ExitStatus.NOT_FOUND),
    (GatewayProblem(410, "Gone"), ExitStatus.NOT_FOUND),
    (AccessDenied("no token", missing=True), ExitStatus.REFUSED),
    (GatewayProblem(401, "Unauthorized"), ExitStatus.REFUSED),
    (GatewayProblem(403, "Forbidden"), ExitStatus.REFUSED),
    (GatewayProblem(0, "Unreachable"), ExitStatus.UNREACHABLE),
    (GatewayProblem(503, "Service Unavailable", reason="store"), ExitStatus.UNREACHABLE),
    (GatewayProblem(502, "Bad Gateway"), ExitStatus.UNREACHABLE),
    (TimeoutError(), ExitStatus.UNREACHABLE),
    (ConnectionResetError(), ExitStatus.UNREACHABLE),
    (NoCapacity("default/a", "full"), ExitStatus.NO_CAPACITY),
    (GatewayProblem(503, "Service Unavailable", reason="no-capacity"), ExitStatus.NO_CAPACITY),
    (GatewayProblem(429, "Too Many Requests"), ExitStatus.NO_CAPACITY),
    (GatewayProblem(409, "Conflict"), ExitStatus.TAKEN),
    (AlreadyUp(HERE), ExitStatus.TAKEN),
    (PortTaken(kind="TCP", host="127.0.0.1", port=8080, reason="is taken"), ExitStatus.TAKEN),
    (GatewayProblem(422, "Unprocessable Content"), ExitStatus.BAD_INPUT),
    (GatewayProblem(500, "Internal Server Error"), ExitStatus.FAILED),
    (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
    (Interrupted("before it was connected"), ExitStatus.INTERRUPTED),
    (asyncio.CancelledError(), ExitStatus.INTERRUPTED),
    (BrokenPipeError(), ExitStatus.PIPE_CLOSED),
    (BaseExceptionGroup("several", [GatewayProblem(404, "Not Found"), TimeoutError()]), ExitStatus.NOT_FOUND),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda value: getattr(value, "name", type(value).__name__))
def test_an_error_stands_for_one_status(error: BaseException, status: ExitStatus) -> None:
    fault = fault_of(error)
    assert fault is not None
    assert fault.status is status
    assert fault.detail


def test_each_status_is_made_by_some_error_and_has_a_meaning() -> None:
    assert {status for _, status in ERRORS} | {ExitStatus.OK} == set(ExitStatus)
    assert list(MEANINGS) == list(ExitStatus)


def test_what_nobody_expected_stands_for_nothing() -> None:
    assert fault_of(ZeroDivisionError()) is None
    assert fault_of(BaseExceptionGroup("several", [TimeoutError(), ZeroDivisionError()])) is None


def test_the_statuses_are_those_that_scripts_rely_on() -> None:
    assert {status.word: int(status) for status in ExitStatus} == {
        "ok": 0,
        "failed": 1,
        "bad-input": 2,
        "not-found": 3,
        "refused": 4,
        "unreachable": 5,
        "no-capacity": 6,
        "taken": 7,
        "interrupted": 130,
        "pipe-closed": 141,
    }


def test_mistakes_go_into_json_one_by_one() -> None:
    fault = fault_of(InvalidManifest([FieldProblem("spec.steps", "must be at most 4"), FieldProblem("kind", "no")]))
    assert fault is not None
    assert fault.fields == {
        "mistakes": [{"path": "spec.steps", "message": "must be at most 4"}, {"path": "kind", "message": "no"}]
    }


def test_a_file_of_the_system_is_named() -> None:
    fault = fault_of(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert fault is not None
    assert fault.detail == "/x/y: Permission denied"
