"""What the command only passes on to a worker is not declared here again: it takes the worker's declaration."""

from typing import Any

import typer

from genlock_cli.options import reader
from genlock_core.process.options import Option, options_of
from genlock_worker.settings import PROGRAM, WorkerSettings


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
        parser=reader(one.kind, checked),
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


def _of_the_worker(name: str) -> Option[Any]:
    (found,) = [one for one in options_of(WorkerSettings) if one.name == name]
    return found


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
