"""How `genlock up` looks in a terminal: the sessions and the processes, as one table that is drawn again."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from genlock_cli.up.children import Child, ChildState
from genlock_cli.up.plan import UpOptions

PHASE_STYLES = {
    "Live": "bold green",
    "Assigned": "cyan",
    "Pending": "yellow",
    "Recovering": "bold yellow",
    "Draining": "yellow",
    "Ended": "dim",
    "Failed": "bold red",
}
# Titles and the width that each column keeps in a narrow terminal: the first ones give way last.
_COLUMNS = (
    ("SESSION", 12),
    ("PHASE", 10),
    ("MODEL", 5),
    ("STEPS", 5),
    ("WORKER", 6),
    ("FPS", 4),
    ("LATENCY", 7),
    ("TTFF", 6),
    ("LATE", 6),
    ("VIEWERS", 3),
    ("PROMPT", 3),
)
_STATE_STYLES = {ChildState.READY: "green", ChildState.STOPPED: "dim"}


def sessions_table(sessions: Sequence[Mapping[str, Any]]) -> Table:
    """The sessions as the gateway's API describes them."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for title, width in _COLUMNS:
        table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=width)
    for session in sessions:
        stats = session.get("stats") or {}
        table.add_row(
            f"{session['namespace']}/{session['name']}",
            Text(session["phase"], style=PHASE_STYLES.get(session["phase"], "")),
            session["model"],
            str(session["steps"]),
            session.get("worker") or "-",
            _figure(stats.get("outputFps"), "{:.1f}"),
            _figure((stats.get("latencyMs") or {}).get("p50"), "{:.0f} ms"),
            _figure(stats.get("firstFrameMs"), "{:.0f} ms"),
            _figure(None if stats.get("missShare") is None else stats["missShare"] * 100, "{:.2f} %"),
            str(session.get("viewers", 0)),
            session["prompt"].replace("\n", " ")[:48],
        )
    return table


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
        sessions_table(sessions),
        Text(),
        children_line(children),
        *(Text(note, style="yellow") for note in notes),
    )


def _figure(value: object, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "-"
