"""The command `genlock doctor`: looks, judges, and shows a line for each thing."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from genlock_cli.doctor.checks import Finding, Verdict, findings
from genlock_cli.doctor.facts import Wanted, look
from genlock_cli.exit_status import ExitStatus
from genlock_cli.output import console, print_json
from genlock_cli.plain import plain
from genlock_cli.state_dir import StateDir
from genlock_cli.target_options import AsJson, StateDirectory
from genlock_cli.up.hardware import EngineName

_STYLES = MappingProxyType({Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.MISSING: "bold red"})
DEFAULT_MODEL = "wan2.1-1.3b"


def doctor(
    engine: Annotated[EngineName, typer.Option(help="The engine that is to run.")] = EngineName.MOCK,
    model: Annotated[str, typer.Option(help="The model whose weights are looked for.")] = DEFAULT_MODEL,
    weights: Annotated[Path | None, typer.Option(help="Folder of the models' weights.")] = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_000, help="Port of the page and of the media.")] = 8080,
    redis: Annotated[str | None, typer.Option(help="URL of a Redis to use instead of an own one.")] = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine lacks for `genlock up`, and what to type. Exit status 1 if it would not run."""
    wanted = Wanted(
        host=host,
        port=port,
        redis_url=redis,
        diffusion=engine is EngineName.DIFFUSION,
        weights=weights,
        model=model,
    )
    found = findings(look(wanted, StateDir.find(state_dir, os.environ), os.environ), wanted)
    missing = [one for one in found if one.verdict is Verdict.MISSING]
    if as_json:
        print_json({"ready": not missing, "findings": [asdict(one) for one in found]})
    else:
        console().print(table(found))
    if missing:
        raise typer.Exit(ExitStatus.FAILED)


def table(found: Sequence[Finding]) -> Table:
    """A line for each thing; what is to be typed stands below what it mends."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for one in found:
        words = Text(plain(one.words))
        if one.todo:
            words.append(f"\n-> {plain(one.todo)}", style="bold")
        shown.add_row(Text(one.verdict.value, style=_STYLES[one.verdict]), one.about, words)
    return shown
