"""What publisher, viewers and listeners of a session are told, and how often."""

import json
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.slo.report import StreamReport
from genlock_core.spec.session import Phase, SessionKey, StreamSessionSpec, resolve
from genlock_core.tokens import Role
from genlock_gateway.sessions.audience import STATS_EVERY_S, Audience, PeerResource
from genlock_gateway.sessions.session_view import SessionView
from genlock_gateway.sessions.showing import NOT_HERE, view_of
from genlock_gateway.sessions.sse import Listener
from genlock_gateway.sessions.surroundings import Surroundings

FIGURES = StreamReport(chunk=7)


class Heard(Listener):
    """A listener that keeps what it is told."""

    def __init__(self, role: Role = Role.VIEW) -> None:
        super().__init__((), role)
        self.events: list[tuple[str, Any]] = []
        self.ended = False

    def tell(self, event: str, data: Any) -> None:
        self.events.append((event, data))

    def end(self) -> None:
        self.ended = True

    @property
    def kinds(self) -> list[str]:
        return [event for event, _ in self.events]


class Client:
    """A viewer's peer that keeps its data channel's messages."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.messages.append(json.loads(text))


def view(role: Role = Role.VIEW, *, phase: Phase = Phase.LIVE, stats: StreamReport | None = FIGURES) -> SessionView:
    session = resolve(SessionKey(name="demo"), StreamSessionSpec())
    return view_of(
        SessionRecord(session=session, pools=(PoolChoice("local", 1),)),
        role=role,
        surroundings=Surroundings(),
        may_start_again=False,
        here=replace(NOT_HERE, phase=phase, stats=stats),
    )


def without_figures(role: Role) -> SessionView:
    return view(role, stats=None)


def ended(role: Role) -> SessionView:
    return view(role, phase=Phase.ENDED)


def viewer(audience: Audience, role: Role = Role.VIEW) -> Client:
    client = Client()
    audience.viewers.add(cast(PeerResource, _Viewer(client, role)))
    return client


@dataclass(eq=False)
class _Viewer:
    """As much of a viewer as is told something."""

    peer: Client
    role: Role


@pytest.fixture
def audience() -> Audience:
    return Audience()


def test_a_changed_state_is_told_once_and_without_the_figures(audience: Audience) -> None:
    client = viewer(audience)
    heard = Heard()
    audience.listeners.add(heard)

    audience.tick(without_figures, 0.0)
    audience.tick(without_figures, 0.1)

    (state,) = client.messages
    assert (state["type"], state["name"], "stats" in state) == ("state", "demo", False)
    assert heard.kinds == ["state", "active", "viewercount"]


def test_each_is_told_what_its_role_may_do(audience: Audience) -> None:
    watching, publishing = viewer(audience), viewer(audience, Role.PUBLISH)
    listener = Heard(Role.PUBLISH)
    audience.listeners.add(listener)

    audience.tick(without_figures, 0.0)

    assert [message["role"] for message in watching.messages] == ["view"]
    assert watching.messages[0]["situation"]["offers"] == ["get-publisher-link"]
    assert [message["role"] for message in publishing.messages] == ["publish"]
    assert publishing.messages[0]["situation"]["offers"] == ["turn-camera-on", "play-file"]
    assert listener.events[0][1]["role"] == "publish"


def test_figures_are_told_twice_a_second_to_everybody(audience: Audience) -> None:
    client = viewer(audience)
    heard = Heard()
    audience.listeners.add(heard)
    audience.state_changed = False

    # An audience of two is told a hundredth of a second later than nobody would be.
    for now_s in (0.0, STATS_EVERY_S, STATS_EVERY_S + 0.011):
        audience.tick(view, now_s)

    assert [(message["type"], message["chunk"]) for message in client.messages] == [("stats", 7)] * 2
    assert heard.events == [("stats", FIGURES.to_dict())] * 2


def test_nobody_is_told_figures_that_nobody_measured(audience: Audience) -> None:
    client = viewer(audience)
    audience.state_changed = False
    audience.tick(without_figures, 0.0)
    assert client.messages == []


@pytest.mark.parametrize(("phase", "word"), [(Phase.LIVE, "active"), (Phase.PENDING, "inactive")])
def test_a_new_listener_is_told_how_things_are(audience: Audience, phase: Phase, word: str) -> None:
    viewer(audience)
    heard = Heard()

    audience.greet(heard, view(phase=phase))

    assert heard.kinds == ["state", word, "viewercount"]
    assert heard.events[2] == ("viewercount", {"viewercount": 1})
    assert "stats" not in heard.events[0][1]
    assert audience.listeners == {heard}


def test_players_are_told_only_what_changed_for_them(audience: Audience) -> None:
    heard = Heard()
    audience.listeners.add(heard)
    audience.tick(view, 0.0)
    heard.events.clear()

    viewer(audience)
    audience.state_changed = True
    audience.tick(view, 1.0)

    assert heard.kinds == ["state", "viewercount", "stats"]


def test_a_changed_state_waits_its_turn_where_many_listen(audience: Audience) -> None:
    heard = [Heard() for _ in range(200)]
    audience.listeners.update(heard)
    audience.tick(view, 0.0)

    audience.state_changed = True
    audience.tick(view, 0.9)
    assert heard[0].kinds.count("state") == 1

    audience.tick(view, 1.0)
    assert heard[0].kinds.count("state") == 2


def test_the_last_word_is_the_state_without_figures_and_ends_the_listeners(audience: Audience) -> None:
    client = viewer(audience)
    heard = Heard()
    audience.listeners.add(heard)

    audience.farewell(ended)

    (state,) = client.messages
    assert (state["phase"], "stats" in state) == (Phase.ENDED.value, False)
    assert heard.ended
