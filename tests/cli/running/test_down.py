"""`genlock down`: asks the one that holds the directory to stop, and waits until it has let go."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from genlock_cli.app import commands
from genlock_cli.exit_status import CommandError
from genlock_cli.running.down import StillRunning, stop
from genlock_cli.state_dir import Running, RunningProcess, StateDir
from genlock_cli.ups import Up, Ups
from genlock_core.clock import ManualClock
from genlock_core.errors import BadInput

RUNNING = Running(4_242, ("http://127.0.0.1:8160",), "", processes=(RunningProcess("w0", "worker", "ready", 11, 0),))


class Terminal:
    """Where `down` runs: what it said, whom it signalled, and a clock that moves while it sleeps."""

    def __init__(self, up: Up, *, when_asleep: Callable[[int], None] = lambda _: None) -> None:
        self.up = up
        self.clock = ManualClock()
        self.said: list[str] = []
        self.killed: list[tuple[int, int]] = []
        self.naps = 0
        self._when_asleep = when_asleep

    def stop(self, *, wait_s: float = 5.0, kill: Callable[[int, int], None] | None = None) -> None:
        stop(
            self.up,
            wait_s=wait_s,
            clock=self.clock,
            sleep=self._sleep,
            say=self.said.append,
            kill=kill or (lambda pid, number: self.killed.append((pid, number))),
        )

    def _sleep(self, seconds: float) -> None:
        self.naps += 1
        self._when_asleep(self.naps)
        self.clock.advance(seconds)


@pytest.fixture
def held(tmp_path: Path) -> tuple[Up, IO[str]]:
    state = StateDir(tmp_path / "state")
    lock = state.lock()
    state.announce(RUNNING)
    return Up(state, RUNNING), lock


def test_it_is_asked_once_and_waited_for_with_what_is_left(held: tuple[Up, IO[str]]) -> None:
    up, lock = held
    terminal = Terminal(up, when_asleep=lambda naps: lock.close() if naps == 3 else None)
    terminal.stop()
    assert terminal.killed == [(4_242, signal.SIGTERM)]
    assert terminal.naps == 3
    assert terminal.said == ["stopping: w0 left", f"stopped ({up.state.path})"]


def test_one_that_does_not_end_is_told_with_the_way_out(held: tuple[Up, IO[str]]) -> None:
    up, lock = held
    with pytest.raises(StillRunning, match="kill -9 4242"):
        Terminal(up).stop(wait_s=1.0)
    lock.close()


def test_one_that_has_gone_meanwhile_is_no_mistake(held: tuple[Up, IO[str]]) -> None:
    def gone(_pid: int, _number: int) -> None:
        raise ProcessLookupError

    def forbidden(_pid: int, _number: int) -> None:
        raise PermissionError

    up, lock = held
    Terminal(up).stop(kill=gone)
    with pytest.raises(CommandError, match="another user"):
        Terminal(up).stop(kill=forbidden)
    lock.close()


def test_nothing_to_stop_is_done_already() -> None:
    result = CliRunner().invoke(commands(["down"]), ["down"])
    assert (result.exit_code, result.stdout) == (0, "nothing to stop: no `genlock up` of this user runs here\n")


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    ups = Ups.of_this_user(os.environ)
    first, second = StateDir(tmp_path / "a"), StateDir(tmp_path / "b")
    with first.lock(), second.lock(), ups.entered(first), ups.entered(second):
        for state in (first, second):
            state.announce(RUNNING)
        result = CliRunner().invoke(commands(["down"]), ["down"])
    assert isinstance(result.exception, BadInput)
    assert "--all" in str(result.exception)
