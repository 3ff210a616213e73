"""`genlock status`: what runs here: processes, ports, and the sessions with their state."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from genlock_cli.api import GatewayApi, GatewayProblem
from genlock_cli.exit_status import ExitStatus, NotThere
from genlock_cli.output import console, print_json
from genlock_cli.plain import plain
from genlock_cli.running.choice import nothing_runs, ups_that_run
from genlock_cli.session.table import SessionsTable, concerns
from genlock_cli.state_dir import RunningProcess, UpState
from genlock_cli.target import GATEWAY_VARIABLE, Target
from genlock_cli.target_options import AsJson, Gateway, StateDirectory, Token
from genlock_cli.ups import Up

READY = "ready"
_STYLES = {READY: "green", "stopped": "dim"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One gateway as it was found: with the `genlock up` that it belongs to, where that runs here."""

    gateway: str
    up: Up | None
    sessions: Sequence[Mapping[str, Any]] | None
    """None: it did not answer."""
    problem: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it answers, and every process is ready."""
        processes = self.up.running.processes if self.up is not None else ()
        return self.sessions is not None and all(process.state == READY for process in processes)


def status(
    gateway: Gateway = None, token: Token = None, state_dir: StateDirectory = None, as_json: AsJson = False
) -> None:
    """What runs here: processes, ports, sessions. Exit status 1 if something of it is not ready, 3 if nothing runs."""
    if gateway or os.environ.get(GATEWAY_VARIABLE):
        target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
        own = [up for up in ups_that_run(state_dir, os.environ) if target.gateway in up.running.gateways]
        seen = [_look(target, own[0] if own else None)]
    else:
        seen = [
            _look(Target.find(gateway=up.running.gateways[0], token=token, state_dir=up.state.path), up)
            for up in ups_that_run(state_dir, os.environ)
        ]
    if not seen:
        where = f"no `genlock up` runs with {state_dir}" if state_dir is not None else nothing_runs(os.environ)
        raise NotThere(where)
    if as_json:
        print_json([_as_json(one) for one in seen])
    else:
        console().print(Group(*(shown(one, now=time.time()) for one in seen)))
    if not all(one.is_well for one in seen):
        raise typer.Exit(ExitStatus.FAILED)


def _look(target: Target, up: Up | None) -> Seen:
    try:
        with GatewayApi(target.gateway, target.admin_token()) as api:
            return Seen(target.gateway, up, api.sessions())
    except GatewayProblem as problem:
        if up is None:
            raise
        return Seen(target.gateway, up, None, plain(problem))


def shown(seen: Seen, *, now: float) -> RenderableType:
    """What was found, for people; `now` in seconds since 1970."""
    parts: list[RenderableType] = [_headline(seen, now=now)]
    if seen.up is not None:
        parts += [Text(), _processes(seen.up.running.processes)]
        parts += [Text(plain(f"not served: {refused}"), style="yellow") for refused in seen.up.running.refused]
    parts.append(Text())
    if seen.sessions is None:
        parts.append(Text(seen.problem, style="yellow"))
    else:
        parts.append(SessionsTable(seen.sessions) if seen.sessions else Text("no session", style="dim"))
        parts += [Text(words, style="yellow") for words in concerns(seen.sessions)]
    return Group(*parts, Text())


def _headline(seen: Seen, *, now: float) -> RenderableType:
    if seen.up is None:
        return Text(f"gateway {plain(seen.gateway)}", style="bold")
    running = seen.up.running
    word = {UpState.STARTING: "starts", UpState.UP: "is up", UpState.STOPPING: "stops"}[running.state]
    head = Text(f"Genlock {word} at {', '.join(map(plain, running.gateways))}", style="bold")
    since = f"since {duration_in_words(now - running.began_at)}, pid {running.pid}"
    return Group(head, Text(f"{since}, state in {plain(seen.up.state.path)}", style="dim"))


def duration_in_words(seconds: float) -> str:
    """`42 s`, `12 min`, `3 h 5 min`, `2 d 4 h`: what a person compares, and no more."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def _processes(processes: Sequence[RunningProcess]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("PROCESS", "ROLE", "STATE", "PID", "RESTARTS"):
        table.add_column(title, no_wrap=True, justify="right" if title in ("PID", "RESTARTS") else "left")
    for one in processes:
        table.add_row(
            plain(one.name),
            plain(one.role),
            Text(plain(one.state), style=_STYLES.get(one.state, "yellow")),
            str(one.pid or "-"),
            str(one.restarts),
        )
    return table


def _as_json(seen: Seen) -> dict[str, Any]:
    up = None
    if seen.up is not None:
        running = seen.up.running
        up = {
            "stateDir": str(seen.up.state.path.absolute()),
            "pid": running.pid,
            "state": running.state.value,
            "beganAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(running.began_at)),
            "gateways": list(running.gateways),
            "redis": running.redis,
            "processes": [asdict(process) for process in running.processes],
            "notServed": list(running.refused),
        }
    return {
        "gateway": seen.gateway,
        "ready": seen.is_well,
        "up": up,
        "sessions": None if seen.sessions is None else list(seen.sessions),
        "problem": seen.problem or None,
    }
