"""`genlock logs`: what the processes of a `genlock up` say, the running one or the last one, in the order of time."""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import typer

from genlock_cli.completion import process_names
from genlock_cli.exit_status import NotThere
from genlock_cli.plain import plain_lines
from genlock_cli.state_dir import StateDir
from genlock_cli.target import state_meant
from genlock_cli.target_options import StateDirectory

LOOK_EVERY_S = 0.2
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""How a line of a process of Genlock begins; lines without it belong to the one before."""
MOST_BYTES = 4 << 20
"""Of one file, from its end: more is not read for the last lines of it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one process's log."""

    time: str
    """As it is written, which sorts; that of the line before where it has none."""
    process: str
    text: str


def logs(
    process: Annotated[
        str | None,
        typer.Argument(help="One of them, such as w0, g0 or redis; left out: all.", autocompletion=process_names),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option(min=0, max=100_000, help="How many of the last lines of each process.")] = 100,
    state_dir: StateDirectory = None,
) -> None:
    """What the processes of a `genlock up` say: of the one that runs, else of the last run."""
    state = state_meant(state_dir, os.environ)
    files = chosen(dict(state.log_files()), process, state)
    prefix = len(files) > 1
    for line in in_order(last_lines(name, path, lines) for name, path in files.items()):
        _print(line, prefix=prefix)
    sys.stdout.flush()
    if follow:
        try:
            _follow(files, prefix=prefix)
        except KeyboardInterrupt:
            return


def chosen(files: dict[str, Path], process: str | None, state: StateDir) -> dict[str, Path]:
    """The logs that are wanted. Raises NotThere."""
    if not files:
        raise NotThere(f"no `genlock up` has run with {state.path} yet; name its folder with --state-dir")
    if process is None:
        # The command's own mishaps lie beside them, and are no process of `genlock up`.
        return {name: path for name, path in files.items() if name != "command"} or files
    if process not in files:
        raise NotThere(f"there is no process {process!r} with {state.path}; there are: {', '.join(sorted(files))}")
    return {process: files[process]}


def last_lines(name: str, path: Path, count: int) -> list[Line]:
    """The last `count` lines of a log, without the half of one that is being written."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_BYTES))
            texts = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return list(_timed(name, texts[len(texts) - count :] if count < len(texts) else texts))


def in_order(logs: Iterable[Sequence[Line]]) -> list[Line]:
    """The lines of several logs by their time; those of one process keep their order."""
    return sorted((line for log in logs for line in log), key=lambda line: line.time)


def _timed(name: str, texts: Iterable[str]) -> Iterator[Line]:
    at = ""
    for text in texts:
        found = _TIME.match(text)
        at = found[0] if found else at
        yield Line(at, name, text)


class Tail:
    """One log from its present end on; one that was begun anew (its process too) is read from its beginning."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> list[Line]:
        """What has come since the last call, whole lines only."""
        try:
            with self._path.open("rb") as file:
                raw = self._read(file)
        except OSError:
            return []
        *whole, self._rest = (self._rest + raw).split(b"\n")
        return list(_timed(self._name, (line.decode("utf-8", errors="replace") for line in whole)))

    def _read(self, file: IO[bytes]) -> bytes:
        if file.seek(0, os.SEEK_END) < self._at:
            self._at = 0
            self._rest = b""
        file.seek(self._at)
        raw = file.read()
        self._at += len(raw)
        return raw


def _follow(files: dict[str, Path], *, prefix: bool) -> None:
    tails = [Tail(name, path) for name, path in files.items()]
    while True:
        for line in in_order(tail.new_lines() for tail in tails):
            _print(line, prefix=prefix)
        sys.stdout.flush()
        time.sleep(LOOK_EVERY_S)


def _print(line: Line, *, prefix: bool) -> None:
    sys.stdout.write(f"{line.process + ': ' if prefix else ''}{plain_lines(line.text)}\n")
