"""`genlock session ...`: list, show, create, set, move, end, and make tokens."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from genlock_cli.api import GatewayApi
from genlock_cli.target import Target, parse_session
from genlock_cli.up.table import PHASE_STYLES, sessions_table
from genlock_core.errors import GenlockError
from genlock_core.tokens import Role

app = typer.Typer(help="The sessions: list, show, create, set, move, end, token.", no_args_is_help=True)

Session = Annotated[str, typer.Argument(help="The session: NAME or NAMESPACE/NAME.")]
Gateway = Annotated[str | None, typer.Option(help="URL of the gateway.", envvar="GENLOCK_GATEWAY")]
Token = Annotated[str | None, typer.Option(help="Access token; else made with the secrets there are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

PIPED_WIDTH = 200
"""Columns for output that no terminal shows: nothing is cut there."""

_FIELDS = {"prompt": str, "steps": int, "noiseScale": float, "paused": bool}


@app.command("list")
def list_sessions(gateway: Gateway = None, token: Token = None, as_json: AsJson = False) -> None:
    """All sessions and how they do."""
    target = Target.find(gateway=gateway, token=token)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        sessions = api.sessions()
    if as_json:
        print_json(sessions)
    else:
        Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(sessions_table(sessions))


@app.command()
def show(session: Session, gateway: Gateway = None, token: Token = None, as_json: AsJson = False) -> None:
    """One session whole: what was asked for, where it runs, its figures."""
    target, key = Target.find(gateway=gateway, token=token), parse_session(session)
    with GatewayApi(target.gateway, target.token_for(key, Role.PUBLISH)) as api:
        info = api.session(key)
    if as_json:
        print_json(info)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(info):
        style = PHASE_STYLES.get(str(value), "") if name == "phase" else ""
        table.add_row(name, f"[{style}]{value}[/{style}]" if style else str(value))
    Console().print(table)


@app.command()
def create(
    manifest: Annotated[Path, typer.Argument(help="Manifest with StreamSessions.", exists=True, dir_okay=False)],
    gateway: Gateway = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create the sessions of a manifest, or update them."""
    target = Target.find(gateway=gateway, token=token)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        created = api.create(manifest.read_text(encoding="utf-8"))
    if as_json:
        print_json(created)
        return
    for one in created if isinstance(created, list) else [created]:
        typer.echo(f"{one['namespace']}/{one['name']}: {one['phase']}")


@app.command("set")
def set_fields(
    session: Session,
    changes: Annotated[list[str], typer.Argument(help="prompt=..., steps=N, noiseScale=X, paused=true|false.")],
    gateway: Gateway = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change the running stream without a cut."""
    target, key = Target.find(gateway=gateway, token=token), parse_session(session)
    change = parse_changes(changes)
    with GatewayApi(target.gateway, target.token_for(key, Role.PUBLISH)) as api:
        answer = api.control(key, change)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{key}: " + ", ".join(f"{name} = {value}" for name, value in change.items()))


@app.command()
def reset(session: Session, gateway: Gateway = None, token: Token = None, as_json: AsJson = False) -> None:
    """Begin the picture anew, as if its first frame came now: for a scene that the stream does not let go of."""
    target, key = Target.find(gateway=gateway, token=token), parse_session(session)
    with GatewayApi(target.gateway, target.token_for(key, Role.PUBLISH)) as api:
        answer = api.control(key, {"reset": True})
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{key}: begins anew")


@app.command()
def move(session: Session, gateway: Gateway = None, token: Token = None, as_json: AsJson = False) -> None:
    """Move the session to another worker; its viewers stay connected."""
    target, key = Target.find(gateway=gateway, token=token), parse_session(session)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        answer = api.move(key)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{key}: now on {answer.get('worker')} (epoch {answer.get('epoch')})")


@app.command()
def end(session: Session, gateway: Gateway = None, token: Token = None) -> None:
    """End the session; its viewers see that it has ended."""
    target, key = Target.find(gateway=gateway, token=token), parse_session(session)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        api.end(key)
    typer.echo(f"{key}: ended")


@app.command()
def token(
    session: Annotated[str, typer.Argument(help="The session, or * with --role admin.")],
    role: Annotated[Role, typer.Option(help="What the token allows.")] = Role.PUBLISH,
    state_dir: Annotated[Path | None, typer.Option(help="Where the installation's secret lies.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print an access token made with the secrets of $GENLOCK_SECRETS, else this machine's."""
    target = Target.find(gateway=None, token=None, state_dir=state_dir)
    if role is Role.ADMIN and session != "*":
        raise GenlockError("an admin token is for the whole installation: genlock session token '*' --role admin")
    subject = "*" if role is Role.ADMIN else str(parse_session(session))
    made = (target.secrets or target.state.keyring()).token(subject, role)
    if as_json:
        print_json({"session": subject, "role": role.value, "token": made})
    else:
        typer.echo(made)


def parse_changes(changes: list[str]) -> dict[str, object]:
    """`["prompt=ink", "steps=3"]` as a control change. Raises GenlockError."""
    change: dict[str, object] = {}
    for text in changes:
        name, separator, value = text.partition("=")
        kind = _FIELDS.get(name)
        if not separator or kind is None:
            raise GenlockError(f"{text!r} is no change; write {', '.join(f'{field}=...' for field in _FIELDS)}")
        if kind is bool:
            if value.lower() not in {"true", "false"}:
                raise GenlockError(f"{name} is true or false, not {value!r}")
            change[name] = value.lower() == "true"
            continue
        try:
            change[name] = kind(value)
        except ValueError:
            raise GenlockError(f"{name} must be a number, not {value!r}") from None
    return change


def print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, item in value.items():
        rows += _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else [(prefix + name, item)]
    return rows
