"""Whatever a command does, it ends in a status and in words, never in a traceback."""

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from genlock_cli import door
from genlock_cli.door import Details, WithoutTraceback, wants_json
from genlock_cli.exit_status import ExitStatus
from genlock_core.errors import BadInput, NoCapacity


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


def test_what_a_command_returns_is_its_status() -> None:
    assert door.run([], lambda: None) == 0
    assert door.run([], lambda: 3) == 3
    assert door.run([], raising(SystemExit(4))) == 4
    assert door.run([], raising(SystemExit())) == 0


def test_an_error_is_one_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run(["session"], raising(BadInput("no\x1b[31m"))) == ExitStatus.BAD_INPUT
    assert capsys.readouterr().err == "genlock: no\\x1b[31m\n"


def test_an_error_is_an_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run(["up", "--json"], raising(NoCapacity("default/a", "full"))) == ExitStatus.NO_CAPACITY
    told = capsys.readouterr()
    assert told.out == ""
    assert json.loads(told.err) == {
        "error": "no-capacity",
        "detail": "default/a: no capacity (full); try again in 2 s",
        "exitStatus": 6,
        "retryAfterS": 2.0,
    }


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [([], False), (["up", "--json"], True), (["session", "set", "a", "--", "--json"], False), (["--jsonx"], False)],
)
def test_json_is_an_option_among_the_others(arguments: list[str], wanted: bool) -> None:
    assert wants_json(arguments) is wanted


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), RecursionError(), AssertionError(), LookupError("a\nb\x1b[2J")]
)
def test_what_nobody_expected_is_one_line_and_its_traceback_lies_in_a_file(
    error: Exception, own_user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.run([], raising(error)) == ExitStatus.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert type(error).__name__ in line
    assert "\x1b" not in line
    log = own_user / "state/genlock/logs/command.log"
    assert line.endswith(f"the details are in {log}")
    assert "Traceback (most recent call last)" in log.read_text()


def test_secrets_are_in_no_details(own_user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["genlock", "session", "list", "--token=gl1.k1.abc"])
    door.run([], raising(ValueError("bad token=gl1.k1.abc")))
    assert "gl1.k1.abc" not in (own_user / "state/genlock/logs/command.log").read_text()


def test_where_no_log_can_be_written_the_details_find_another_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run([], raising(ZeroDivisionError()), environment={"GENLOCK_STATE_DIR": "/proc/none"}) == 1
    path = Path(capsys.readouterr().err.split("the details are in ")[1].strip())
    assert "ZeroDivisionError" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()


def test_details_are_shown_where_somebody_wants_them(capsys: pytest.CaptureFixture[str]) -> None:
    door.run([], raising(ZeroDivisionError()), environment={"GENLOCK_DEBUG": "1"})
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("genlock: ZeroDivisionError, which nobody expected\n")


def test_ctrl_c_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run([], raising(KeyboardInterrupt())) == 130
    assert door.run([], lambda: 130) == 130
    assert capsys.readouterr().err == ""
    assert door.run(["--json"], raising(KeyboardInterrupt())) == 130
    assert json.loads(capsys.readouterr().err)["error"] == "interrupted"


def test_a_thread_that_breaks_says_so_in_the_log_alone(own_user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        thread = threading.Thread(target=raising(ZeroDivisionError("in a thread")))
        thread.start()
        thread.join()

    before = threading.excepthook
    assert door.run([], command) == 0
    assert capsys.readouterr().err == ""
    assert "in a thread" in (own_user / "state/genlock/logs/command.log").read_text()
    assert threading.excepthook is before


def test_a_log_that_grew_too_long_is_begun_anew(own_user: Path) -> None:
    log = own_user / "state/genlock/logs/command.log"
    log.parent.mkdir(parents=True)
    log.write_text("x" * (door.MOST_DETAILS_BYTES + 1))
    Details(os.environ).keep("new\n")
    assert log.stat().st_size < 1_000


def test_a_log_record_has_the_errors_words_and_not_its_traceback() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(WithoutTraceback(shown=False))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError("bad")
    except ValueError:
        logger.exception("a task of %s failed", "w0")
    assert written.getvalue() == "a task of w0 failed: ValueError: bad\n"


IN_A_PROCESS = """
import sys
from genlock_cli import door
def command():
    for _ in range(5_000):
        print("x" * 100)
sys.exit(door.run([], command))
"""


@pytest.mark.parametrize(
    ("shell", "status", "words"),
    [
        ("%s | head -1 >/dev/null; exit ${PIPESTATUS[0]}", 141, ""),
        ("%s >&-", 0, ""),
        ("%s >/dev/full", 1, "genlock: cannot write: No space left on device\n"),
        ("PYTHONIOENCODING=ascii %s >/dev/null", 0, ""),
    ],
)
def test_an_output_that_goes_nowhere_is_no_traceback(shell: str, status: int, words: str) -> None:
    command = shell % f"{sys.executable} -c '{IN_A_PROCESS}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, words)
