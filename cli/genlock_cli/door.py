"""The one way out of the command: every error becomes one message and one exit status, and never a traceback.

A message goes to stderr: `genlock: ...` for people, an object of JSON where the command line says `--json`. What nobody
expected ends in one line too, with the place where its traceback is; `GENLOCK_DEBUG=1` shows it at once.
"""

import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from genlock_cli.exit_status import CommandError, ExitStatus, Fault, fault_of
from genlock_cli.options import in_one_line
from genlock_cli.plain import plain_lines
from genlock_cli.state_dir import StateDir
from genlock_core.process.logs import masked

DEBUG_VARIABLE: Final = "GENLOCK_DEBUG"
MOST_DETAILS_BYTES: Final = 1_000_000
"""A file of details that grew beyond this is begun anew."""


def run(arguments: Sequence[str], command: Callable[[], object], *, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command and return its exit status. `arguments`: its command line, which says how errors are told."""
    _complete_streams()
    details = Details(environment)
    with details.of_threads():
        status = _outcome(arguments, command, details)
        try:
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            status = status or _told(arguments, _of_output(error), details)
            _forget_output()
    return status


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line has `--json` among its options."""
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


class Details:
    """Where the traceback of an unexpected error goes: stderr under GENLOCK_DEBUG=1, else a file."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.shown = environment.get(DEBUG_VARIABLE, "") not in ("", "0", "no", "false", "off")
        self._environment = environment

    def keep(self, words: str) -> str:
        """Show or write them; how to find them, in words. They hold no secret."""
        words = masked(words)
        if self.shown:
            sys.stderr.write(words)
            return ""
        entry = (
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} genlock {masked(' '.join(sys.argv[1:]))}\n{words}\n"
        )
        for write in (self._into_the_logs, _into_a_file_of_its_own):
            with contextlib.suppress(OSError, RuntimeError):
                return f"the details are in {write(entry)}"
        return f"{DEBUG_VARIABLE}=1 shows the details"

    @contextlib.contextmanager
    def of_threads(self) -> Iterator[None]:
        """While it lasts, what breaks in a thread or in a destructor is kept here too, and not printed."""
        before = threading.excepthook, sys.unraisablehook
        threading.excepthook = lambda broken: self._keep_quietly(broken.exc_value)
        sys.unraisablehook = lambda broken: self._keep_quietly(broken.exc_value)
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook = before

    def _keep_quietly(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, BrokenPipeError):
            self.keep("".join(traceback.format_exception(error)))

    def _into_the_logs(self, entry: str) -> Path:
        path = StateDir.find(None, self._environment).logs / "command.log"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        too_long = path.exists() and path.stat().st_size > MOST_DETAILS_BYTES
        with path.open("w" if too_long else "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(entry)
        return path


class WithoutTraceback(logging.Filter):
    """Turns the traceback of a log record into the error's own words, unless details are shown."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__()
        self._shown = shown

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and not self._shown:
            error = record.exc_info[1]
            record.msg = f"{record.getMessage()}: {_words_of(error)}" if error is not None else record.getMessage()
            record.args = ()
            record.exc_info = None
            record.exc_text = None
        return True


def _outcome(arguments: Sequence[str], command: Callable[[], object], details: Details) -> int:
    try:
        ended = command()
    except SystemExit as exit_:
        if isinstance(exit_.__context__, BrokenPipeError):  # typer's own word for it
            return _told(arguments, exit_.__context__, details)
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else ExitStatus.FAILED
    except BaseException as error:  # noqa: BLE001 - the outermost edge
        return _told(arguments, error, details)
    if ended == ExitStatus.INTERRUPTED:  # typer's own word for a KeyboardInterrupt
        return _told(arguments, KeyboardInterrupt(), details)
    return ended if isinstance(ended, int) else ExitStatus.OK


def _told(arguments: Sequence[str], error: BaseException, details: Details) -> int:
    """Say the error on stderr; the status that it ends with."""
    fault = fault_of(error) or _unexpected(error, details)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(_message(fault, as_json=wants_json(arguments)))
        sys.stderr.flush()
    if fault.status is ExitStatus.PIPE_CLOSED:
        _forget_output()
    return fault.status


def _message(fault: Fault, *, as_json: bool) -> str:
    detail = (
        in_one_line(fault.detail) if fault.status is ExitStatus.BAD_INPUT and "\n" not in fault.detail else fault.detail
    )
    if as_json:
        told: dict[str, Any] = {"error": fault.status.word, "detail": detail, "exitStatus": int(fault.status)}
        return json.dumps(told | dict(fault.fields)) + "\n"
    # Ctrl-C and a closed pipe are no news to whoever made them; a bare `genlock` is a mistake whose help was shown.
    if fault.status in (ExitStatus.INTERRUPTED, ExitStatus.PIPE_CLOSED) or not detail:
        return ""
    return f"genlock: {plain_lines(detail)}\n"


def _unexpected(error: BaseException, details: Details) -> Fault:
    where = details.keep("".join(traceback.format_exception(error)))
    return Fault(
        ExitStatus.FAILED,
        f"{_words_of(error)}, which nobody expected" + (f"; {where}" if where else ""),
        {"unexpected": type(error).__name__},
    )


def _words_of(error: BaseException) -> str:
    words = masked(" ".join(str(error).split()))
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _into_a_file_of_its_own(entry: str) -> str:
    handle, path = tempfile.mkstemp(prefix="genlock-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(entry)
    return path


def _complete_streams() -> None:
    """A stream that was closed before the start takes everything and shows nothing; a small alphabet gets escapes."""
    sys.stdout = _usable(sys.stdout)
    sys.stderr = _usable(sys.stderr)


def _usable(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - lasts as long as the process
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _of_output(error: OSError | ValueError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return CommandError(f"cannot write: {error.strerror if isinstance(error, OSError) else error}")


def _forget_output() -> None:
    """Nobody reads stdout, or it cannot be written: the interpreter's own flush at the end must not say so again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
