"""All commands of `genlock`. Only those that a command line names are imported: a key in the shell must not wait."""

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from types import MappingProxyType
from typing import Annotated, Final

import typer

from genlock_cli.completion import words_so_far
from genlock_cli.door import Details, WithoutTraceback
from genlock_core.process import logs
from genlock_core.process.logs import LogSettings

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "up": "genlock_cli.up.command",
        "status": "genlock_cli.running.status",
        "logs": "genlock_cli.running.logs",
        "open": "genlock_cli.running.open",
        "down": "genlock_cli.running.down",
        "doctor": "genlock_cli.doctor.command",
        "publish": "genlock_cli.publish",
        "record": "genlock_cli.record",
        "profile": "genlock_cli.profile",
        "session": "genlock_cli.session.command",
        "pool": "genlock_cli.pool.command",
        "autoscale": "genlock_cli.pool.autoscale",
        "models": "genlock_cli.models",
    }
)
"""Each command and its module, in the order of the help. It is the module's function of that name, or its `app`."""
VERSION: Final = "--version"
_ALONE: Final = frozenset({"-v", "--verbose"})
"""Options that may stand before a command."""


def commands(words: Sequence[str] | None = None) -> typer.Typer:
    """The application; with `words` of a command line, no more of it than they need."""
    app = typer.Typer(
        help="Genlock: live generative video that people can depend on.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    named = next((word for word in words or () if word not in _ALONE), "")
    if named == VERSION:
        return app
    for name in (named,) if named in COMMANDS else COMMANDS:
        module = importlib.import_module(COMMANDS[name])
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def words_of(arguments: Sequence[str], environment: Mapping[str, str]) -> Sequence[str]:
    """The words that say which command is wanted: of the line that a shell completes, else those given."""
    completed = words_so_far(environment)
    return arguments if completed is None else completed


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"genlock {version()}")
        raise typer.Exit


def version() -> str:
    """The version that is installed."""
    try:
        return metadata.version("genlock")
    except metadata.PackageNotFoundError:
        return "(not installed: run from its source)"


def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what happens.")] = False,
    version: Annotated[  # noqa: ARG001 - read by its callback
        bool, typer.Option(VERSION, callback=_tell_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    logs.configure(LogSettings(level="info" if verbose else "warning"), fields={})
    for handler in logging.getLogger().handlers:
        handler.addFilter(WithoutTraceback(shown=Details(os.environ).shown))
