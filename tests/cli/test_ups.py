"""Each `genlock up` of this user is found, whatever state directory it has, and none that has gone."""

import os
from pathlib import Path

import pytest

from genlock_cli.state_dir import Running, StateDir
from genlock_cli.ups import Ups


def running(began_at: float = 0.0, *gateways: str) -> Running:
    return Running(pid=os.getpid(), gateways=gateways, redis="redis://x", began_at=began_at)


def test_what_runs_is_found_with_its_directory_the_oldest_first(tmp_path: Path) -> None:
    ups = Ups(tmp_path / "run")
    first, second = StateDir(tmp_path / "b"), StateDir(tmp_path / "a")
    with first.lock(), second.lock(), ups.entered(first) as entered, ups.entered(second):
        assert entered
        first.announce(running(1.0))
        second.announce(running(2.0))
        assert [up.state for up in ups.running()] == [first, second]
    assert ups.running() == []


def test_a_directory_that_was_named_by_a_relative_path_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = StateDir(Path("state"))
    with state.lock(), Ups(tmp_path / "run").entered(state):
        state.announce(running())
        monkeypatch.chdir("/")
        assert [up.state.path for up in Ups(tmp_path / "run").running()] == [tmp_path / "state"]


def test_one_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    ups, state = Ups(tmp_path / "run"), StateDir(tmp_path / "state")
    entry = ups.entered(state)
    entry.__enter__()
    with state.lock():
        state.announce(running())
        assert len(ups.running()) == 1
    # The lock has gone with its process; the announcement and the entry are still there.
    assert ups.running() == []
    assert list(ups.folder.iterdir()) == []


def test_an_entry_that_makes_no_sense_hurts_nobody(tmp_path: Path) -> None:
    ups = Ups(tmp_path)
    (tmp_path / "a").write_bytes(b"\x00\xff\n/nowhere")
    (tmp_path / "b").mkdir()
    assert ups.running() == []


def test_a_folder_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    ups, state = Ups(tmp_path / "run"), StateDir(tmp_path / "state")
    ups.folder.mkdir(mode=0o700)
    ups.folder.chmod(0o777)
    with state.lock(), ups.entered(state) as entered:
        assert not entered
        assert ups.running() == []
    link = Ups(tmp_path / "link")
    link.folder.symlink_to(tmp_path)
    with link.entered(state) as entered:
        assert not entered


def test_where_nothing_can_be_written_it_goes_on_without(tmp_path: Path) -> None:
    with Ups(Path("/proc/none")).entered(StateDir(tmp_path)) as entered:
        assert not entered


def test_the_folder_is_private_and_lasts_as_long_as_the_machine_is_up(tmp_path: Path) -> None:
    assert Ups.of_this_user({"XDG_RUNTIME_DIR": "/run/me"}).folder == Path("/run/me/genlock")
    assert str(os.getuid()) in str(Ups.of_this_user({}).folder)
    ups = Ups(tmp_path / "run")
    with ups.entered(StateDir(tmp_path)):
        assert ups.folder.stat().st_mode & 0o077 == 0
