"""What `genlock up` says: a line per step while it starts, then a table, or plain lines where there is no terminal."""

import json
import shlex
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from genlock_cli.plain import plain
from genlock_cli.session.table import state_of
from genlock_cli.state_dir import STATE_DIR_VARIABLE, StateDir
from genlock_cli.up.children import Child
from genlock_cli.up.lan import qr_code
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.table import media_line, up_view


class UpView:
    """What a person sees: a line per step while starting, then a table, or lines where there is no terminal."""

    def __init__(self, *, as_json: bool, state: StateDir | None = None) -> None:
        """`state`: the state directory, if it is not the usual one: it is told to other terminals then."""
        self.as_json = as_json
        self._state = state
        self.console = Console(stderr=as_json)
        self.live: Live | None = None
        self.notes: list[str] = []
        self._media = ""
        self._seen: dict[str, tuple[str, str | None]] = {}

    def progress(self, words: str) -> None:
        self.console.print(f"[dim]genlock up:[/dim] {escape(words)} ...", highlight=False)

    def child_changed(self, child: Child) -> None:
        if self.live is None and not self.as_json:
            self.console.print(f"[dim]{child.plan.name}: {child.state.value}[/dim]", highlight=False)

    def up(self, genlock: LocalGenlock) -> None:
        self._media = media_line(genlock.options, genlock.media_addresses)
        for refusal in genlock.refused:
            self.notes.append(f"{refusal.session} is not served: {refusal.reason}")
        if self._state is not None:
            path = shlex.quote(str(self._state.path.absolute()))
            self.notes.append(f"for other terminals: export {STATE_DIR_VARIABLE}={path}")
        if self.as_json:
            refused = [asdict(refusal) for refusal in genlock.refused]
            up: dict[str, Any] = {"up": genlock.gateway_urls, "media": genlock.media_addresses, "refused": refused}
            if (lan := genlock.options.lan) is not None:
                # Output is kept and passed on: the links with their tokens stand in the file alone.
                up["lan"] = {"url": lan.url, "links": str(genlock.links_file), "fingerprint": lan.files.fingerprint}
            sys.stdout.write(json.dumps(up) + "\n")
            sys.stdout.flush()
            return
        self._show_lan(genlock)
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, screen=False)
            self.live.start()
            return
        for url in genlock.gateway_urls:
            self._say(f"Genlock is up at {url}")
        self._say(self._media)
        for note in self.notes:
            self._say(note)

    def _show_lan(self, genlock: LocalGenlock) -> None:
        """How a phone comes in: a code where a person sees it, else where the link stands."""
        lan = genlock.options.lan
        if lan is None:
            return
        if self.console.is_terminal:
            # White on black whatever the terminal's own colours are: a scanner needs the light ones light.
            self.console.print(Text(qr_code(genlock.lan_links[0]), style="bright_white on black"), soft_wrap=True)
            for link in genlock.lan_links:
                self._say(f"On a phone of this network: {link}")
            for link in genlock.own_links:
                self._say(f"On this machine: {link}")
        else:
            self._say(
                f"Phones of this network are served at {lan.url}; the links, which let in whoever has them, "
                f"stand in {genlock.links_file}"
            )
        self._say(
            f"The browser warns of a certificate that this machine made; its SHA-256 is {lan.files.fingerprint}"
            if lan.files.own
            else f"The certificate's SHA-256 is {lan.files.fingerprint}"
        )

    def _say(self, words: str) -> None:
        """As Text: in a string rich would take `:AB:` of a fingerprint for a picture."""
        self.console.print(Text(plain(words)), soft_wrap=True)

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
            state = (state_of(session), session.get("worker"))
            if self._seen.get(name) != state:
                self._seen[name] = state
                self._say(f"{name}: {state[0]} on {state[1] or 'no worker'}")
