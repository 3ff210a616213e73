"""What `genlock up` says: a line per step while it starts, then a table, or plain lines where there is no terminal."""

import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.live import Live

from genlock_cli.up.children import Child
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.table import media_line, up_view


class UpView:
    """What a person sees: a line per step while starting, then a table, or lines where there is no terminal."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json)
        self.live: Live | None = None
        self.notes: list[str] = []
        self._media = ""
        self._seen: dict[str, tuple[str, str | None]] = {}

    def progress(self, words: str) -> None:
        self.console.print(f"[dim]genlock up:[/dim] {words} ...", highlight=False)

    def child_changed(self, child: Child) -> None:
        if self.live is None and not self.as_json:
            self.console.print(f"[dim]{child.plan.name}: {child.state.value}[/dim]", highlight=False)

    def up(self, genlock: LocalGenlock) -> None:
        self._media = media_line(genlock.options, genlock.media_addresses)
        for refusal in genlock.refused:
            self.notes.append(f"{refusal.session} is not served: {refusal.reason}")
        if self.as_json:
            refused = [asdict(refusal) for refusal in genlock.refused]
            up = {"up": genlock.gateway_urls, "media": genlock.media_addresses, "refused": refused}
            sys.stdout.write(json.dumps(up) + "\n")
            sys.stdout.flush()
            return
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, screen=False)
            self.live.start()
            return
        for url in genlock.gateway_urls:
            self.console.print(f"Genlock is up at {url}", highlight=False)
        self.console.print(self._media, highlight=False, soft_wrap=True)
        for note in self.notes:
            self.console.print(note, highlight=False)

    def show(self, genlock: LocalGenlock, sessions: list[dict[str, Any]]) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps({"sessions": sessions}) + "\n")
            sys.stdout.flush()
        elif self.live is not None:
            view = up_view(
                url=genlock.gateway_urls[0],
                media=self._media,
                sessions=sessions,
                children=genlock.children,
                notes=self.notes,
            )
            self.live.update(view, refresh=True)
        else:
            self._print_changes(sessions)

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _print_changes(self, sessions: list[dict[str, Any]]) -> None:
        for session in sessions:
            name = f"{session['namespace']}/{session['name']}"
            state = (session["phase"], session.get("worker"))
            if self._seen.get(name) != state:
                self._seen[name] = state
                self.console.print(f"{name}: {state[0]} on {state[1] or 'no worker'}", highlight=False)
