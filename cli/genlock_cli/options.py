"""Options of the command `genlock`: values are written as in every other process (`genlock_core.process.values`)."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import typer

from genlock_core.process.values import Kind, duration

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
    return typer.Option(help=help, parser=reader(kind, kind.parse), metavar=kind.shape, show_default=shown)


def in_one_line(mistake: str) -> str:
    """What typer says of a wrong command line, as the other processes say it: `--device (...) must be ...`."""
    return re.sub(r"^Invalid value for '([^']+)': (?=must |\()", r"\1 ", " ".join(mistake.split()))


def reader(kind: Kind[Any], read: Callable[[str], T]) -> Callable[[Any], T]:
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
