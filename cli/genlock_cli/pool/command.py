"""`genlock pool ...`: how the pools stand, and why each session runs at the level that it has."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from genlock_cli.api import GatewayApi
from genlock_cli.output import console, print_json
from genlock_cli.plain import plain
from genlock_cli.pool.told import say, told_of
from genlock_cli.target import Target
from genlock_cli.target_options import AsJson, Gateway, StateDirectory, Token

app = typer.Typer(help="The pools of workers: list, explain.", no_args_is_help=True)

WHOLE = 1_000
"""Thousandths of a worker."""


@app.command("list")
def list_pools(
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """The pools that have workers, and how their sessions stand."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        pools = api.pools()
    if as_json:
        print_json(pools)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("pool", "workers", "sessions", "free", "below", "waiting", "decided by"):
        table.add_column(title)
    for pool in pools:
        levels = pool.get("levels") or {}
        row = [
            plain(pool["name"]),
            str(pool["workers"]),
            str(pool["sessions"]),
            f"{pool['free'] / WHOLE:.2f} of {pool['capacity'] / WHOLE:g}",
            str(levels.get("below", "")),
            str(levels.get("waiting", "")),
            plain(levels.get("by", "nobody")),
        ]
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


@app.command()
def explain(
    pool: Annotated[str, typer.Argument(help="The pool, as `genlock pool list` names it.", metavar="NAME")],
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Why each session of the pool runs at the level that it has, in sentences."""
    told = told_of(pool, gateway=gateway, token=token, state_dir=state_dir)
    say(told, sentences(told), as_json=as_json)


def sentences(told: Mapping[str, Any]) -> list[str]:
    """What a gateway tells of a pool, in lines."""
    free = f"{told['free'] / WHOLE:.2f} of {told['capacity'] / WHOLE:g} workers are free"
    sessions = "1 session" if told["sessions"] == 1 else f"{told['sessions']} sessions"
    lines = [f"{told['name']}: {sessions}, {free}"]
    levels = told.get("levels")
    if not levels:
        return [*lines, "nobody decides on its levels now"]

    share = 100 * (1 - levels["gap"])
    below = (
        "1 runs below what it asks for" if levels["below"] == 1 else f"{levels['below']} run below what they ask for"
    )
    waiting = "1 waits for room" if levels["waiting"] == 1 else f"{levels['waiting']} wait for room"
    lines.append(f"{below}, {waiting}")
    lines.append(f"the levels give {share:.1f} % of the best quality possible; decided by {levels['by']}")
    lines += told.get("explanation", ())
    if told.get("leftOut"):
        lines.append(f"and {told['leftOut']} more")
    return lines
