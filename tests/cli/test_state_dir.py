from pathlib import Path

import pytest

from genlock_cli.state_dir import AlreadyUp, Running, StateDir


def test_the_directory_comes_from_the_option_then_the_environment(tmp_path: Path) -> None:
    environment = {"GENLOCK_STATE_DIR": "/a", "XDG_STATE_HOME": "/b"}
    assert StateDir.find(tmp_path, environment).path == tmp_path
    assert StateDir.find(None, environment).path == Path("/a")
    assert StateDir.find(None, {"XDG_STATE_HOME": "/b"}).path == Path("/b/genlock")


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "genlock")
    first = state.keyring()
    assert state.keyring() == first
    assert state.secrets_file.stat().st_mode & 0o077 == 0


def test_only_one_holds_the_directory(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.lock(), pytest.raises(AlreadyUp, match="--state-dir"):
        state.lock()
    state.lock().close()


def test_what_runs_is_announced_and_forgotten(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    running = Running(pid=7, gateways=("http://127.0.0.1:8080",), redis="redis://127.0.0.1:1")
    state.announce(running)
    assert state.running() == running
    state.forget()
    assert state.running() is None


def test_a_broken_announcement_is_none(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text("{")
    assert StateDir(tmp_path).running() is None
