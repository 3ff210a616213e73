"""`genlock status`: what was announced and what the gateway says, in eighty columns and as JSON."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from genlock_cli.api import GatewayApi, GatewayProblem
from genlock_cli.app import commands
from genlock_cli.running.status import Seen, duration_in_words, shown
from genlock_cli.state_dir import Running, RunningProcess, StateDir, UpState
from genlock_cli.ups import Up, Ups

READY = RunningProcess("w0", "worker", "ready", 11, 0)
DEAD = RunningProcess("g0", "gateway", "restarting", None, 3)
SESSION = {"namespace": "default", "name": "demo", "phase": "Live", "prompt": "a\n[/b]\x1b[2J"}


def seen(*processes: RunningProcess, state: UpState = UpState.UP, answers: bool = True) -> Seen:
    running = Running(7, ("http://127.0.0.1:8160",), "redis://x", state, 1_000.0, processes, ("default/b: full",))
    up = Up(StateDir(Path("/x")), running)
    sessions = [SESSION] if answers else None
    return Seen("http://127.0.0.1:8160", up, sessions, "" if answers else "no gateway")


def printed(one: Seen) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(shown(one, now=1_000.0 + 3_725))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_of_it_is_shown() -> None:
    text = printed(seen(READY, DEAD))
    for words in (
        "Genlock is up at http://127.0.0.1:8160",
        "since 1 h 2 min, pid 7, state in /x",
        "not served: default/b: full",
        "default/demo",
    ):
        assert words in text
    rows = [line.split() for line in text.splitlines()]
    assert ["w0", "worker", "ready", "11", "0"] in rows
    assert ["g0", "gateway", "restarting", "-", "3"] in rows
    assert "\x1b" not in text


@pytest.mark.parametrize(("state", "word"), [(UpState.STARTING, "starts"), (UpState.STOPPING, "stops")])
def test_where_it_is_in_its_life_is_told(state: UpState, word: str) -> None:
    assert f"Genlock {word} at" in printed(seen(READY, state=state))


def test_a_gateway_that_does_not_answer_is_told_beside_what_was_announced() -> None:
    text = printed(seen(READY, answers=False))
    assert "no gateway" in text
    assert "w0" in text


@pytest.mark.parametrize(
    ("one", "well"),
    [(seen(READY), True), (seen(READY, DEAD), False), (seen(READY, answers=False), False)],
)
def test_it_is_well_if_it_answers_and_every_process_is_ready(one: Seen, *, well: bool) -> None:
    assert one.is_well is well


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_as_long_as_a_person_needs_it(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


def test_as_json_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatewayApi, "sessions", lambda _: [SESSION])
    state = StateDir.find(None, os.environ)
    with state.lock(), Ups.of_this_user(os.environ).entered(state):
        state.announce(Running(7, ("http://127.0.0.1:8160",), "redis://x", processes=(READY,)))
        result = CliRunner().invoke(commands(["status"]), ["status", "--json"])
    assert result.exit_code == 0
    (one,) = json.loads(result.stdout)
    assert (one["gateway"], one["ready"], one["sessions"]) == ("http://127.0.0.1:8160", True, [SESSION])
    assert one["up"]["processes"] == [{"name": "w0", "role": "worker", "state": "ready", "pid": 11, "restarts": 0}]


def test_what_is_not_ready_is_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: GatewayApi) -> None:
        raise GatewayProblem(0, "Unreachable", "no gateway")

    monkeypatch.setattr(GatewayApi, "sessions", away)
    state = StateDir.find(None, os.environ)
    with state.lock(), Ups.of_this_user(os.environ).entered(state):
        state.announce(Running(7, ("http://127.0.0.1:8160",), "redis://x", processes=(READY,)))
        result = CliRunner().invoke(commands(["status"]), ["status"])
    assert result.exit_code == 1
    assert "no gateway" in result.stdout
