"""`genlock session ...`: list, show, create, set, move, end, and make tokens."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from genlock_cli.api import GatewayApi, GatewayProblem
from genlock_cli.output import console, print_json
from genlock_cli.plain import plain
from genlock_cli.session.manifests import Manifests, read_texts
from genlock_cli.session.table import STYLES, SessionsTable
from genlock_cli.target import Target, parse_session
from genlock_cli.target_options import AsJson, Gateway, Namespace, Session, StateDirectory, Token
from genlock_core.errors import BadInput
from genlock_core.spec.manifest import load_manifest
from genlock_core.tokens import Role

app = typer.Typer(help="The sessions: list, show, create, set, reset, move, end, token.", no_args_is_help=True)


@app.command("list")
def list_sessions(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only the sessions of this one.")] = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """All sessions and how they do."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        sessions = [one for one in api.sessions() if namespace in (None, one.get("namespace"))]
    if as_json:
        print_json(sessions)
    else:
        console().print(SessionsTable(sessions))


@app.command()
def show(
    session: Session,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """One session whole: what was asked for, where it runs, its figures."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    key = parse_session(session, namespace)
    with GatewayApi(target.gateway, target.token_for(key, Role.PUBLISH)) as api:
        info = api.session(key)
    if as_json:
        print_json(info)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(info):
        style = STYLES.get(str(value), "") if name in ("phase", "situation.tone") else ""
        table.add_row(plain(name), Text(plain(value), style=style))
    console().print(table)


@app.command()
def create(
    manifests: Manifests,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Create the sessions of manifests, or update them: all of them, or none."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    texts = read_texts(manifests)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        try:
            created = api.create("\n...\n---\n".join(texts.values()) if len(texts) > 1 else next(iter(texts.values())))
        except GatewayProblem as problem:
            if problem.mistakes:
                # The gateway sees one manifest: say which file is meant. It alone knows what it takes.
                for origin, text in texts.items():
                    load_manifest(text, origin=origin)
            raise
    if as_json:
        print_json(created)
        return
    for one in created if isinstance(created, list) else [created]:
        typer.echo(plain(f"{one['namespace']}/{one['name']}: {one['phase']}"))


@app.command("set")
def set_fields(
    session: Session,
    changes: Annotated[list[str], typer.Argument(help="prompt=..., steps=N, noiseScale=X, paused=true|false.")],
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Change the running stream without a cut. Steps that its worker has no room for wait; the answer says so."""
    # Only here: it brings a client of Redis with it, for which a shell that completes a name would wait.
    from genlock_cli.session.changes import parse_changes

    change = parse_changes(changes)
    key = parse_session(session, namespace)
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    with GatewayApi(target.gateway, target.token_for(key, Role.PUBLISH)) as api:
        answer = api.control(key, change)
    said = ", ".join(f"{name} = {value}" for name, value in change.items())

    # A gateway of the release before says nothing of levels.
    missing = (answer.get("level") or {}).get("detail", "")
    _tell(f"{key}: {said}" + (f" ({missing})" if missing else ""), answer, as_json=as_json)


@app.command()
def reset(
    session: Session,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Begin the picture anew, as if its first frame came now: for a scene that the stream does not let go of."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    key = parse_session(session, namespace)
    with GatewayApi(target.gateway, target.token_for(key, Role.PUBLISH)) as api:
        answer = api.control(key, {"reset": True})
    _tell(f"{key}: begins anew", answer, as_json=as_json)


@app.command()
def move(
    session: Session,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Move the session to another worker; its viewers stay connected."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    key = parse_session(session, namespace)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        answer = api.move(key)
    _tell(f"{key}: now on {answer.get('worker')} (epoch {answer.get('epoch')})", answer, as_json=as_json)


@app.command()
def end(
    session: Session,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """End the session; its viewers see that it has ended."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    key = parse_session(session, namespace)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        api.end(key)
    _tell(f"{key}: ended", {"session": str(key), "ended": True}, as_json=as_json)


@app.command()
def token(
    session: Annotated[
        str, typer.Argument(help="The session, NAME or NAMESPACE/NAME; * with --role admin.", metavar="SESSION")
    ],
    role: Annotated[Role, typer.Option(help="What the token allows.")] = Role.PUBLISH,
    namespace: Namespace = None,
    gateway: Gateway = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Print an access token of the installation that the gateway belongs to."""
    target = Target.find(gateway=gateway, token=None, state_dir=state_dir, needs_running=False)
    if role is Role.ADMIN and session != "*":
        raise BadInput("an admin token is for the whole installation: genlock session token '*' --role admin")
    subject = "*" if role is Role.ADMIN else str(parse_session(session, namespace))
    made = target.keyring().token(subject, role)
    _tell(made, {"session": subject, "role": role.value, "token": made}, as_json=as_json)


def _tell(words: str, document: object, *, as_json: bool) -> None:
    """What came of it: in a line for people, or as JSON."""
    if as_json:
        print_json(document)
    else:
        typer.echo(plain(words))


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, item in value.items():
        rows += _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else [(prefix + name, item)]
    return rows
