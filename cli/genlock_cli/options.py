"""Options of the command `genlock`: values are written as in every other process (`genlock_core.process.values`).

What the command only passes on to a worker is not declared here again: `worker_option` takes the worker's declaration.
"""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import typer

from genlock_core.process.options import Option, options_of
from genlock_core.process.values import Kind, duration
from genlock_worker.settings import PROGRAM, WorkerSettings

T = TypeVar("T")

OLD_NAMES: Final = {"--seconds": "--duration"}
"""What an option was called before; it is read for one release."""


def modern(arguments: Sequence[str]) -> list[str]:
    """The command line with the names of today. Warns of each that was another one."""
    return [_modern(argument) for argument in arguments]


def _modern(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if name not in OLD_NAMES:
        return argument
    sys.stderr.write(f"genlock: {name} is read for one release more; write {OLD_NAMES[name]}\n")
    return f"{OLD_NAMES[name]}{equals}{value}"


def duration_option(help: str, *, at_least_s: float = 0.0, default: str | None = None) -> Any:  # noqa: A002 - as typer
    """An option of the command that is a duration, in seconds; `default` is what help shows."""
    kind = duration(at_least_s)
    shown = default if default is not None else False
    return typer.Option(help=help, parser=_reader(kind, kind.parse), metavar=kind.shape, show_default=shown)


def worker_option(name: str) -> Any:
    """An option of the worker that this command has too: its value is checked here, and passed on as it was written."""
    one = _of_the_worker(name)

    def checked(written: str) -> str:
        try:
            one.kind.parse(written)
        except ValueError as mistake:
            raise ValueError(f"({PROGRAM.variable(name)}) {mistake}") from mistake
        return written

    return typer.Option(
        one.flag,
        help=_sentence(one.help),
        parser=_reader(one.kind, checked),
        metavar=one.kind.shape,
        show_default=one.meaning_of_default or False,
    )


def worker_switch(name: str) -> Any:
    """The same for a switch that stands alone here."""
    one = _of_the_worker(name)
    return typer.Option(one.flag, help=_sentence(one.help))


def worker_arguments(**written: str | None) -> list[str]:
    """The worker's command line of what was given, by names of options; what is None was left out."""
    named = {name.replace("_", "-"): text for name, text in written.items() if text is not None}
    return [f"--{name}={text}" for name, text in named.items()]


def in_one_line(mistake: str) -> str:
    """What typer says of a wrong command line, as the other processes say it: `--device (...) must be ...`."""
    return re.sub(r"^Invalid value for '([^']+)': (?=must |\()", r"\1 ", " ".join(mistake.split()))


def _of_the_worker(name: str) -> Option[Any]:
    (found,) = [one for one in options_of(WorkerSettings) if one.name == name]
    return found


def _reader(kind: Kind[Any], read: Callable[[str], T]) -> Callable[[Any], T]:
    """What typer calls with a text of the command line, or with the default as it is."""

    def parse(written: Any) -> Any:
        if not isinstance(written, str):
            return written
        with_unit = kind.with_unit(written)
        if with_unit is not None:
            sys.stderr.write(f"genlock: {written} without a unit is read for one release more; write {with_unit}\n")
        try:
            return read(written if with_unit is None else with_unit)
        except ValueError as mistake:
            raise typer.BadParameter(f"{mistake}, and is {written!r}") from mistake

    return parse


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
