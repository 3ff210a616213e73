"""What a gateway tells of one pool: its levels and how many workers it should have come in one answer."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from genlock_cli.api import GatewayApi
from genlock_cli.output import print_json
from genlock_cli.plain import plain
from genlock_cli.target import Target


def told_of(pool: str, *, gateway: str | None, token: str | None, state_dir: Path | None) -> dict[str, Any]:
    """All of it, as JSON has it. Raises what `Target.find` and `GatewayApi.pool` raise."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        return api.pool(pool)


def say(told: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print what was told: as JSON has it, or its lines for people."""
    if as_json:
        print_json(told)
        return
    for line in lines:
        typer.echo(plain(line))
