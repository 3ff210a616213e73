"""Who is at this gateway for a session, and what they are told over data channels and by server-sent events.

The more clients there are, the more rarely they are told: a message over a data channel costs about a millisecond of
CPU.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from genlock_core.media import Codec
from genlock_core.spec.session import Phase
from genlock_core.tokens import Role
from genlock_gateway.access.limits import TokenBucket
from genlock_gateway.rtc.egress.viewer import ViewerPeer
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.sessions.meters.first_frame import Setup
from genlock_gateway.sessions.session_view import SessionView, as_json
from genlock_gateway.sessions.sse import Listener

STATS_EVERY_S: Final = 0.5
CLIENTS_TOLD_PER_S: Final = 200.0

Kind: TypeAlias = Literal["whip", "whep"]


@dataclass(slots=True, eq=False)
class PeerResource:
    """A WHIP or WHEP session: a peer connection under an unguessable name. Lives from the 201 until its peer closes."""

    id: str
    kind: Kind
    peer: IngestPeer | ViewerPeer
    etag: str
    may_control: bool
    messages: TokenBucket
    key: str = ""
    """Who the publisher is; for WHIP."""
    run: int = 0
    """The number of the publication; for WHIP."""
    admission: int = 0
    """Orders the offers that were let in here; for WHIP."""
    setup: Setup = field(default_factory=Setup)
    """How long it took to connect; for WHIP."""

    @property
    def role(self) -> Role:
        """What its client may do: control takes the right to publish."""
        return Role.PUBLISH if self.may_control else Role.VIEW


@dataclass(slots=True)
class Audience:
    """Publisher, viewers and listeners of one session. `tick` tells them what is due; `tell` tells them at once."""

    publisher: PeerResource | None = None
    candidates: set[PeerResource] = field(default_factory=set)
    """Those whose offer was answered, and who are not the publisher (yet)."""
    viewers: set[PeerResource] = field(default_factory=set)
    listeners: set[Listener] = field(default_factory=set)
    state_changed: bool = True
    _told_players: tuple[bool, int] = (False, 0)
    _state_due_s: float = 0.0
    _stats_due_s: float = 0.0

    @property
    def clients(self) -> tuple[PeerResource, ...]:
        """Everybody with a peer connection."""
        return (*self.viewers, *([self.publisher] if self.publisher else []))

    @property
    def codecs(self) -> frozenset[Codec]:
        """The codecs that viewers get."""
        return frozenset(viewer.peer.codec for viewer in self.viewers)

    def tick(self, look: Callable[[Role], SessionView], now_s: float) -> None:
        """Tell a changed state, and figures twice a second; `look` gives the session as a role is shown it."""
        # With many clients, each is told more rarely.
        spread_s = (len(self.viewers) + len(self.listeners)) / CLIENTS_TOLD_PER_S

        if self.state_changed and now_s >= self._state_due_s:
            self.state_changed = False
            self._state_due_s = now_s + spread_s
            self._tell_state(look)
            self._tell_players(look(Role.VIEW))

        if self.clients and now_s >= self._stats_due_s:
            self._stats_due_s = now_s + STATS_EVERY_S + spread_s
            stats = look(Role.VIEW).stats
            if stats is not None:
                self.tell("stats", stats.to_dict())

    def tell(self, kind: str, message: Mapping[str, Any]) -> None:
        """Tell every client."""
        text = _message(kind, message)
        for client in self.clients:
            client.peer.send(text)
        for listener in self.listeners:
            listener.tell(kind, message)

    def _tell_state(self, look: Callable[[Role], SessionView]) -> None:
        """Tell every client how things are for it: what it may do is part of that."""
        for role in (Role.PUBLISH, Role.VIEW):
            clients = [client for client in self.clients if client.role is role]
            listeners = [listener for listener in self.listeners if listener.role is role]
            if not clients and not listeners:
                continue
            state = as_json(look(role), without_stats=True)
            text = _message("state", state)
            for client in clients:
                client.peer.send(text)
            for listener in listeners:
                listener.tell("state", state)

    def greet(self, listener: Listener, view: SessionView) -> None:
        """A new listener: tell it how things are."""
        self.listeners.add(listener)
        listener.tell("state", as_json(view, without_stats=True))
        listener.tell("active" if view.phase is Phase.LIVE else "inactive", {})
        listener.tell("viewercount", {"viewercount": len(self.viewers)})

    def farewell(self, look: Callable[[Role], SessionView]) -> None:
        """The session is over: the last that anybody hears."""
        self._tell_state(look)
        self.hang_up()

    def hang_up(self) -> None:
        """End the listeners' streams."""
        for listener in self.listeners:
            listener.end()

    def _tell_players(self, view: SessionView) -> None:
        """The events of WHEP's extension, on change."""
        active, viewers = view.phase is Phase.LIVE, len(self.viewers)
        for listener in self.listeners:
            if active != self._told_players[0]:
                listener.tell("active" if active else "inactive", {})
            if viewers != self._told_players[1]:
                listener.tell("viewercount", {"viewercount": viewers})
        self._told_players = active, viewers


def _message(kind: str, message: Mapping[str, Any]) -> str:
    return json.dumps({**message, "type": kind}, separators=(",", ":"))
