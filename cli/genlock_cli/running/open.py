"""`genlock open`: the page in the browser, with a token that its address keeps to itself (behind the `#`)."""

import html
import os
import sys
import tempfile
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from genlock_cli.api import GatewayApi
from genlock_cli.completion import session_names
from genlock_cli.output import print_json
from genlock_cli.target import Target, parse_session
from genlock_cli.target_options import AsJson, Gateway, Namespace, StateDirectory, Token
from genlock_core.tokens import Role

_TEXT_BROWSERS_NEED_NO = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def open(  # noqa: A001 - the command's name
    session: Annotated[
        str | None,
        typer.Argument(
            help="The session; left out: the page of all.", autocompletion=session_names, metavar="[SESSION]"
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="The viewers' page instead of the studio.")] = False,
    browser: Annotated[bool, typer.Option(help="Open the browser; else only print the address.")] = True,
    namespace: Namespace = None,
    gateway: Gateway = None,
    token: Token = None,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Open the page in the browser and print its address, with a token for what needs one."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    if session is None:
        with GatewayApi(target.gateway, target.admin_token()) as api:
            is_open = all(_needs_no_token(one, Role.VIEW) for one in api.sessions())
        url = page_url(target.gateway, "/", None if is_open else target.admin_token())
    else:
        key = parse_session(session, namespace)
        role = Role.VIEW if watch else Role.PUBLISH
        with GatewayApi(target.gateway, target.token_for(key, role)) as api:
            info = api.session(key)
        path = info["endpoints"]["watch" if watch else "studio"]
        url = page_url(target.gateway, path, None if _needs_no_token(info, role) else target.token_for(key, role))
    opened = browser and has_browser(os.environ, sys.platform) and _show(url)
    if as_json:
        print_json({"url": url, "opened": opened})
        return
    sys.stdout.write(f"{url}\n")
    if browser and not opened:
        sys.stderr.write("genlock: no browser could be opened here; open the address yourself\n")


def page_url(gateway: str, path: str, token: str | None) -> str:
    """The address of a page. What stands behind `#` is never sent to a server, and the page takes it out at once."""
    return f"{gateway}{path}" + (f"#token={quote(token, safe='')}" if token else "")


def has_browser(environment: Mapping[str, str], platform: str) -> bool:
    """Whether there is a screen that a browser could open on: a browser of text would take this terminal."""
    return platform == "darwin" or any(environment.get(name) for name in _TEXT_BROWSERS_NEED_NO)


def _needs_no_token(session: Mapping[str, object], role: Role) -> bool:
    access = session.get("access")
    modes = access if isinstance(access, Mapping) else {}
    return modes.get("publish" if role is Role.PUBLISH else "view") == "Public"


def _show(url: str) -> bool:
    """Open the browser. An address with a token goes by a private file: every user sees the words of a command line."""
    if "#" not in url:
        return webbrowser.open(url)
    handle, name = tempfile.mkstemp(prefix="genlock-", suffix=".html")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(url)}"><p>Genlock opens.\n')
    return webbrowser.open(Path(name).as_uri())
