"""How `genlock up` looks in a terminal: the sessions and the processes, as one view that is drawn again."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from genlock_cli.plain import plain
from genlock_cli.session.table import SessionsTable, concerns
from genlock_cli.up.children import Child, ChildState
from genlock_cli.up.plan import UpOptions

_STATE_STYLES = {ChildState.READY: "green", ChildState.STOPPED: "dim"}


def children_line(children: Sequence[Child]) -> Text:
    """The processes on one line: name, state where it is not ready, restarts."""
    line = Text()
    for child in children:
        line.append(f"{child.plan.name} ", style=_STATE_STYLES.get(child.state, "yellow"))
        notes = []
        if child.state is not ChildState.READY:
            notes.append(child.state.value)
        if child.restarts:
            notes.append(f"restarted {child.restarts}x")
        notes.append(f"pid {child.pid or '-'}")
        line.append(f"({', '.join(notes)})  ", style="dim")
    return line


def media_line(options: UpOptions, addresses: Sequence[str]) -> str:
    """Where media goes: not over the page's port, and not over its address alone."""
    last = options.port + options.gateways - 1
    ports = f"port {options.port}" if options.gateways == 1 else f"ports {options.port} to {last}"
    return f"Media goes over UDP {ports} of {', '.join(addresses)} (--media-host)"


def up_view(
    *,
    url: str,
    media: str,
    sessions: Sequence[Mapping[str, Any]],
    children: Sequence[Child],
    notes: Sequence[str],
) -> RenderableType:
    """Everything that `genlock up` shows while it runs."""
    head = Text.assemble(("Genlock is up at ", "bold"), (url, "bold underline"), ("    Ctrl-C stops it", "dim"))
    return Group(
        head,
        Text(media, style="dim"),
        Text(),
        SessionsTable(sessions),
        *(Text(words, style="yellow") for words in concerns(sessions)),
        Text(),
        children_line(children),
        *(Text(plain(note), style="yellow") for note in notes),
    )
