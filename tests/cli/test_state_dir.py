from pathlib import Path

import pytest

from genlock_cli.state_dir import AlreadyUp, NotWritable, Running, RunningProcess, StateDir, UpState

RUNNING = Running(
    pid=7,
    gateways=("http://127.0.0.1:8080",),
    redis="redis://127.0.0.1:1",
    state=UpState.STOPPING,
    began_at=12.5,
    processes=(RunningProcess("w0", "worker", "ready", 8, 1), RunningProcess("g0", "gateway", "starting", None, 0)),
    refused=("default/a: no worker",),
)


def test_the_directory_comes_from_the_option_then_the_environment(tmp_path: Path) -> None:
    environment = {"GENLOCK_STATE_DIR": "/a", "XDG_STATE_HOME": "/b"}
    assert StateDir.find(tmp_path, environment).path == tmp_path
    assert StateDir.find(None, environment).path == Path("/a")
    assert StateDir.find(None, {"XDG_STATE_HOME": "/b"}).path == Path("/b/genlock")


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "genlock")
    assert state.known_keyring() is None
    first = state.keyring()
    assert state.keyring() == first == state.known_keyring()
    assert state.secrets_file.stat().st_mode & 0o077 == 0


def test_only_one_holds_the_directory(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert not state.is_held()
    with state.lock():
        assert state.is_held()
        with pytest.raises(AlreadyUp, match="--state-dir"):
            state.lock()
    assert not state.is_held()
    state.lock().close()


def test_whoever_looks_keeps_nobody_from_starting(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.lock().close()
    for _ in range(20):
        assert not state.is_held()
        state.lock().close()


def test_what_runs_is_announced_and_forgotten(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.lock():
        state.announce(RUNNING)
        assert state.running() == RUNNING
        state.forget()
        assert state.running() is None


def test_the_announcement_of_a_dead_one_is_none(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.lock():
        state.announce(RUNNING)
    assert state.running() is None
    with state.lock():
        assert state.running() is None, "of the one before"


@pytest.mark.parametrize("text", ["{", "[]", '{"pid": 1}', '{"pid": "x", "gateways": [], "redis": ""}', ""])
def test_a_broken_announcement_is_none(tmp_path: Path, text: str) -> None:
    state = StateDir(tmp_path)
    with state.lock():
        (tmp_path / "up.json").write_text(text)
        assert state.running() is None


def test_a_directory_that_cannot_be_made_is_told_with_the_way_out() -> None:
    state = StateDir(Path("/proc/none"))
    for use in (state.lock, state.keyring, lambda: state.announce(RUNNING)):
        with pytest.raises(NotWritable, match=r"cannot write to /proc/none: .*--state-dir"):
            use()
    assert state.known_keyring() is None
    assert not state.is_held()


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(NotWritable, match=f"cannot write to {path}"):
        StateDir(path).lock()


def test_the_logs_of_the_processes_and_of_redis_are_found(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert list(state.log_files()) == []
    state.logs.mkdir()
    (state.logs / "w0.log").write_text("")
    state.redis_log.parent.mkdir()
    state.redis_log.write_text("")
    assert [name for name, _ in state.log_files()] == ["w0", "redis"]
