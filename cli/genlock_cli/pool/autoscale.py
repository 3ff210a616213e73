"""`genlock autoscale`: how the number of a pool's workers comes about."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from genlock_cli.pool.told import say, told_of
from genlock_cli.target_options import AsJson, Gateway, StateDirectory, Token

app = typer.Typer(help="How many workers pools have: explain.", no_args_is_help=True)


@app.callback()
def autoscale() -> None:
    """How many workers pools have, and why."""


@app.command()
def explain(
    pool: Annotated[str, typer.Argument(help="The pool, on a cluster NAMESPACE/NAME.", metavar="NAME")],
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Why the pool has so many workers, in sentences. The operator says so; without a cluster there is none."""
    told = told_of(pool, gateway=gateway, token=token, state_dir=state_dir)
    say(told.get("autoscaling"), sentences(told), as_json=as_json)


def sentences(told: Mapping[str, Any]) -> list[str]:
    """What a gateway tells of a pool, in lines."""
    scaling = told.get("autoscaling")
    if not scaling:
        return [f"{told['name']}: no operator says how many workers it should have; there are {told['workers']}"]
    return [f"{told['name']}: {told['workers']} workers are there, {told['ready']} ready", *scaling["explanation"]]
