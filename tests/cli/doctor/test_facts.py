"""What is looked at is there: on this machine, with faults that are made on purpose."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from genlock_cli.doctor.facts import MachineFacts, Wanted, look
from genlock_cli.state_dir import Running, StateDir
from genlock_cli.up.ports import choose_ports
from genlock_cli.ups import Ups


@pytest.fixture
def wanted() -> Wanted:
    port = choose_ports("127.0.0.1", 1, media=("127.0.0.1",))
    return Wanted(host="127.0.0.1", port=port, redis_url=None, diffusion=False, weights=None, model="wan2.1-1.3b")


def found(wanted: Wanted, state: Path | None = None) -> MachineFacts:
    return look(wanted, StateDir.find(state, os.environ), os.environ)


def test_this_machine_can_run_the_tests_and_so_genlock(wanted: Wanted) -> None:
    facts = found(wanted)
    assert facts.missing_libraries == ()
    assert facts.state_problem == ""
    assert facts.port_problem == ""
    assert facts.redis_server is not None
    assert "127.0.0.1" not in facts.silent_addresses
    assert facts.cores >= 1
    assert facts.behind_installation_s == 0.0


def test_a_port_that_is_taken_is_told_and_whether_it_is_our_own(wanted: Wanted, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", wanted.port)):
        facts = found(wanted)
        assert "is taken" in facts.port_problem
        assert not facts.port_is_ours
        state = StateDir(tmp_path / "x")
        with state.lock(), Ups.of_this_user(os.environ).entered(state):
            state.announce(Running(1, (f"http://127.0.0.1:{wanted.port}",), ""))
            assert found(wanted).port_is_ours


@pytest.mark.parametrize("path", ["/proc/none/x", "/etc/passwd", "/etc/passwd/x"])
def test_a_state_folder_that_cannot_be_is_told(wanted: Wanted, path: str) -> None:
    if path.startswith("/proc") and os.geteuid() == 0:
        pytest.skip("root may write anywhere by its rights; the kernel refuses later")
    assert found(wanted, Path(path)).state_problem


def test_a_redis_that_is_named_and_away_is_told(wanted: Wanted) -> None:
    assert "does not answer" in found(replace(wanted, redis_url="redis://127.0.0.1:9")).redis_problem
    assert found(replace(wanted, redis_url="nonsense")).redis_problem


def test_weights_that_are_not_there_are_told(wanted: Wanted, tmp_path: Path) -> None:
    assert "no folder" in found(replace(wanted, weights=tmp_path)).weights_problem
    assert "no model" in found(replace(wanted, weights=tmp_path, model="warp")).weights_problem
